/* SPDX-License-Identifier: Apache-2.0 */
/* Members and guests of the service listener: see places.h. */
#include "service/places.h"

#include "base/fds.h"
#include "base/log_limit.h"
#include "conf/policy.h"

static const struct conf *conf_now(const struct caller *k)
{
    return k->all->engine->use->conf;
}

void places_init(struct places *p)
{
    list_init(&p->members);
    list_init(&p->guests);
}

/* The member who has waited longest without a request makes room. */
static bool close_one_idle(struct places *p)
{
    list_foreach (it, &p->members) {
        struct caller *k = container_of(it, struct caller, link);
        if (k->state != CALLER_IDLE)
            continue;
        evhtp_connection_free(k->conn);
        return true;
    }
    return false;
}

static bool is_same_host(const struct addr *a, const struct addr *b)
{
    uint8_t keys[2][ADDR_HOST_KEY];
    addr_host_key(a, keys[0]);
    addr_host_key(b, keys[1]);
    return memcmp(keys[0], keys[1], ADDR_HOST_KEY) == 0;
}

static unsigned count_of_host(const struct places *p, const struct addr *a)
{
    unsigned n = 0;
    list_foreach (it, &p->guests)
        n += is_same_host(&container_of(it, struct caller, link)->from.peer, a);
    return n;
}

/* The oldest guest of the address that has most of them goes. */
static void close_one_guest(struct places *p)
{
    struct caller *found = NULL;
    unsigned most = 0;
    list_foreach (it, &p->guests) {
        struct caller *k = container_of(it, struct caller, link);
        unsigned n = count_of_host(p, &k->from.peer);
        if (n <= most)
            continue;
        most = n;
        found = k;
    }
    if (found != NULL)
        evhtp_connection_free(found->conn);
}

/* A member's place, if K may have one and there is one. */
static bool join(struct caller *k, struct fault *f)
{
    struct places *p = &k->all->places;
    if (!policy_client(conf_now(k), &k->from.peer, f))
        return false;
    if (p->n_members >= fds_budget()->service && !close_one_idle(p)) {
        fault_set(f, FAULT_LIMIT,
                  "the service listener has too many connections: this one is for /healthz and "
                  "/readyz alone; try again");
        return false;
    }
    k->is_guest = false;
    p->n_members++;
    list_push_back(&p->members, &k->link);
    return true;
}

void places_take(struct caller *k)
{
    struct places *p = &k->all->places;
    struct fault f;
    if (join(k, &f))
        return;
    if (f.code == FAULT_LIMIT)
        log_limited(LOG_LEVEL_WARNING,
                    "the service listener has %u connections: further ones get health checks alone",
                    p->n_members);
    k->is_guest = true;
    p->n_guests++;
    list_push_back(&p->guests, &k->link);
    if (p->n_guests > FDS_GUESTS)
        close_one_guest(p);
}

void places_leave(struct caller *k)
{
    struct places *p = &k->all->places;
    if (list_is_empty(&k->link))
        return;
    list_remove(&k->link);
    p->n_members -= !k->is_guest;
    p->n_guests -= k->is_guest;
}

/* A reload, or a member who has left, may have made room meanwhile. */
bool places_may_ask(struct caller *k, const struct page *page, struct fault *f)
{
    if (!k->is_guest || (page != NULL && page->is_open))
        return true;
    places_leave(k);
    if (join(k, f))
        return true;
    k->all->places.n_guests++;
    list_push_back(&k->all->places.guests, &k->link);
    return false;
}
