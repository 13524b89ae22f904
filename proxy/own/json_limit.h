/* SPDX-License-Identifier: Apache-2.0 */
/* A bound on what Jansson allocates while it parses what a caller has sent: a text of many small
 * values would cost a hundred times its size. */
#ifndef TLSFAN_OWN_JSON_LIMIT_H
#define TLSFAN_OWN_JSON_LIMIT_H

#include <stddef.h>

/* To be called before there is a second thread; without it there is no bound. */
void json_limit_install(void);

/* From now on Jansson may take BYTES more on this thread; beyond it, its functions fail as if there
 * were no memory. */
void json_limit_set(size_t bytes);
/* No bound again. */
void json_limit_clear(void);

/* Frees what json_dumps() gave. */
void json_limit_free(char *text);

#endif
