/* SPDX-License-Identifier: Apache-2.0 */
/* What texts with {file:PATH}, {env:NAME} and {oauth:NAME} stand for. It is kept by the snapshot
 * alone, in memory that is cleared when that is freed, and no message repeats it. */
#ifndef TLSFAN_CONF_SECRET_H
#define TLSFAN_CONF_SECRET_H

#include "conf/conf.h"
#include "conf/conf_fault.h"

enum { SECRET_MAX = 65536 }; /* bytes of one file or variable, and of a value with all in it */

/* Fills in what the texts of C stand for, and checks where they may stand. What can be read no more
 * is taken from LAST (NULL: none), with a warning; else it is a fault. */
void secrets_load(struct conf *c, const struct conf *last, struct conf_faults *faults);
/* T with TOKEN for {oauth:}, in ARENA. */
struct str secret_text_with(struct arena *arena, const struct conf *c, const struct secret_text *t,
                            struct str token);
/* C has read a secret from the variable NAME. */
bool secrets_have_variable(const struct conf *c, struct str name);

#endif
