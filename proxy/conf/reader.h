/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the configuration. */
#ifndef TLSFAN_CONF_READER_H
#define TLSFAN_CONF_READER_H

#include "conf/settings.h"

/* Adds what the file PATH says, and those that it includes. Where a fault ends the reading, S is
 * partial. Not thread safe: one thread loads. */
void reader_add_file(struct settings *s, const char *path, struct conf_faults *faults);

#endif
