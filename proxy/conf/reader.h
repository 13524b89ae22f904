/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the configuration. */
#ifndef TLSFAN_CONF_READER_H
#define TLSFAN_CONF_READER_H

#include "conf/settings.h"

struct conf_file; /* conf/files.h */

/* Adds what the file PATH says, and those that it includes; FILES keeps their texts, and what it
 * has of them is taken from there. Where a fault ends the reading, S is partial. Not thread safe:
 * one thread loads. */
void reader_add_file(struct settings *s, struct conf_file **files, const char *path,
                     struct conf_faults *faults);

#endif
