/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets that the configuration points to instead of holding them: {file:PATH} and {env:NAME}. */
#ifndef TLSFAN_CONF_SECRET_H
#define TLSFAN_CONF_SECRET_H

#include "base/mem.h"
#include "conf/files.h"

enum { SECRET_MAX = 16 * 1024, SECRET_ERR = 320 }; /* bytes of a secret, of an error text */

/* Where a secret is; both NULL: nowhere. */
struct secret_ref {
    const char *file, *env;
};

/* True when TEXT is one of the two forms and nothing else. What REF points to is in ARENA. */
MUST_CHECK bool secret_parse(struct arena *arena, struct str text, struct secret_ref *ref);

/* What REF leads to, without the last line end (LF or CRLF) of a file. A file becomes one of FILES,
 * so that another content of it is a reload. Heap, caller-owned, terminated, to be given to
 * secret_free(). NULL with a reason in ERR that repeats nothing of it: there is none, it is empty,
 * too long, or has a control byte in it. */
char *secret_read(const struct secret_ref *ref, struct conf_file **files, char err[SECRET_ERR]);
/* Overwrites what it frees; NULL is harmless. */
void secret_free(char *secret);

/* Others than its owner and its group may read the file PATH. */
bool secret_is_open(const char *path);

#endif
