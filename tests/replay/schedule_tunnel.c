/* SPDX-License-Identifier: Apache-2.0 */
/* A client with a tunnel: what either side sends reaches the other, in its order and as far as
 * nobody has reset; each half ends by itself. */
#include "schedule_impl.h"

#include <string.h>

enum { SOME = 3000, PATTERN = 26, SILENCE_S = 20 };

static const char connect_head[] = "CONNECT a.test:8443 HTTP/1.1\r\nHost: a.test:8443\r\n\r\n";

/* Where nobody has sent for client.tunnel_timeout it has ended, and what was stalled is lost. */
static void look_at_time(struct tunnel *t)
{
    if (t->client == NULL || fake_now - t->last < SILENCE_S * INT64_C(1000000))
        return;
    bool is_stalled = t->client->room != SIZE_MAX;
    if (t->origin != NULL)
        is_stalled = is_stalled || t->origin->room != SIZE_MAX;
    t->up_over = t->down_over = true;
    t->is_reset = t->is_reset || is_stalled;
}

/* The N bytes that come behind the first FROM. */
static void send_pattern(struct fake_sock *to, size_t *from, size_t n)
{
    char bytes[SOME];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)('a' + (*from + i) % PATTERN);
    fake_send(to, bytes, n);
    *from += n;
}

static bool is_pattern(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] != (char)('a' + i % PATTERN))
            return false;
    }
    return true;
}

static void play_end(struct tunnel *t, struct fake_sock *sock, bool is_end)
{
    bool *is_over = sock == t->client ? &t->up_over : &t->down_over;
    *is_over = true;
    t->is_reset = t->is_reset || !is_end;
    if (is_end)
        fake_end(sock);
    else
        fake_reset(sock);
    schedule_say("%s of the tunnel %s\n", sock == t->client ? "client" : "origin",
                 is_end ? "ends" : "resets");
}

static void play_side(struct tunnel *t, struct fake_sock *sock)
{
    bool is_client = sock == t->client;
    if (is_client ? t->up_over : t->down_over)
        return;
    unsigned n = schedule_pick(12);
    if (n < 2) {
        play_end(t, sock, n == 0);
    } else if (n < 4) {
        fake_set_room(sock, n == 2 ? 100 : SIZE_MAX);
        schedule_say("%s of the tunnel %s\n", is_client ? "client" : "origin",
                     n == 2 ? "takes 100" : "takes");
    } else {
        size_t len = 1 + schedule_pick(250) * (SOME / 250 - 1);
        t->last = fake_now;
        send_pattern(sock, is_client ? &t->up : &t->down, len);
        schedule_say("%s of the tunnel sends %zu bytes\n", is_client ? "client" : "origin", len);
    }
}

void schedule_play_tunnel(struct schedule *s)
{
    struct tunnel *t = &s->tunnel;
    if (t->client == NULL) {
        t->last = fake_now;
        t->client = schedule_connect("192.0.2.1:8443");
        if (!s->is_turned)
            fake_send(t->client, connect_head, sizeof(connect_head) - 1);
        schedule_say("client of the tunnel connects, and asks for it\n");
        return;
    }
    look_at_time(t);
    bool is_open = t->origin != NULL && t->origin->state == FAKE_OPEN;
    play_side(t, is_open && schedule_pick(2) == 0 ? t->origin : t->client);
}

/* It opens the tunnel at once or in pieces, with the first bytes behind, or refuses, or ends. */
static void parent_answers(struct schedule *s, struct fake_sock *sock)
{
    static const char open[] = "HTTP/1.1 103 X\r\n\r\nHTTP/1.0 200 X\r\nContent-Length: 9\r\n\r\n";
    static const char refusal[] = "HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\npage";
    struct conn *o = &s->conns[sock->number];
    unsigned n = schedule_pick(8);
    schedule_say("# the parent is asked for the tunnel: %u\n", n);
    o->is_over = n >= 6;
    if (n < 6) {
        fake_send(sock, open, sizeof(open) - 1);
        s->tunnel.origin = sock;
        s->tunnel.down = 0; /* of one that ended before its answer was read nothing is told */
        s->tunnel.down_over = false;
        s->tunnel.last = fake_now;
        if (n == 5)
            send_pattern(sock, &s->tunnel.down, SOME);
    } else if (n == 6) {
        fake_send(sock, refusal, sizeof(refusal) - 1);
        fake_close(sock);
    } else {
        fake_reset(sock);
    }
}

bool schedule_look_at_parent(struct schedule *s, struct fake_sock *sock)
{
    struct conn *o = &s->conns[sock->number];
    struct str got = fake_got(sock);
    if (o->is_asked || !str_starts(got, STR("CONNECT ")))
        return o->is_asked;
    struct message m = message_read(got, false, false);
    if (m.head.len == 0)
        return true;
    o->is_asked = true;
    fake_take(sock, m.head.len);
    if (sock->state == FAKE_OPEN && !o->is_over)
        parent_answers(s, sock);
    return true;
}

void schedule_settle_tunnel(struct schedule *s)
{
    look_at_time(&s->tunnel);
    if (s->tunnel.client != NULL)
        fake_set_room(s->tunnel.client, SIZE_MAX);
    if (s->tunnel.origin != NULL)
        fake_set_room(s->tunnel.origin, SIZE_MAX);
}

const char *schedule_judge_tunnel(const struct schedule *s)
{
    const struct tunnel *t = &s->tunnel;
    if (t->client == NULL)
        return NULL;
    struct str up = t->origin == NULL ? STR("") : fake_got(t->origin);
    struct str down = fake_got(t->client);
    if (!t->client->out_end)
        return "a tunnel is open hours later";
    if (!s->is_turned) {
        struct message m = message_read(down, true, true);
        if (m.status != 200)
            return up.len > 0 ? "a tunnel that is none has carried bytes" : NULL;
        down = str_make(down.p + m.head.len, down.len - m.head.len);
    } else if (up.len + down.len == 0 && (t->client->is_cut || s->is_draining)) {
        return NULL; /* there was none, and it got no word of that */
    }
    if (!is_pattern(up) || !is_pattern(down) || up.len > t->up || down.len > t->down)
        return "a tunnel has changed what it carries";
    if (!t->is_reset && (up.len != t->up || down.len != t->down))
        return "a tunnel has lost bytes";
    return NULL;
}
