/* SPDX-License-Identifier: Apache-2.0 */
/* The names of origins. A name is written before the count that makes it visible, so readers take
 * no lock. It changes only after TALLY_REST without any use, and what it was before lasts until the
 * next change. */
#include "upstream/tally.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/addr.h"
#include "base/hash.h"
#include "base/loop.h"

enum { LOOK_AGAIN = 60000000 /* µs, for names that rest, where there were none */ };

struct name {
    UT_hash_handle hh;
    unsigned place;
    bool is_found; /* and no more is known of it */
    struct str zone;
    _Atomic(char *) text;
    char *before;          /* what readers may still have */
    uint64_t moved;        /* what had been counted when it was looked at last */
    int64_t since;         /* µs: since when no more was */
    _Atomic int64_t named; /* µs: when it got TEXT */
};

/* Guards the table, and what is said there of names; the rest may be read without it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct name *table;
static struct name names[TALLY_NAMES];
static unsigned n_found; /* of them */
static struct list tallies = {&tallies, &tallies};
static int64_t look_at[2]; /* µs: for any name that rests; for one that was found alone */
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

/* ---- names that rest */

/* What its counters are, and whether anything is under way. */
static uint64_t tally_moved(unsigned i, bool *is_busy)
{
    struct tally_sum sum = {0};
    list_foreach (it, &tallies)
        tally_add(&sum, container_of(it, struct tally, link), i);
    *is_busy = (sum.in_flight | sum.waiting | sum.idle | sum.busy) != 0;
    return sum.requests + sum.failed + sum.opened + sum.reused;
}

static bool tally_rests(unsigned i, int64_t now)
{
    bool is_busy;
    uint64_t moved = tally_moved(i, &is_busy);
    if (is_busy || moved != names[i].moved) {
        names[i].moved = moved;
        names[i].since = now;
    }
    return now - names[i].since >= TALLY_REST;
}

/* The one that rests longest, only of those that were FOUND where that is asked; or TALLY_OTHER. */
static unsigned tally_longest_rest(bool found)
{
    unsigned best = TALLY_OTHER;
    int64_t now = loop_now();
    if (now < look_at[found])
        return TALLY_OTHER;
    for (unsigned i = 0; i < atomic_load_explicit(&n_names, memory_order_relaxed); i++)
        if (tally_rests(i, now) && (names[i].is_found || !found) &&
            (best == TALLY_OTHER || names[i].since < names[best].since))
            best = i;
    if (best == TALLY_OTHER)
        look_at[found] = now + LOOK_AGAIN;
    return best;
}

/* No worker counts there: nothing is under way, and who comes back asks for the place again. */
static void tally_zero(unsigned i)
{
    list_foreach (it, &tallies) {
        struct tally_place *p = &container_of(it, struct tally, link)->places[i];
        atomic_store_explicit(&p->requests.n, 0, memory_order_relaxed);
        atomic_store_explicit(&p->failed.n, 0, memory_order_relaxed);
        atomic_store_explicit(&p->reused.n, 0, memory_order_relaxed);
        atomic_store_explicit(&p->opened.n, 0, memory_order_relaxed);
    }
    tally_set_expiry(i, 0);
}

/* Takes its name from the place of one that rests. The place, or TALLY_OTHER. */
static unsigned tally_let_go(bool found)
{
    unsigned i = tally_longest_rest(found);
    if (i == TALLY_OTHER)
        return i;
    struct name *name = &names[i];
    HASH_DEL(table, name);
    n_found -= name->is_found;
    free(name->before);
    name->before = name->text;
    tally_zero(i);
    return i;
}

/* ---- names */

/* The place for a new name in ZONE, or TALLY_OTHER. */
static unsigned tally_room(enum tally_claim claim, struct str zone)
{
    unsigned same = 0;
    unsigned n = atomic_load_explicit(&n_names, memory_order_relaxed);
    if (claim == CLAIM_NONE)
        return TALLY_OTHER;
    if (claim == CLAIM_SURE)
        return n < TALLY_NAMES ? n : tally_let_go(false);
    for (unsigned i = 0; i < n; i++)
        same += names[i].is_found && str_eq(names[i].zone, zone);
    if (same >= TALLY_ZONE)
        return TALLY_OTHER;
    return n < TALLY_NAMES && n_found < TALLY_FOUND ? n : tally_let_go(true);
}

/* TEXT is not a name yet; it is that of PLACE from now on. */
static void add_name(unsigned place, char *text, struct str host, enum tally_claim claim)
{
    struct name *name = &names[place];
    struct str zone = tally_zone(host);
    name->place = place;
    name->zone = str_make(text + (zone.p - host.p), zone.len);
    name->is_found = claim == CLAIM_FOUND;
    name->moved = 0;
    name->since = loop_now();
    n_found += name->is_found;
    HASH_ADD_KEYPTR(hh, table, text, strlen(text), name);
    atomic_store_explicit(&name->named, name->since, memory_order_relaxed);
    atomic_store_explicit(&name->text, text, memory_order_release);
    if (place == atomic_load_explicit(&n_names, memory_order_relaxed))
        atomic_store_explicit(&n_names, place + 1, memory_order_release);
}

static unsigned tally_find_name(struct str host, uint16_t port, enum tally_claim claim)
{
    struct name *name;
    unsigned place;
    bool is_ip6 = str_find(host, ':') < host.len;
    char *text = xasprintf(is_ip6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(host), (unsigned)port);
    pthread_mutex_lock(&lock);
    HASH_FIND_STR(table, text, name);
    if (name != NULL) {
        place = name->place;
        name->since = loop_now(); /* it is about to be counted there */
        if (claim == CLAIM_SURE && name->is_found) {
            name->is_found = false;
            n_found--;
        }
    } else if ((place = tally_room(claim, tally_zone(host))) != TALLY_OTHER) {
        add_name(place, text, host, claim);
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
    return atomic_load_explicit(&names[i].text, memory_order_acquire);
}

int64_t tally_named(unsigned i)
{
    return atomic_load_explicit(&names[i].named, memory_order_relaxed);
}

void tally_join(struct tally *t)
{
    pthread_mutex_lock(&lock);
    list_push_back(&tallies, &t->link);
    pthread_mutex_unlock(&lock);
}

void tally_leave(struct tally *t)
{
    pthread_mutex_lock(&lock);
    list_remove(&t->link);
    pthread_mutex_unlock(&lock);
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
