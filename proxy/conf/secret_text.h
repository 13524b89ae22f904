/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of the configuration with values in them that stand elsewhere: {file:PATH}, {env:NAME} and
 * {oauth:NAME}. "{{file:" is "{file:" as it is, and so for the others; any other brace is itself.
 */
#ifndef TLSFAN_CONF_SECRET_TEXT_H
#define TLSFAN_CONF_SECRET_TEXT_H

#include "base/mem.h"

enum secret_kind { SECRET_TEXT, SECRET_FILE, SECRET_ENV, SECRET_OAUTH };

struct secret_part {
    enum secret_kind kind;
    const char *text; /* the text itself, PATH or NAME */
};

/* A text as it was written, in parts. */
struct secret_text {
    struct secret_part *parts;
    unsigned n;
    bool is_secret; /* it has a part that is no text */
    bool is_token;  /* one of them is {oauth:}: what it stands for changes while it runs */
};

/* A request_header entry: VALUE NULL removes the field, where it is no token's. */
struct header_edit {
    const char *name;
    const char *value; /* what `text` stands for */
    struct secret_text text;
    const char *where; /* it was written */
};

/* Takes TEXT apart, into ARENA. NULL, or why not. */
MUST_CHECK const char *secret_text_parse(struct secret_text *t, struct arena *arena,
                                         struct str text);
/* What T, which is not secret, says; terminated, in ARENA. */
const char *secret_text_plain(const struct secret_text *t, struct arena *arena);
/* True where TEXT, of a key that is masked, may be shown: it names what is secret and does not say
 * it. */
bool secret_text_names(struct str text);
/* "{file:", "{env:" or "{oauth:". */
struct str secret_text_begin(enum secret_kind kind);

#endif
