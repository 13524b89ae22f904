/* SPDX-License-Identifier: Apache-2.0 */
/* A table without chains: of two names in one place the later one is remembered. */
#include "upstream/outage.h"

#include "base/hash.h"
#include "base/loop.h"

enum {
    PLACES = 256,
    FIRST_TRY = 100 * 1000,  /* µs after the first refusal */
    LAST_TRY = 300 * 1000,   /* µs */
    REMEMBERED = 1000 * 1000 /* µs after the latest */
};

struct outage {
    uint64_t key;
    int64_t since, latest; /* µs; 0: none */
};

static _Thread_local struct outage outages[PLACES];

static uint64_t outage_key_of(struct str host, uint16_t port)
{
    return (hash_bytes(host.p, host.len) ^ port) * UINT64_C(0x9e3779b97f4a7c15);
}

static struct outage *outage_place_of(uint64_t key)
{
    return &outages[(key >> 32) % PLACES];
}

int64_t outage_wait(struct str host, uint16_t port, int64_t *first)
{
    int64_t now = loop_now();
    uint64_t key = outage_key_of(host, port);
    struct outage *o = outage_place_of(key);
    if (*first == 0)
        *first = now;
    bool is_new = o->key != key || o->since == 0 || now - o->latest > REMEMBERED;
    if (is_new || *first < o->since)
        *o = (struct outage){.key = key, .since = *first};
    o->latest = now;
    int64_t age = now - o->since;
    if (age >= LAST_TRY)
        return 0;
    int64_t left = (age < FIRST_TRY ? FIRST_TRY : LAST_TRY) - age;
    return (left + 999) / 1000;
}

void outage_end(struct str host, uint16_t port)
{
    uint64_t key = outage_key_of(host, port);
    struct outage *o = outage_place_of(key);
    if (o->key == key)
        o->since = 0;
}
