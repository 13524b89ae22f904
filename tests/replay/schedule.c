/* SPDX-License-Identifier: Apache-2.0 */
#include "schedule_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    AHEAD = 5,
    PARENT = 6,
    POLITE = 7,
    TURNED = 8, /* behind those that are loaded again */
    CONFS = 9,
    OPTIONS = 6,
    TRACE = 64 << 10,
    DAY = 86400,
    SETTLED = 3 * 3600
};

static struct schedule s;
static char trace[TRACE];
static size_t traced;
static struct conf *confs[CONFS];

/* A drain looks every 20 ms whether all has ended: a tunnel of an hour would be many looks. */
static const char *const options[CONFS][OPTIONS] = {
    {"client.buffer=4k"},
    {"upstream.max_per_host=1", "upstream.queue_timeout=4s", "client.max_pipeline=2"},
    {"upstream.max_per_host=2", "upstream.retries=0", "client.buffer=4k", "client.idle_timeout=5s",
     "dns.ttl_max=0", "dns.stale=3s"},
    {"client.max_connections=2", "client.body_timeout=3s", "upstream.response_timeout=3s",
     "upstream.idle_timeout=1s"},
    {"max_memory=1m", "client.buffer=64k", "client.write_timeout=10s"},
    [AHEAD] = {"rule[*.test].readahead=4", "rule[*.test].max_per_host=6", "readahead_memory=1m",
               "client.buffer=4k"},
    [PARENT] = {"upstream.proxy=http://otto:s3cret@192.0.2.3:3128"},
    [POLITE] = {"rule[*.test].rate=2/s", "rule[*.test].retry_after=on",
                "rule[*.test].max_per_host=3", "rule[*.test].readahead=4", "client.buffer=4k",
                "upstream.queue_timeout=6s"},
    [TURNED] = {"listen=transparent:127.0.0.1:15001", "client.header_timeout=10s"},
};

struct fake_sock *schedule_connect(const char *to)
{
    struct fake_sock *sock = fake_client(s.world.listener, "127.0.0.1");
    if (!addr_parse(&sock->original, str_from(to)))
        abort();
    return sock;
}

void schedule_say(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(trace + traced, TRACE - traced, fmt, args);
    va_end(args);
    if (n > 0 && traced + (size_t)n < TRACE)
        traced += (size_t)n;
}

unsigned schedule_pick(unsigned n)
{
    return s.at < s.n ? s.p[s.at++] % n : 0;
}

const char *schedule_body(unsigned id)
{
    static char *bodies[REQUESTS + AHEAD_MAX];
    if (bodies[id] != NULL)
        return bodies[id];
    char text[16];
    size_t len = (size_t)snprintf(text, sizeof(text), "id=%u;", id);
    bodies[id] = xmalloc(BODY_MAX);
    for (size_t i = 0; i < BODY_MAX; i++)
        bodies[id][i] = text[i % len];
    return bodies[id];
}

/* Text that grows. */
static void add(char **to, size_t *n, const char *p, size_t len)
{
    *to = xrealloc(*to, *n + len + 1);
    memcpy(*to + *n, p, len);
    *n += len;
}

/* ---- clients */

static void send_some(struct side *c, size_t n)
{
    size_t left = c->len - c->sent;
    n = n < left ? n : left;
    fake_send(c->sock, c->unsent + c->sent, n);
    c->sent += n;
    schedule_say("client %u sends %zu bytes of %zu\n", (unsigned)(c - s.sides), n, left);
    s.reqs[c->asked[c->n - 1]].was_sent = c->sent == c->len;
}

