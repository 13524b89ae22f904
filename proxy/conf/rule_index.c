/* SPDX-License-Identifier: Apache-2.0 */
/* The index over rules: one hash table whose keys are a port and a name, a ".suffix" or "*". A
 * lookup asks for every key that could match, two for each label, and takes the rule that was
 * written first. */
#include "conf/rule_index.h"

#include <stdlib.h>

#include "base/hash.h"

enum { NAME_MAX_LEN = 253, KEY_MAX = NAME_MAX_LEN + 3, LENGTH_WORDS = KEY_MAX / 64 };

struct entry {
    UT_hash_handle hh;
    unsigned index; /* of the first rule with this key */
    unsigned key_len;
    char key[]; /* port in two bytes, then the name */
};

struct rule_index {
    struct entry *entries;
    /* Bit N: a name of N bytes is there, [0] for any port, [1] for one. A host of many labels has
     * many suffixes, and hashing all is work in the square: only what can be found is asked for. */
    uint64_t lengths[2][LENGTH_WORDS];
};

/* 0 when the name is longer than any that can be written. */
static unsigned rule_index_make_key(char *key, struct str name, uint16_t port)
{
    if (name.len > KEY_MAX - 2)
        return 0;
    key[0] = (char)(port >> 8);
    key[1] = (char)(port & 0xff);
    memcpy(key + 2, name.p, name.len);
    return (unsigned)name.len + 2;
}

static struct entry *find_entry(const struct rule_index *index, struct str name, uint16_t port)
{
    char key[KEY_MAX];
    struct entry *e = NULL;
    if (name.len > KEY_MAX - 2 ||
        (index->lengths[port != 0][name.len / 64] >> name.len % 64 & 1) == 0)
        return NULL;
    unsigned len = rule_index_make_key(key, name, port);
    HASH_FIND(hh, index->entries, key, len, e);
    return e;
}

static void add_pattern(struct rule_index *index, struct str name, uint16_t port, unsigned at)
{
    if (str_starts(name, STR("*.")))
        name = str_from_byte(name, 1);
    if (name.len == 0 || find_entry(index, name, port) != NULL)
        return;
    struct entry *e = xcalloc(1, sizeof(*e) + KEY_MAX);
    e->index = at;
    e->key_len = rule_index_make_key(e->key, name, port);
    if (e->key_len == 0) {
        free(e);
        return;
    }
    HASH_ADD_KEYPTR(hh, index->entries, e->key, e->key_len, e);
    index->lengths[port != 0][name.len / 64] |= UINT64_C(1) << name.len % 64;
}

struct rule_index *rule_index_new(const struct rule *rules, unsigned n)
{
    struct rule_index *index = xcalloc(1, sizeof(*index));
    for (unsigned i = 1; i < n; i++)
        add_pattern(index, str_from(rules[i].host), rules[i].match_port, rules[i].index);
    return index;
}

struct rule_index *rule_index_of(const struct strings *patterns)
{
    struct rule_index *index = xcalloc(1, sizeof(*index));
    for (unsigned i = 0; i < patterns->n; i++)
        add_pattern(index, str_from(patterns->v[i]), 0, i);
    return index;
}

void rule_index_free(struct rule_index *index)
{
    if (index == NULL)
        return;
    struct entry *e = NULL;
    struct entry *next = NULL;
    HASH_ITER (hh, index->entries, e, next) {
        HASH_DEL(index->entries, e);
        free(e);
    }
    free(index);
}

static void take_first(const struct rule_index *index, struct str name, uint16_t port,
                       unsigned *best)
{
    const struct entry *any_port = find_entry(index, name, 0);
    const struct entry *this_port = find_entry(index, name, port);
    if (any_port != NULL && any_port->index < *best)
        *best = any_port->index;
    if (this_port != NULL && this_port->index < *best)
        *best = this_port->index;
}

unsigned rule_index_find(const struct rule_index *index, struct str host, uint16_t port)
{
    unsigned best = RULE_NONE;
    /* A name that begins with a dot would find the key of a suffix. */
    if (host.len > 0 && host.p[0] != '.')
        take_first(index, host, port, &best);
    take_first(index, STR("*"), port, &best);
    /* From the second byte: "*.suffix" wants a label before the dot. */
    for (size_t i = 1; i < host.len; i++)
        if (host.p[i] == '.')
            take_first(index, str_from_byte(host, i), port, &best);
    return best;
}

bool rule_index_has(const struct rule_index *index, struct str host)
{
    return rule_index_find(index, host, 0) != RULE_NONE;
}

bool rule_pattern_matches(struct str pattern, struct str host)
{
    if (str_eq(pattern, STR("*")))
        return true;
    if (!str_starts(pattern, STR("*.")))
        return str_eq(pattern, host);
    struct str suffix = str_from_byte(pattern, 1);
    return host.len > suffix.len && str_eq(str_from_byte(host, host.len - suffix.len), suffix);
}
