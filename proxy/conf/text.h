/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file before the parser sees it. libConfuse takes an unset ${NAME} for nothing,
 * closes open sections by itself, drops bytes it does not know and miscounts lines behind block
 * comments; so the text is checked here first, and what is handed on has its comments blanked. */
#ifndef TLSFAN_CONF_TEXT_H
#define TLSFAN_CONF_TEXT_H

#include "conf/conf_fault.h"

struct conf_file; /* conf/files.h */

struct text {
    char *p; /* terminated, comments are spaces */
    size_t len;
    unsigned *opens; /* lines where sections open, ascending */
    unsigned n_opens;
};

/* Reads the file PATH, or takes it from FILES; checks it, and T owns it then. WHERE is the place of
 * a fault of reading it. False with faults, and T cleared. */
MUST_CHECK bool text_read(struct text *t, struct conf_file **files, const char *path,
                          const char *where, struct conf_faults *faults);
void text_clear(struct text *t);

/* The line on which the section around LINE opens; LINE itself where there is none. */
unsigned text_section_line(const struct text *t, unsigned line);

#endif