static void make_request(struct side *c, unsigned id)
{
    static const char *const methods[METHODS] = {"GET", "HEAD", "PUT", "POST"};
    static const size_t sizes[] = {1, 20, 3000, 40000};
    static const char hosts[][8] = {"a.test", "a.test", "b.test"};
    char head[256];
    struct req *r = &s.reqs[id];
    r->client = (unsigned)(c - s.sides);
    r->method = schedule_pick(METHODS);
    if (s.walks && schedule_pick(4) > 0)
        r->method = M_GET;
    r->body = r->method >= M_PUT ? sizes[schedule_pick(4)] : 0;
    bool is_chunked = r->body > 0 && schedule_pick(3) == 0;
    bool expects = r->body > 0 && schedule_pick(4) == 0;
    const char *host = hosts[s.walks ? 0 : schedule_pick(3)];
    int n = snprintf(head, sizeof(head), "%s http://%s/%u HTTP/1.1\r\nHost: %s\r\n%s",
                     methods[r->method], host, id, host, expects ? "Expect: 100-continue\r\n" : "");
    if (is_chunked)
        n += snprintf(head + n, sizeof(head) - (size_t)n,
                      "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", r->body);
    else if (r->body > 0)
        n += snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %zu\r\n\r\n", r->body);
    else
        n += snprintf(head + n, sizeof(head) - (size_t)n, "\r\n");
    c->sent = c->len = 0;
    add(&c->unsent, &c->len, head, (size_t)n);
    add(&c->unsent, &c->len, schedule_body(id), r->body);
    if (is_chunked)
        add(&c->unsent, &c->len, "\r\n0\r\n\r\n", 7);
    schedule_say("client %u: %s http://%s/%u, %zu bytes%s%s\n", (unsigned)(c - s.sides),
                 methods[r->method], host, id, r->body, is_chunked ? " chunked" : "",
                 expects ? ", expects 100" : "");
}

static void client_asks(struct side *c)
{
    if (c->sent < c->len) {
        send_some(c, schedule_pick(2) == 0 ? SIZE_MAX : 1 + schedule_pick(100));
        return;
    }
    if (c->n == ASKS || s.n_reqs == REQUESTS)
        return;
    c->asked[c->n++] = s.n_reqs;
    make_request(c, s.n_reqs++);
    send_some(c, schedule_pick(4) > 0 ? SIZE_MAX : 1 + schedule_pick(200));
}

static void play_client(struct side *c)
{
    unsigned n = (unsigned)(c - s.sides);
    static const size_t rooms[] = {0, 1, 500};
    if (c->sock == NULL) {
        c->sock = schedule_connect("192.0.2.9:80");
        schedule_say("client %u connects\n", n);
        return;
    }
    if (c->is_over)
        return;
    switch (schedule_pick(12)) {
    case 0:
        c->is_over = true;
        fake_end(c->sock);
        schedule_say("client %u ends\n", n);
        break;
    case 1:
        c->is_over = true;
        fake_reset(c->sock);
        schedule_say("client %u resets\n", n);
        break;
    case 2:
        fake_set_room(c->sock, rooms[schedule_pick(3)]);
        schedule_say("client %u takes %zu\n", n, c->sock->room);
        break;
    case 3:
        fake_set_room(c->sock, SIZE_MAX);
        schedule_say("client %u takes\n", n);
        break;
    default:
        client_asks(c);
    }
}

/* ---- origins */

static void send_rest(struct conn *o, struct fake_sock *sock, size_t n)
{
    size_t left = o->len - o->sent;
    n = n < left ? n : left;
    fake_send(sock, o->unsent + o->sent, n);
    o->sent += n;
    schedule_say("origin %u sends %zu bytes of %zu\n", sock->number, n, left);
    o->is_answered = o->sent == o->len;
    if (!o->is_answered || !o->closes)
        return;
    o->is_over = true;
    fake_close(sock);
    schedule_say("origin %u closes\n", sock->number);
}

