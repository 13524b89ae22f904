/* SPDX-License-Identifier: Apache-2.0 */
/* client/: somebody closes somebody inside each callback that an exchange makes: a table of
 * callbacks and victims, for the address sanitizer to look at. */
#include "net/tls_mint.h"
#include "rig_fixture.h"

/* ---- every callback times every victim */

enum callback {
    ON_INFO,
    ON_HEAD,
    ON_BODY,
    ON_END,
    ON_CUT,
    ON_TUNNEL,
    ON_PLAIN,
    ON_TLS,
    ON_DRAIN,
    CALLBACKS
};
enum victim { CLOSE_CLIENT, CLOSE_ALL, CLOSE_REQUEST, CLOSE_NEXT, REFUSE, VICTIMS };

static struct {
    enum callback at;
    enum victim victim;
    bool before; /* the real callback comes behind the blow, not before it */
    bool fired;
} trap;

static void strike(struct exchange *x)
{
    struct client *c = container_of(x, struct request, x)->c;
    struct fault f;
    trap.fired = true;
    switch (trap.victim) {
    case CLOSE_CLIENT:
        client_close(c);
        break;
    case CLOSE_ALL:
        clients_close(&rig.clients);
        break;
    case CLOSE_REQUEST:
        exchange_close(x, FAULT_CLIENT_GONE);
        client_close(c);
        break;
    case CLOSE_NEXT:
        if (c->order.n > 1)
            request_close(container_of(c->order.items.prev, struct request, item.link),
                          FAULT_CLIENT_GONE);
        client_close(c);
        break;
    default:
        fault_set(&f, FAULT_BAD_REQUEST, "refused in a callback");
        exchange_refuse(x, &f);
        client_run(c);
        break;
    }
}

#define TRAP(which, call)                                       \
    do {                                                        \
        bool hit = trap.at == (which) && !trap.fired;           \
        if (hit && trap.before)                                 \
            strike(x);                                          \
        if (!(hit && trap.before))                              \
            client_source.call;                                 \
        if (hit && !trap.before && x->state != EXCHANGE_CLOSED) \
            strike(x);                                          \
        trap.fired = trap.fired || hit;                         \
    } while (0)

static void trap_info(struct exchange *x, struct h1_head *head)
{
    TRAP(ON_INFO, on_info(x, head));
}
static void trap_head(struct exchange *x, struct h1_head *head, enum h1_framing framing, uint64_t n)
{
    TRAP(ON_HEAD, on_head(x, head, framing, n));
}
static void trap_body(struct exchange *x, const char *bytes, size_t n)
{
    TRAP(ON_BODY, on_body(x, bytes, n));
}
static void trap_end(struct exchange *x, const struct fields *trailers)
{
    TRAP(ON_END, on_end(x, trailers));
}
static void trap_cut(struct exchange *x)
{
    TRAP(ON_CUT, on_cut(x));
}
static void trap_plain(struct exchange *x)
{
    TRAP(ON_PLAIN, on_connect_plain(x));
}
static void trap_tls(struct exchange *x)
{
    TRAP(ON_TLS, on_connect_tls(x));
}
static void trap_drain(struct exchange *x)
{
    TRAP(ON_DRAIN, on_drain(x));
}

static struct stream *trap_tunnel(struct exchange *x, struct h1_head *head)
{
    struct stream *given = NULL;
    bool hit = trap.at == ON_TUNNEL;
    if (hit && trap.before)
        strike(x);
    else
        given = client_source.on_tunnel(x, head);
    if (hit && !trap.before)
        strike(x);
    trap.fired = true;
    return given;
}

static const struct source_ops trapped = {
    .on_info = trap_info,
    .on_head = trap_head,
    .on_body = trap_body,
    .on_end = trap_end,
    .on_cut = trap_cut,
    .on_tunnel = trap_tunnel,
    .on_connect_plain = trap_plain,
    .on_connect_tls = trap_tls,
    .on_drain = trap_drain,
};

/* All requests of the client that have not ended meet the trap. */
static void set_trap(struct source_ops *ops)
{
    *ops = trapped;
    ops->release = client_source.release;
    struct client *c = rig_client(&rig);
    list_foreach (it, &c->order.items)
        container_of(it, struct request, item.link)->x.source = ops;
}

