/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody may have meant who wrote a key that there is none of. */
#ifndef TLSFAN_CONF_SUGGEST_H
#define TLSFAN_CONF_SUGGEST_H

#include "conf/keys.h"

/* Each gives what follows "unknown key": ": did you mean max_head?", ": it belongs into tls { }",
 * or "" where nothing is near. In DST of SUGGEST_MAX bytes; gives DST. */
enum { SUGGEST_MAX = 200 };

/* WRITTEN is NAME but for a slip or two. */
bool suggest_is_near(struct str written, struct str name);

/* For NAME in a file, in SECTION ("client"; "" is outside of all) of KEY_GLOBAL or in a section of
 * SCOPE. */
const char *suggest_in_file(char *dst, enum key_scope scope, struct str section, struct str name);

/* For -o BEFORE NAME: BEFORE is "rule[PATTERN]." and the like, or empty where SCOPE is KEY_GLOBAL
 * and NAME is dotted. */
const char *suggest_option(char *dst, enum key_scope scope, struct str before, struct str name);

/* For the variable NAME, "TLSFAN_" included. */
const char *suggest_variable(char *dst, struct str name);

#endif