static void make_answer(struct conn *o)
{
    static const size_t sizes[] = {1, 30, 5000, 60000};
    static const char *const kinds[] = {"length", "chunked", "until the end", "close", "empty"};
    char head[256];
    unsigned kind = schedule_pick(5);
    size_t size = kind == 4 ? 0 : sizes[schedule_pick(4)];
    struct req *r = &s.reqs[o->id];
    int n = 0;
    int status = kind == 4 ? 204 : s.is_polite && schedule_pick(3) == 0 ? 429 : 200;
    if (schedule_pick(8) == 0)
        n = snprintf(head, sizeof(head), "HTTP/1.1 10%d X\r\n\r\n", schedule_pick(2) == 0 ? 0 : 3);
    n += snprintf(head + n, sizeof(head) - (size_t)n, "HTTP/1.1 %d X\r\nX-Id: %u\r\n", status,
                  o->id);
    if (status == 429)
        n += snprintf(head + n, sizeof(head) - (size_t)n, "Retry-After: %u\r\n", schedule_pick(5));
    if (kind == 1)
        n += snprintf(head + n, sizeof(head) - (size_t)n, "Transfer-Encoding: chunked\r\n");
    else if (kind == 0 || kind == 3)
        n += snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %zu\r\n%s", size,
                      kind == 3 ? "Connection: close\r\n" : "");
    o->closes = kind == 2 || kind == 3;
    o->until_end = kind == 2;
    r->is_any = r->is_ahead && r->answer > 0; /* which of several is told is left open */
    r->answer = size;
    bool is_bare = r->method == M_HEAD && !o->is_ahead;
    if (kind == 1 && !is_bare)
        n += snprintf(head + n, sizeof(head) - (size_t)n, "\r\n%zx\r\n", size);
    else
        n += snprintf(head + n, sizeof(head) - (size_t)n, "\r\n");
    o->sent = o->len = 0;
    add(&o->unsent, &o->len, head, (size_t)n);
    add(&o->unsent, &o->len, schedule_body(o->id), is_bare ? 0 : size);
    if (kind == 1 && !is_bare)
        add(&o->unsent, &o->len, "\r\n0\r\n\r\n", 7);
    schedule_say("# an answer to %u of %zu bytes, %s\n", o->id, size, kinds[kind]);
}

static void origin_answers(struct conn *o, struct fake_sock *sock)
{
    if (o->sent < o->len) {
        send_rest(o, sock, schedule_pick(2) == 0 ? SIZE_MAX : 1 + schedule_pick(200));
        return;
    }
    if (!o->has_head || o->is_answered)
        return;
    make_answer(o);
    send_rest(o, sock, schedule_pick(3) > 0 ? SIZE_MAX : 1 + schedule_pick(200));
}

static void origin_strays(struct fake_sock *sock)
{
    static const char stray[] = "HTTP/1.1 200 X\r\nX-Id: 999\r\nContent-Length: 5\r\n\r\nstray";
    fake_send(sock, stray, sizeof(stray) - 1);
    schedule_say("origin %u sends what nobody has asked for\n", sock->number);
}

static void play_origin(unsigned number)
{
    struct fake_sock *sock = fake_dial(number);
    struct conn *o = &s.conns[number];
    bool is_tunnel = sock == s.tunnel.origin;
    if (sock->state == FAKE_DIALS) {
        bool is_kind = schedule_pick(3) > 0;
        schedule_say("origin %u %s\n", number, is_kind ? "accepts" : "refuses");
        if (is_kind)
            fake_accept(sock);
        else
            fake_refuse(sock, ECONNREFUSED);
    }
    if (sock->state != FAKE_OPEN || o->is_over || is_tunnel)
        return;
    switch (schedule_pick(12)) {
    case 0:
        o->is_over = true;
        if (o->has_head && o->until_end && o->sent > 0)
            s.reqs[o->id].is_any = true;
        fake_close(sock);
        schedule_say("origin %u closes\n", number);
        break;
    case 1:
        o->is_over = true;
        fake_reset(sock);
        schedule_say("origin %u resets\n", number);
        break;
    case 2:
        fake_set_room(sock, schedule_pick(2) == 0 ? 10 : SIZE_MAX);
        schedule_say(sock->room == 10 ? "origin %u takes 10\n" : "origin %u takes\n", number);
        break;
    case 3:
        if (!o->has_head && fake_got(sock).len == 0 && o->is_used)
            origin_strays(sock);
        break;
    default:
        origin_answers(o, sock);
    }
}

static void on_dial(struct fake_sock *sock)
{
    if (addr_port(&sock->peer) == TUNNEL_PORT)
        s.tunnel.origin = sock;
    static const char *const how[] = {"accepts", "waits", "refuses"};
    unsigned n = schedule_pick(8);
    n = n < 6 ? 0 : n - 5;
    schedule_say("# dial %u: %s\n", sock->number, how[n]);
    if (n == 0)
        fake_accept(sock);
    else if (n == 2)
        fake_refuse(sock, ECONNREFUSED);
    if (sock->number > DIALS)
        s.fault = "connections are made without end";
}

/* ---- the clock, and the rest */

static void play_time(void)
{
    static const int times[] = {1, 10, 60, 250, 1000, 4000, 30000, 70000};
    int ms = times[schedule_pick(8)];
    s.until = fake_now + ms * INT64_C(1000);
    schedule_say("wait %dms\n", ms);
}

