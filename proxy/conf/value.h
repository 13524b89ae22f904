/* SPDX-License-Identifier: Apache-2.0 */
/* From the text of a value to the field it is for. One function a type, all behind value_set(). */
#ifndef TLSFAN_CONF_VALUE_H
#define TLSFAN_CONF_VALUE_H

#include "conf/keys.h"

enum { VALUE_ERR = 320 }; /* bytes of an error text */

/* Sets the field of K in BASE (struct conf, rule or forward), or adds an element to it when it is a
 * list. A text that was there before is freed. False with a reason in ERR (VALUE_ERR bytes). */
MUST_CHECK bool value_set(const struct key *k, void *base, struct str text, char *err);

/* False with the reason in ERR, which may be NULL (here and below). Always. */
bool value_fail(char *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* "name", "name.", "1.2.3.4", "::1" or "[::1]" as names are compared: lower case, no dot at the
 * end, IPv6 in its shortest form without brackets. Heap, owned by the caller. */
MUST_CHECK bool value_host(struct str text, char **host, char *err);
/* The same, or "*", or "*.suffix". */
MUST_CHECK bool value_pattern(struct str text, char **host, char *err);
/* 1 to 65535. */
MUST_CHECK bool value_port(struct str text, uint16_t *port, char *err);
/* Splits "HOST", "HOST:PORT", "[v6]:PORT" or "v6"; PORT is empty where there is none, HOST has no
 * brackets. */
MUST_CHECK bool value_split(struct str text, struct str *host, struct str *port);

/* The functions of conf/value_net.c, for the table in conf/value.c. FIELD is where K->offset
 * points. */
bool value_set_listen(const struct key *k, void *field, struct str text, char *err);
bool value_set_service(const struct key *k, void *field, struct str text, char *err);
bool value_set_connect_to(const struct key *k, void *field, struct str text, char *err);
bool value_set_connect(const struct key *k, void *field, struct str text, char *err);
bool value_set_bind(const struct key *k, void *field, struct str text, char *err);
bool value_set_to(const struct key *k, void *field, struct str text, char *err);
bool value_set_servers(const struct key *k, void *field, struct str text, char *err);
bool value_set_origins(const struct key *k, void *field, struct str text, char *err);
bool value_set_edits(const struct key *k, void *field, struct str text, char *err);

#endif
