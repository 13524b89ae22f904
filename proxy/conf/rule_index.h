/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns of hosts. One is found in a time that does not grow with their number: exact names in a
 * hash, "*.suffix" by label. */
#ifndef TLSFAN_CONF_RULE_INDEX_H
#define TLSFAN_CONF_RULE_INDEX_H

#include "conf/sections.h"

struct rule_index; /* private */

/* Makes the index over RULES, but for the first, which no pattern finds. rule_index_free(NULL) is
 * harmless. */
struct rule_index *rule_index_new(const struct rule *rules, unsigned n);
void rule_index_free(struct rule_index *index);

/* The same over patterns for any port, for asking whether one of them matches HOST. */
struct rule_index *rule_index_of(const struct strings *patterns);
bool rule_index_has(const struct rule_index *index, struct str host);

/* The lowest index of a rule, or number of a pattern, that matches; RULE_NONE when there is none.
 * HOST is lower case. */
#define RULE_NONE UINT32_MAX
unsigned rule_index_find(const struct rule_index *index, struct str host, uint16_t port);

/* True when PATTERN ("name", "*.suffix" at any depth but not itself, "*") matches HOST, both lower
 * case. */
bool rule_pattern_matches(struct str pattern, struct str host);

#endif