static const struct path {
    const char *request; /* of the client; a GET pipelined behind where that makes sense */
    const char *answer;  /* of the origin, to its first connection */
    bool cut;            /* then it closes */
} paths[CALLBACKS] = {
    [ON_INFO] =
        {"GET http://%P/a HTTP/1.1\r\nHost: h\r\n\r\nGET http://%P/b HTTP/1.1\r\nHost: h\r\n\r\n",
         "HTTP/1.1 100 Continue\r\n\r\n", false},
    [ON_HEAD] =
        {"GET http://%P/a HTTP/1.1\r\nHost: h\r\n\r\nGET http://%P/b HTTP/1.1\r\nHost: h\r\n\r\n",
         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false},
    [ON_BODY] =
        {"GET http://%P/a HTTP/1.1\r\nHost: h\r\n\r\nGET http://%P/b HTTP/1.1\r\nHost: h\r\n\r\n",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n2\r\nok\r\n0\r\n\r\n",
         false},
    [ON_END] =
        {"GET http://%P/a HTTP/1.1\r\nHost: h\r\n\r\nGET http://%P/b HTTP/1.1\r\nHost: h\r\n\r\n",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
         false},
    [ON_CUT] =
        {"GET http://%P/a HTTP/1.1\r\nHost: h\r\n\r\nGET http://%P/b HTTP/1.1\r\nHost: h\r\n\r\n",
         "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", true},
    [ON_TUNNEL] = {"GET http://%P/a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: "
                   "websocket\r\n\r\n",
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                   "upgrade\r\n\r\nhello",
                   false},
    [ON_PLAIN] = {"GET http://%P/a HTTP/1.1\r\nHost: h\r\n\r\nCONNECT h.test:80 HTTP/1.1\r\nHost: "
                  "h\r\n\r\n",
                  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false},
    [ON_TLS] = {"GET http://%P/a HTTP/1.1\r\nHost: h\r\n\r\nCONNECT h.test:443 HTTP/1.1\r\nHost: "
                "h\r\n\r\n\x16\x03\x01",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false},
    [ON_DRAIN] = {"POST http://%P/a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n", NULL, false},
};

static void check_trap(enum callback at, enum victim victim, bool before)
{
    static struct source_ops ops;
    const struct path *path = &paths[at];
    memset(&trap, 0, sizeof(trap));
    trap.at = at;
    trap.victim = victim;
    trap.before = before;
    int client = rig_connect(&rig);
    rig_send(&rig, client, path->request);
    set_trap(&ops);
    int origin = rig_accept(&rig, "\r\n\r\n");
    struct exchange *x =
        &container_of(order_first(&rig_client(&rig)->order), struct request, item)->x;
    if (path->answer != NULL)
        fixture_write(origin, path->answer);
    else
        x->us->events->on_drain(x);
    if (path->cut)
        shutdown(origin, SHUT_WR);
    int64_t end = loop_now() + 5000000;
    while (!trap.fired && loop_now() < end)
        loop_turn(&rig.f.loop, false);
    if (!trap.fired)
        fail_msg("callback %d did not come", (int)at);
    fixture_settle(&rig.f);
    close(client);
    fixture_settle(&rig.f);
    clients_close(&rig.clients);
    rig_check_empty(&rig);
    close(origin);
    /* Dials that nobody waits for any more may have left connections in the backlog. */
    int left;
    fixture_settle(&rig.f);
    while ((left = accept(rig.origin, NULL, NULL)) >= 0)
        close(left);
    fixture_settle(&rig.f);
}

static void close_in_every_callback(void **state)
{
    (void)state;
    for (unsigned at = 0; at < CALLBACKS; at++) {
        for (unsigned victim = 0; victim < VICTIMS; victim++) {
            check_trap((enum callback)at, (enum victim)victim, false);
            if (victim != REFUSE)
                check_trap((enum callback)at, (enum victim)victim, true);
        }
    }
}

static int set_up_mint(void **state)
{
    char *why = NULL;
    set_up(state);
    rig.conf->intercept.mint = tls_mint_new(tls_ca_make(NULL, 0, 1, &why), 0x0301);
    rig.conf->rules[0].intercept = true;
    return 0;
}

static int tear_down_mint(void **state)
{
    struct tls_mint *mint = rig.conf->intercept.mint;
    tear_down(state);
    tls_mint_unref(mint);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(close_in_every_callback, set_up_mint, tear_down_mint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
