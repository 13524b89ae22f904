/* SPDX-License-Identifier: Apache-2.0 */
/* The index over rules: one hash table whose keys are a port and a name, a ".suffix" or "*". A
 * lookup asks for every key that could match, two for each label, and takes the rule that was
 * written first. */
#include "conf/rule.h"

#include <stdlib.h>

#include "base/hash.h"
#include "conf/conf.h"

enum { NAME_MAX_LEN = 253, KEY_MAX = NAME_MAX_LEN + 3, LENGTH_WORDS = KEY_MAX / 64 };

static const unsigned NONE = UINT32_MAX;

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
static unsigned make_key(char *key, struct str name, uint16_t port)
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
    unsigned len = make_key(key, name, port);
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
    e->key_len = make_key(e->key, name, port);
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

/* The lowest number of an entry that matches, NONE when there is none. */
static unsigned find_first(const struct rule_index *index, struct str host, uint16_t port)
{
    unsigned best = NONE;
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

const struct rule *rule_find(const struct conf *c, struct str host, uint16_t port)
{
    unsigned first = c->n_rules <= 1 ? NONE : find_first(c->index, host, port);
    return &c->rules[first == NONE ? 0 : first];
}

static bool is_same_text(const char *a, const char *b)
{
    return str_eq(str_from(a), str_from(b));
}

/* FULL lets through what WRITTEN does not, or gives away what only FULL has. A context is all
 * settings of TLS but `verify`. */
static bool is_weaker(const struct rule *full, const struct rule *written)
{
    if (written->upgrade && !full->upgrade)
        return true;
    return written->tls.verify &&
           (!full->tls.verify || full->tls.ctx != written->tls.ctx ||
            !is_same_text(full->sni, written->sni) || (full->upgrade && full->n_edits > 0));
}

const struct rule *rule_find_full(const struct conf *c, struct str host, struct str full,
                                  uint16_t port)
{
    const struct rule *written = rule_find(c, host, port);
    if (full.len == 0)
        return written;
    const struct rule *found = rule_find(c, full, port);
    bool is_first = found->index != 0 && (written->index == 0 || found->index < written->index);
    /* Who writes a word alone leaves it to the list what that is. */
    bool is_word = str_find(host, '.') == host.len && !str_eq(host, str_from(written->host));
    return is_first && (is_word || !is_weaker(found, written)) ? found : written;
}

/* A is B, or below it. */
static bool is_within(struct str a, struct str b)
{
    if (a.len <= b.len)
        return str_eq(a, b);
    struct str end = str_from_byte(a, a.len - b.len);
    return str_eq(end, b) && a.p[a.len - b.len - 1] == '.';
}

bool rule_knows_domain(const struct conf *c, struct str domain)
{
    for (unsigned i = 1; i < c->n_rules; i++) {
        struct str name = str_from(c->rules[i].host);
        if (str_starts(name, STR("*.")))
            name = str_from_byte(name, 2);
        if (domain.len > 0 && name.len > 0 && !str_eq(name, STR("*")) &&
            (is_within(name, domain) || is_within(domain, name)))
            return true;
    }
    return false;
}

bool rule_index_has(const struct rule_index *index, struct str host)
{
    return find_first(index, host, 0) != NONE;
}

static const char *find_written(const struct rule *r, const char *key)
{
    for (unsigned i = 0; i < r->n_written; i++)
        if (strcmp(r->written[i].key, key) == 0)
            return r->written[i].where;
    return NULL;
}

const char *rule_where(const struct conf *c, const struct rule *r, const char *key)
{
    const char *own = find_written(r, key);
    if (own != NULL)
        return own;
    char *dotted = xasprintf("tls.%s", key);
    const char *inherited = find_written(&c->rules[0], dotted);
    free(dotted);
    return inherited != NULL ? inherited : r->where;
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