static void play_rare(void)
{
    static const char *const answers[] = {"192.0.2.2", "waits", "fails"};
    unsigned n = schedule_pick(12);
    if (n == 0 && !s.is_draining) {
        s.is_draining = true;
        schedule_say("drain 1s\n");
        worker_drain(s.world.worker, 1000);
    } else if (n < 4 && !s.is_draining) {
        unsigned k = s.is_turned ? TURNED : schedule_pick(TURNED);
        schedule_say("reload %u\n", k);
        s.walks = k == AHEAD || k == POLITE;
        s.is_polite = k == POLITE;
        world_reload(&s.world, conf_ref(confs[k]));
    } else {
        const char *answer = answers[schedule_pick(3)];
        schedule_say("dns b.test %s\n", answer);
        fake_name("b.test", answer);
    }
}

/* True when the next action is to come in the same turn. */
static bool play_one(void)
{
    unsigned n = schedule_pick(17);
    bool is_joined = schedule_pick(3) == 0;
    if (n < 7)
        play_client(&s.sides[schedule_pick(CLIENTS)]);
    else if (n < 13 && fake_dials > 0)
        play_origin(1 + schedule_pick(fake_dials));
    else if (n < 14)
        schedule_play_tunnel(&s);
    else if (n < 16)
        play_time();
    else
        play_rare();
    return is_joined && s.until == 0;
}

/* Everybody takes what there is; nobody says more. */
static void begin_settling(void)
{
    s.has_ended = true;
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (s.sides[i].sock != NULL)
            fake_set_room(s.sides[i].sock, SIZE_MAX);
    }
    schedule_settle_tunnel(&s);
    fake_on_dial = NULL;
    s.until = fake_now + SETTLED * INT64_C(1000000);
}

static void idle(void)
{
    s.fault = s.fault == NULL ? fake_fault : s.fault;
    world_serve(&s.world);
    if (s.is_settled || s.fault != NULL) {
        if (s.fault != NULL || s.is_draining || schedule_probe(&s))
            worker_stop(s.world.worker);
        return;
    }
    schedule_look(&s);
    if (s.until != 0) {
        if (world_pass(&s.world, s.until))
            return;
        s.until = 0;
        s.is_settled = s.has_ended;
        if (s.is_settled)
            schedule_judge(&s);
        return;
    }
    while (s.at < s.n && play_one())
        continue;
    if (s.at >= s.n && s.until == 0)
        begin_settling();
}

static void load_confs(void)
{
    for (unsigned i = 0; i < CONFS && confs[i] == NULL; i++) {
        const char *all[OPTIONS + 1] = {"client.tunnel_timeout=20s"};
        unsigned n = 1;
        char *why;
        for (; n <= OPTIONS && options[i][n - 1] != NULL; n++)
            all[n] = options[i][n - 1];
        confs[i] = world_conf(all, n, false, &why);
        if (confs[i] == NULL) {
            fputs(why, stderr);
            exit(1);
        }
    }
}

const char *schedule_play(const uint8_t *p, size_t n)
{
    load_confs();
    memset(&s, 0, sizeof(s));
    s.p = p;
    s.n = n;
    traced = 0;
    trace[0] = '\0';
    fake_now += DAY * INT64_C(1000000);
    unsigned k = schedule_pick(CONFS);
    schedule_say("# configuration %u\n", k);
    s.walks = k == AHEAD || k == POLITE;
    s.is_polite = k == POLITE;
    s.is_turned = k == TURNED;
    world_open(&s.world, conf_ref(confs[k]), idle);
    fake_on_dial = on_dial;
    fake_name("a.test", "192.0.2.1");
    fake_name("b.test", schedule_pick(2) == 0 ? "192.0.2.2" : "waits");
    world_run(&s.world);
    const char *left = world_close(&s.world);
    for (unsigned i = 0; i < CLIENTS; i++)
        free(s.sides[i].unsent);
    for (unsigned i = 0; i <= DIALS; i++)
        free(s.conns[i].unsent);
    return s.fault == NULL ? left : s.fault;
}

void schedule_print(FILE *to)
{
    fputs(trace, to);
}

void schedule_clear(void)
{
    for (unsigned i = 0; i < CONFS; i++)
        conf_unref(&confs[i]);
}
