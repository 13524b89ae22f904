/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords that the configuration points to instead of holding them: {file:PATH}, {env:NAME}. */
#ifndef TLSFAN_CONF_PASSWORD_H
#define TLSFAN_CONF_PASSWORD_H

#include "base/mem.h"
#include "conf/files.h"

enum { PASSWORD_MAX = 16 * 1024, PASSWORD_ERR = 320 }; /* bytes of a secret, of an error text */

/* Where a secret is; both NULL: nowhere. */
struct password_ref {
    const char *file, *env;
};

/* True when TEXT is one of the two forms and nothing else. What REF points to is in ARENA. */
MUST_CHECK bool password_parse(struct arena *arena, struct str text, struct password_ref *ref);

/* TEXT begins as such a form does. */
bool password_is_begun(struct str text);

/* What REF leads to, without the last line end (LF or CRLF) of a file. A file becomes one of FILES,
 * so that another content of it is a reload. Heap, caller-owned, terminated, for password_free().
 * NULL with a reason in ERR that repeats nothing of it: there is none, it is empty, too long, or
 * has a control byte in it. */
char *password_read(const struct password_ref *ref, struct conf_file **files,
                    char err[PASSWORD_ERR]);
/* Overwrites what it frees; NULL is harmless. */
void password_free(char *secret);

/* Others than its owner and its group may read the file PATH. */
bool password_is_open(const char *path);

#endif
