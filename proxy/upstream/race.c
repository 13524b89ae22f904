/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/race.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/outgoing.h"
#include "net/sock.h"
#include "upstream/outage.h"

enum {
    ATTEMPT_DELAY = 250,    /* ms, section 5 */
    ATTEMPT_DELAY_MIN = 10, /* ms, the same */
    ATTEMPTS_MAX = 40       /* at once */
};

/* A TCP connection being made. Owner: its race. */
struct attempt {
    struct list link;
    struct race *race;
    struct event event;
    struct addr addr;
    struct reap reap;
    int fd;
};

static void race_next(struct race *r);

/* ---- faults */

unsigned race_weight(enum fault_code code)
{
    switch (code) {
    case FAULT_NONE:
        return 0;
    case FAULT_DNS:
        return 1;
    case FAULT_DNS_TIMEOUT:
        return 2;
    case FAULT_UNROUTABLE:
        return 3;
    case FAULT_CONNECT_TIMEOUT:
        return 4;
    case FAULT_REFUSED:
        return 5;
    case FAULT_ADDRESS_DENIED: /* the operator's own word, though another address was tried */
        return 6;
    default:
        return 7;
    }
}

void race_note(struct race *r, const struct fault *f)
{
    r->has_passing = r->has_passing || f->code == FAULT_REFUSED || f->code == FAULT_UP_CLOSED;
    if (race_weight(f->code) >= race_weight(r->fault.code))
        r->fault = *f;
}

/* ---- attempts */

static void attempt_free(void *object)
{
    xfree(object);
}

static void attempt_close(struct attempt *a)
{
    list_remove(&a->link);
    a->race->n_attempts--;
    event_del(&a->event);
    if (a->fd >= 0)
        close(a->fd);
    loop_reap(a->race->loop, &a->reap, attempt_free, a);
}

static void close_attempts(struct race *r)
{
    struct list *it;
    while ((it = list_first(&r->attempts)) != NULL)
        attempt_close(container_of(it, struct attempt, link));
}

static void on_attempt(evutil_socket_t fd, short what, void *arg)
{
    struct attempt *a = arg;
    struct race *r = a->race;
    (void)what;
    int err = sock_connect_result(fd);
    if (err != 0) {
        struct fault f;
        sock_fault(&f, err, &a->addr);
        race_note(r, &f);
        attempt_close(a);
        race_next(r);
        return;
    }
    a->fd = -1;
    r->peer = a->addr;
    close_attempts(r);
    deadline_clear(&r->step);
    r->on_end(r->arg, fd);
}

/* Starts connecting to ADDR; false when it may not or cannot be tried, r->fault says why. */
static bool attempt_start(struct race *r, const struct addr *addr)
{
    struct fault f;
    const struct upstream_conf *u = &r->conf->upstream;
    if (!policy_address(r->conf, addr, r->who, &f)) {
        race_note(r, &f);
        return false;
    }
    int fd = sock_connect(addr, addr_family(addr) == AF_INET ? &u->bind4 : &u->bind6);
    if (fd < 0) {
        sock_fault(&f, errno, addr);
        race_note(r, &f);
        return false;
    }
    outgoing_note(fd, addr);
    if (r->n_attempts == ATTEMPTS_MAX)
        attempt_close(container_of(list_first(&r->attempts), struct attempt, link));
    r->peer = *addr;
    r->n_attempts++;
    struct attempt *a = xcalloc(1, sizeof(*a));
    a->race = r;
    a->fd = fd;
    a->addr = *addr;
    event_assign(&a->event, r->loop->base, fd, EV_WRITE, on_attempt, a);
    event_add(&a->event, NULL);
    list_push_back(&r->attempts, &a->link);
    return true;
}

/* ---- turns */

/* How long an attempt is alone (ms): all addresses have their turn in the first half of the time
 * that there is, however many they are. */
static int64_t attempt_delay(const struct race *r)
{
    int64_t whole = r->conf->upstream.connect_timeout;
    unsigned n = r->families[0].n + r->families[1].n;
    int64_t share = n > 0 ? whole / 2 / n : ATTEMPT_DELAY;
    if (whole == 0 || share > ATTEMPT_DELAY)
        return ATTEMPT_DELAY;
    return share > ATTEMPT_DELAY_MIN ? share : ATTEMPT_DELAY_MIN;
}

/* The next address, families taking turns; NULL when there is none now. */
static const struct addr *next_addr(struct race *r)
{
    if (r->is_again) {
        r->is_again = false;
        return &r->peer;
    }
    for (int i = 0; i < 2; i++) {
        struct race_family *f = &r->families[r->turn];
        r->turn = 1 - r->turn;
        if (f->next < f->n)
            return &f->addrs[f->next++];
    }
    return NULL;
}

/* All addresses have failed. True when they are to be tried again in a moment. */
static bool race_rest(struct race *r)
{
    bool is_cut = r->fault.code == FAULT_UP_CLOSED;
    if (!r->has_passing || (is_cut && r->was_cut))
        return false;
    int64_t ms = outage_wait(str_from(r->name), r->name_port, &r->refused);
    if (ms == 0)
        return false;
    r->was_cut = is_cut;
    r->has_passing = false;
    r->is_resting = true;
    r->families[0].next = 0;
    r->families[1].next = 0;
    deadline_set(&r->step, ms);
    return true;
}

/* Tries the next address; waits when there is none but something is under way; else it is over. */
static void race_next(struct race *r)
{
    const struct addr *a;
    if (r->is_resting)
        return;
    while ((a = next_addr(r)) != NULL) {
        if (!attempt_start(r, a))
            continue;
        deadline_set(&r->step, attempt_delay(r));
        return;
    }
    if (list_is_empty(&r->attempts) && !r->has_more && !race_rest(r))
        r->on_end(r->arg, -1);
}

static void on_step(void *arg)
{
    struct race *r = arg;
    r->is_resting = false;
    race_next(r);
}

/* ---- the owner's */

void race_init(struct race *r)
{
    list_init(&r->attempts);
    deadline_init(&r->step, r->loop, on_step, r);
}

void race_close(struct race *r)
{
    close_attempts(r);
    deadline_close(&r->step);
    for (int i = 0; i < 2; i++) {
        free(r->families[i].addrs);
        r->families[i] = (struct race_family){0};
    }
}

void race_add(struct race *r, const struct addr *addrs, unsigned n)
{
    if (n == 0)
        return;
    struct race_family *f = &r->families[addr_family(addrs) == AF_INET6 ? 0 : 1];
    f->addrs = xrealloc(f->addrs, (f->n + n) * sizeof(*addrs));
    for (unsigned i = 0; i < n; i++) {
        f->addrs[f->n] = addrs[i];
        addr_set_port(&f->addrs[f->n++], r->port);
    }
}

/* With attempts under way, the next one has its time. */
void race_go(struct race *r)
{
    if (list_is_empty(&r->attempts) || !deadline_is_set(&r->step))
        race_next(r);
}

void race_again(struct race *r)
{
    r->is_again = true;
}
