/* SPDX-License-Identifier: Apache-2.0 */
/* The names of origins. A name is written before the count that makes it visible, and never changes
 * after that, so readers take no lock. */
#include "upstream/tally.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/addr.h"
#include "base/hash.h"

struct name {
    UT_hash_handle hh;
    unsigned place;
    bool is_found; /* and no more is known of it */
    struct str zone;
    char *text;
};

/* Guards the table, and what is said there of names; the rest may be read without it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct name *table;
static struct name names[TALLY_NAMES];
static unsigned n_found; /* of them */
static _Atomic unsigned n_names;
static _Atomic int64_t expiries[TALLY_PLACES];

/* What a name is asked for. */
enum tally_claim {
    CLAIM_NONE,  /* it is looked for */
    CLAIM_FOUND, /* it leads somewhere */
    CLAIM_SURE   /* somebody has answered there, or the operator wrote it */
};

/* Who owns a domain makes any number of names in it: its last two labels. Empty for addresses. */
static struct str tally_zone(struct str host)
{
    struct addr literal;
    size_t at = host.len;
    unsigned dots = 0;
    if (addr_parse_ip(&literal, host, 0))
        return str_make(host.p, 0);
    while (at > 0 && (dots += host.p[at - 1] == '.') < 2)
        at--;
    return str_from_byte(host, at);
}

/* There is room for a name in ZONE. */
static bool tally_has_room(enum tally_claim claim, struct str zone)
{
    unsigned same = 0;
    unsigned n = atomic_load_explicit(&n_names, memory_order_relaxed);
    if (claim == CLAIM_NONE || n == TALLY_NAMES)
        return false;
    if (claim == CLAIM_SURE)
        return true;
    if (n_found == TALLY_FOUND)
        return false;
    for (unsigned i = 0; i < n; i++)
        same += names[i].is_found && str_eq(names[i].zone, zone);
    return same < TALLY_ZONE;
}

/* TEXT is not a name yet, and there is room for it; it is the name's from now on. */
static unsigned add_name(char *text, struct str host, enum tally_claim claim)
{
    unsigned n = atomic_load_explicit(&n_names, memory_order_relaxed);
    struct name *name = &names[n];
    struct str zone = tally_zone(host);
    name->place = n;
    name->text = text;
    name->zone = str_make(text + (zone.p - host.p), zone.len);
    name->is_found = claim == CLAIM_FOUND;
    n_found += name->is_found;
    HASH_ADD_KEYPTR(hh, table, name->text, strlen(name->text), name);
    atomic_store_explicit(&n_names, n + 1, memory_order_release);
    return n;
}

static unsigned tally_find_name(struct str host, uint16_t port, enum tally_claim claim)
{
    struct name *name;
    unsigned place = TALLY_OTHER;
    bool is_ip6 = str_find(host, ':') < host.len;
    char *text = xasprintf(is_ip6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(host), (unsigned)port);
    pthread_mutex_lock(&lock);
    HASH_FIND_STR(table, text, name);
    if (name != NULL) {
        place = name->place;
        if (claim == CLAIM_SURE && name->is_found) {
            name->is_found = false;
            n_found--;
        }
    } else if (tally_has_room(claim, tally_zone(host))) {
        place = add_name(text, host, claim);
        text = NULL;
    }
    pthread_mutex_unlock(&lock);
    free(text);
    return place;
}

unsigned tally_find(struct str host, uint16_t port)
{
    return tally_find_name(host, port, CLAIM_NONE);
}

unsigned tally_register(struct str host, uint16_t port)
{
    return tally_find_name(host, port, CLAIM_SURE);
}

unsigned tally_register_found(struct str host, uint16_t port)
{
    return tally_find_name(host, port, CLAIM_FOUND);
}

unsigned tally_names(void)
{
    return atomic_load_explicit(&n_names, memory_order_acquire);
}

const char *tally_name(unsigned i)
{
    return names[i].text;
}

void tally_set_expiry(unsigned i, int64_t t)
{
    atomic_store_explicit(&expiries[i], t, memory_order_relaxed);
}

int64_t tally_expiry(unsigned i)
{
    return atomic_load_explicit(&expiries[i], memory_order_relaxed);
}

void tally_count_parent(struct tally_place *p, bool is_good)
{
    counter_add(&p->requests, 1);
    counter_add(is_good ? &p->opened : &p->failed, 1);
}

void tally_add(struct tally_sum *sum, const struct tally *t, unsigned i)
{
    const struct tally_place *p = &t->places[i];
    uint64_t conns = counter_get(&p->conns);
    uint64_t idle = counter_get(&p->idle);
    sum->requests += counter_get(&p->requests);
    sum->failed += counter_get(&p->failed);
    sum->reused += counter_get(&p->reused);
    sum->opened += counter_get(&p->opened);
    sum->in_flight += counter_get(&p->in_flight);
    sum->waiting += counter_get(&p->waiting);
    sum->idle += idle;
    /* Read one after the other, they may be of different moments. */
    sum->busy += conns > idle ? conns - idle : 0;
}
