/* SPDX-License-Identifier: Apache-2.0 */
/* A place for each address, all in one block of memory: what was never used of it is never touched,
 * and costs nothing. */
#include "own/name_map.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/list.h"

#define NET_FIRST UINT32_C(0xc6120000) /* 198.18.0.0 */

enum {
    NET_SIZE = 1 << 17,
    ADDRESSES = NET_SIZE - 2 /* neither the first nor the last of the network */
};

/* The address behind the first one of the network by its index, plus 1. */
struct named {
    UT_hash_handle hh; /* by name, while it has one */
    struct list link;  /* in map.used, or in map.freed */
    char *name;        /* heap; NULL: stands for none */
};

static struct {
    pthread_mutex_t lock; /* guards all of it */
    struct named *places; /* ADDRESSES of them; NULL: closed */
    struct named *by_name;
    struct list used;  /* the one asked for longest ago is first */
    struct list freed; /* have stood for another name; the one that has not for longest is first */
    unsigned fresh;    /* places from here on have never been used */
    unsigned n;        /* names */
} map = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- addresses */

static void address_of(const struct named *p, struct addr *a)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    in.sin_addr.s_addr = htonl(NET_FIRST + 1 + (uint32_t)(p - map.places));
    addr_from_sockaddr(a, (const struct sockaddr *)&in, sizeof(in));
}

/* How far A is behind the first address of the network; NET_SIZE when it is not inside. */
static uint32_t offset_of(const struct addr *a)
{
    struct addr plain = addr_plain(a);
    if (addr_family(&plain) != AF_INET)
        return NET_SIZE;
    uint32_t offset = ntohl(plain.in4.sin_addr.s_addr) - NET_FIRST;
    return offset < NET_SIZE ? offset : NET_SIZE;
}

bool name_map_has(const struct addr *a)
{
    return offset_of(a) < NET_SIZE;
}

/* ---- places, under the lock */

static void place_touch(struct named *p)
{
    list_remove(&p->link);
    list_push_back(&map.used, &p->link);
}

/* P stands for no name any more. */
static void place_free(struct named *p)
{
    HASH_DEL(map.by_name, p);
    free(p->name);
    p->name = NULL;
    list_remove(&p->link);
    list_push_back(&map.freed, &p->link);
    map.n--;
}

static struct named *place_take(struct str name)
{
    if (map.n == NAME_MAP_NAMES)
        place_free(container_of(list_first(&map.used), struct named, link));
    struct named *p;
    if (map.fresh < ADDRESSES) {
        p = &map.places[map.fresh++];
        list_init(&p->link);
    } else {
        p = container_of(list_first(&map.freed), struct named, link);
    }
    p->name = xstrndup(name.p, name.len);
    HASH_ADD_KEYPTR(hh, map.by_name, p->name, name.len, p);
    map.n++;
    return p;
}

static struct named *place_for(struct str name)
{
    struct named *p;
    HASH_FIND(hh, map.by_name, name.p, name.len, p);
    if (p == NULL)
        p = place_take(name);
    place_touch(p);
    return p;
}

/* The place of the address at OFFSET, NULL when it stands for no name. */
static struct named *named_at(uint32_t offset)
{
    bool is_used = map.places != NULL && offset >= 1 && offset <= map.fresh;
    struct named *p = is_used ? &map.places[offset - 1] : NULL;
    return p != NULL && p->name != NULL ? p : NULL;
}

/* ---- for all threads */

bool name_map_get(struct str name, struct addr *a)
{
    if (name.len == 0 || name.len >= NAME_MAP_NAME)
        return false;
    pthread_mutex_lock(&map.lock);
    bool is_open = map.places != NULL;
    if (is_open)
        address_of(place_for(name), a);
    pthread_mutex_unlock(&map.lock);
    return is_open;
}

bool name_map_find(const struct addr *a, char name[NAME_MAP_NAME])
{
    pthread_mutex_lock(&map.lock);
    struct named *p = named_at(offset_of(a));
    if (p != NULL) {
        place_touch(p);
        memcpy(name, p->name, p->hh.keylen);
        name[p->hh.keylen] = '\0';
    }
    pthread_mutex_unlock(&map.lock);
    return p != NULL;
}

/* ---- for the first and the last thread */

void name_map_open(void)
{
    if (map.places != NULL)
        return;
    list_init(&map.used);
    list_init(&map.freed);
    map.places = xcalloc(ADDRESSES, sizeof(*map.places));
    map.by_name = NULL;
    map.fresh = map.n = 0;
}

void name_map_close(void)
{
    struct list *it;
    if (map.places == NULL)
        return;
    while ((it = list_first(&map.used)) != NULL)
        place_free(container_of(it, struct named, link));
    free(map.places);
    map.places = NULL;
}
