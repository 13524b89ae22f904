/* SPDX-License-Identifier: Apache-2.0 */
/* The names of origins. A name is written before the count that makes it visible, and never changes
 * after that, so readers take no lock. */
#include "upstream/tally.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"

struct name {
    UT_hash_handle hh;
    unsigned place;
    char *text;
};

/* Guards the table; the rest may be read without it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct name *table;
static struct name names[TALLY_NAMES];
static _Atomic unsigned n_names;
static _Atomic int64_t expiries[TALLY_PLACES];

/* TEXT is not a name yet, and there is room for it. */
static unsigned add_name(const char *text)
{
    unsigned n = atomic_load_explicit(&n_names, memory_order_relaxed);
    struct name *name = &names[n];
    name->place = n;
    name->text = xstrdup(text);
    HASH_ADD_KEYPTR(hh, table, name->text, strlen(name->text), name);
    atomic_store_explicit(&n_names, n + 1, memory_order_release);
    return n;
}

static unsigned tally_find_name(struct str host, uint16_t port, bool may_add)
{
    struct name *name;
    unsigned place = TALLY_OTHER;
    bool is_ip6 = str_find(host, ':') < host.len;
    char *text = xasprintf(is_ip6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(host), (unsigned)port);
    pthread_mutex_lock(&lock);
    HASH_FIND_STR(table, text, name);
    if (name != NULL)
        place = name->place;
    else if (may_add && atomic_load_explicit(&n_names, memory_order_relaxed) < TALLY_NAMES)
        place = add_name(text);
    pthread_mutex_unlock(&lock);
    free(text);
    return place;
}

unsigned tally_find(struct str host, uint16_t port)
{
    return tally_find_name(host, port, false);
}

unsigned tally_register(struct str host, uint16_t port)
{
    return tally_find_name(host, port, true);
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
    sum->idle += idle;
    /* Read one after the other, they may be of different moments. */
    sum->busy += conns > idle ? conns - idle : 0;
}
