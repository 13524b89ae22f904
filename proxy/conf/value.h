/* SPDX-License-Identifier: Apache-2.0 */
/* From the text of a value to the field it is for. One function a type, all behind value_set(). */
#ifndef TLSFAN_CONF_VALUE_H
#define TLSFAN_CONF_VALUE_H

#include "base/mem.h"
#include "conf/keys.h"

enum { VALUE_ERR = 320 }; /* bytes of an error text */

/* Sets the field of K in BASE (struct conf, rule or forward), or adds an element to it when it is a
 * list. What it points to is in ARENA. False with a reason in ERR (VALUE_ERR bytes). */
MUST_CHECK bool value_set(struct arena *arena, const struct key *k, void *base, struct str text,
                          char *err);

/* False with the reason in ERR, which may be NULL (here and below). Always. */
bool value_fail(char *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* "name", "name.", "1.2.3.4", "::1" or "[::1]" as names are compared: lower case, no dot at the
 * end, IPv6 in its shortest form without brackets. */
MUST_CHECK bool value_host(struct arena *arena, struct str text, const char **host, char *err);
/* The same, or "*", or "*.suffix". */
MUST_CHECK bool value_pattern(struct arena *arena, struct str text, const char **host, char *err);
/* What is connected to: as value_host(), but a name keeps the dot at its end, for it says how the
 * name is looked up. */
MUST_CHECK bool value_target(struct arena *arena, struct str text, const char **host, char *err);
/* 1 to 65535. */
MUST_CHECK bool value_port(struct str text, uint16_t *port, char *err);
/* Splits "HOST", "HOST:PORT", "[v6]:PORT" or "v6"; PORT is empty where there is none, HOST has no
 * brackets. */
MUST_CHECK bool value_split(struct str text, struct str *host, struct str *port);

/* Where a value goes, for the functions of conf/value_net.c and the table in conf/value.c. */
struct assign {
    struct arena *arena; /* of what the field points to */
    const struct key *key;
    void *field; /* where key->offset points */
    char *err;   /* as of value_set() */
};
bool value_set_listen(const struct assign *a, struct str text);
bool value_set_service(const struct assign *a, struct str text);
bool value_set_connect_to(const struct assign *a, struct str text);
bool value_set_connect(const struct assign *a, struct str text);
bool value_set_bind(const struct assign *a, struct str text);
bool value_set_to(const struct assign *a, struct str text);
bool value_set_servers(const struct assign *a, struct str text);
bool value_set_origins(const struct assign *a, struct str text);
bool value_set_parent(const struct assign *a, struct str text);
bool value_set_bypass(const struct assign *a, struct str text);
bool value_set_token(const struct assign *a, struct str text);
bool value_set_edits(const struct assign *a, struct str text);

#endif
