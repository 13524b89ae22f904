/* SPDX-License-Identifier: Apache-2.0 */
/* Members and guests of the service listener: see admission.h. */
#include "service/admission.h"

#include "base/fds.h"
#include "base/log_limit.h"
#include "conf/policy.h"

static const struct conf *conf_now(const struct service_conn *c)
{
    return c->all->engine->use->conf;
}

void admission_init(struct admission *a)
{
    list_init(&a->members);
    list_init(&a->guests);
}

/* The member who has waited longest without a request makes room. */
static bool close_one_idle(struct admission *a)
{
    list_foreach (it, &a->members) {
        struct service_conn *c = container_of(it, struct service_conn, link);
        if (c->state != SERVICE_CONN_IDLE)
            continue;
        evhtp_connection_free(c->conn);
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

static unsigned count_of_host(const struct admission *a, const struct addr *peer)
{
    unsigned n = 0;
    list_foreach (it, &a->guests)
        n += is_same_host(&container_of(it, struct service_conn, link)->from.peer, peer);
    return n;
}

/* The oldest guest of the address that has most of them goes. */
static void close_one_guest(struct admission *a)
{
    struct service_conn *found = NULL;
    unsigned most = 0;
    list_foreach (it, &a->guests) {
        struct service_conn *c = container_of(it, struct service_conn, link);
        unsigned n = count_of_host(a, &c->from.peer);
        if (n <= most)
            continue;
        most = n;
        found = c;
    }
    if (found != NULL)
        evhtp_connection_free(found->conn);
}

/* C becomes a member, if it may be one and there is room. */
static bool admission_join(struct service_conn *c, struct fault *f)
{
    struct admission *a = &c->all->admission;
    if (!policy_client(conf_now(c), &c->from.peer, f))
        return false;
    if (a->n_members >= fds_budget()->service && !close_one_idle(a)) {
        fault_set(f, FAULT_LIMIT,
                  "the service listener has too many connections: this one is for /healthz and "
                  "/readyz alone; try again");
        return false;
    }
    c->is_guest = false;
    a->n_members++;
    list_push_back(&a->members, &c->link);
    return true;
}

void admission_take(struct service_conn *c)
{
    struct admission *a = &c->all->admission;
    struct fault f;
    if (admission_join(c, &f))
        return;
    if (f.code == FAULT_LIMIT)
        log_limited(LOG_LEVEL_WARNING,
                    "the service listener has %u connections: further ones get health checks alone",
                    a->n_members);
    c->is_guest = true;
    a->n_guests++;
    list_push_back(&a->guests, &c->link);
    if (a->n_guests > FDS_GUESTS)
        close_one_guest(a);
}

void admission_leave(struct service_conn *c)
{
    struct admission *a = &c->all->admission;
    if (list_is_empty(&c->link))
        return;
    list_remove(&c->link);
    a->n_members -= !c->is_guest;
    a->n_guests -= c->is_guest;
}

/* A reload, or a member who has left, may have made room meanwhile. */
bool admission_may_ask(struct service_conn *c, const struct page *page, struct fault *f)
{
    if (!c->is_guest || (page != NULL && page->is_open))
        return true;
    admission_leave(c);
    if (admission_join(c, f))
        return true;
    c->all->admission.n_guests++;
    list_push_back(&c->all->admission.guests, &c->link);
    return false;
}
