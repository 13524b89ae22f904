/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a configuration, told with where it was written. */
#ifndef TLSFAN_CONF_CONF_FAULT_H
#define TLSFAN_CONF_CONF_FAULT_H

#include "base/str.h"

/* Faults found, one line each: "FILE:LINE: reason", "TLSFAN_X: reason" or "-o key: reason". The
 * first 200 are kept, and all counted. */
struct conf_faults {
    char *text; /* heap, terminated, or NULL; owned by the caller */
    unsigned n;
};

/* Adds a line. */
void conf_fault(struct conf_faults *f, const char *where, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same as "KEY: reason", without KEY where an option or a variable names it; and only once. */
void conf_key_fault(struct conf_faults *f, const char *where, const char *key, const char *reason);

/* All were found: brings them into the order of lines, those of the file MAIN (NULL: none) before
 * those of other files, of variables and of flags. */
void conf_faults_end(struct conf_faults *f, const char *main);

#endif
