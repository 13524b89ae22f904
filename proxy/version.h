/* SPDX-License-Identifier: Apache-2.0 */
/* -V: the version of tlsfan and those of the libraries that it runs with. */
#ifndef TLSFAN_VERSION_H
#define TLSFAN_VERSION_H

#include <stdio.h>

void version_print(FILE *out);

#endif
