/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets a place: judged as soon as a connection is accepted. 403 when client.allow does not have
 * its peer, 503 when there are too many, or when descriptors are used up and no idle connection to
 * an origin can be given up for it. */
#include "client/client_impl.h"

#include <errno.h>

#include "base/fds.h"
#include "base/log_limit.h"
#include "client/secure_impl.h"
#include "client/turned_impl.h"
#include "conf/policy.h"
#include "exchange/answer.h"
#include "exchange/stats.h"
#include "net/linger.h"
#include "net/own_addr.h"
#include "upstream/pool_room.h"

/* One answer, without waiting for a request; but a reset where what was turned here need not be
 * HTTP: to other clients an answer would be the first bytes of their server. */
static void admit_refuse(struct clients *cs, int fd, const struct client_listener *l,
                         const struct fault *f)
{
    char text[ANSWER_RAW];
    struct stream *s = stream_new(cs->engine->loop, fd, NULL);
    if (!turned_is_http(fd, l->kind)) {
        stream_abort(s);
        return;
    }
    if (l->tls) {
        secure_refuse(s, f);
        return;
    }
    stream_start(s);
    linger_with(s, text, answer_raw(text, f, false));
}

/* The pod's own programs come from its own address (REDIRECT in OUTPUT keeps it); COMMAND is whom
 * we serve. */
static bool admit_may_come(const struct client_listener *l, const struct addr *peer,
                           struct fault *f)
{
    if (listener_is_captured(l->kind))
        return true;
    if (l->kind == LISTENER_TRANSPARENT && own_addr_has(peer))
        return policy_client_here(l->conf, peer, f);
    return policy_client(l->conf, peer, f);
}

static void admit_give_place(struct clients *cs)
{
    atomic_fetch_sub_explicit(cs->total, 1, memory_order_relaxed);
}

/* A place among max_connections. */
static bool admit_take_place(struct clients *cs, struct fault *f)
{
    if (atomic_fetch_add_explicit(cs->total, 1, memory_order_relaxed) < cs->max)
        return true;
    admit_give_place(cs);
    if (cs->max == fds_budget()->clients)
        fault_set(f, FAULT_DESCRIPTORS,
                  "too many client connections: of the %u descriptors of this process "
                  "(RLIMIT_NOFILE) %u may be clients; try again, or %s",
                  fds_budget()->limit, cs->max, FDS_ADVICE);
    else
        fault_set(f, FAULT_LIMIT,
                  "too many client connections (client.max_connections = %u); try again", cs->max);
    f->phrase = "Too many client connections, try again";
    return false;
}

/* A descriptor: one of those that are kept for others only while an idle connection can be given
 * up for it. */
static bool admit_take_descriptor(struct clients *cs, int fd, struct fault *f)
{
    char why[256];
    if (!fds_is_near(fd) || pool_make_room(cs->engine->pool) || !fds_is_kept(fd))
        return true;
    admit_give_place(cs);
    fault_set(f, FAULT_DESCRIPTORS, "no client is taken: %s",
              fds_explain(why, sizeof(why), EMFILE));
    return false;
}

bool admit_client(struct clients *cs, int fd, const struct addr *peer,
                  const struct client_listener *l)
{
    struct fault f;
    bool may_come = admit_may_come(l, peer, &f);
    if (may_come && admit_take_place(cs, &f) && admit_take_descriptor(cs, fd, &f))
        return true;
    counter_add(&cs->engine->stats->turned_away, 1);
    counter_add(&cs->engine->stats->over_limit, may_come);
    if (may_come)
        log_limited(LOG_LEVEL_WARNING, "a client was turned away: %s", f.text);
    else
        log_limited(LOG_LEVEL_WARNING, "a client that may not come was turned away: %s", f.text);
    admit_refuse(cs, fd, l, &f);
    return false;
}
