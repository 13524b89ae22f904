/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a script and plays it, line by line: README.md has the language. A line is acted on when
 * the worker has nothing left to do of what came before. */
#include "script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "peer_tls.h"
#include "world.h"

enum {
    LINES = 2000,
    OPTIONS = 32,
    PEERS = 64,
    PLACES = 16,
    WORDS = 4,
    LINE_MAX_LEN = 4096,
    TEXT_MAX = 8 << 20,
    SETTLED = 7200 /* s after the script in which all must have ended */
};

static const char *path;
static char *lines[LINES];
static unsigned n_lines, at, line_no; /* `at` is the next one */
static const char *options[OPTIONS];
static unsigned n_options;
static bool has_tls;
static struct world world;
static struct fake_sock *clients[PEERS];
static struct {
    char addr[ADDR_TEXT];
    char how[16];
} places[PLACES];
static unsigned n_places;
static int64_t until; /* `wait` runs to it; 0: none runs */
static enum { PLAYING, CLOSING, STOPPING } phase;

static void fail(const char *what, struct str got)
{
    fprintf(stderr, "%s:%u: %s\n  %s\n", path, line_no, lines[line_no - 1], what);
    if (got.p != NULL)
        fprintf(stderr, "  what has come (%zu bytes):\n%.*s\n", got.len,
                (int)(got.len < 4000 ? got.len : 4000), got.p);
    exit(1);
}

static void fail_plain(const char *what)
{
    fail(what, (struct str){0});
}

/* ---- the language */

/* The next word of *REST, terminated in place. "" at the end. */
static char *word(char **rest)
{
    char *p = *rest + strspn(*rest, " ");
    char *end = p + strcspn(p, " ");
    *rest = *end == '\0' ? end : end + 1;
    *end = '\0';
    return p;
}

static int64_t duration(const char *text)
{
    char *unit;
    double n = strtod(text, &unit);
    static const struct {
        const char *unit;
        double us;
    } units[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 60e6}, {"h", 3600e6}};
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (strcmp(unit, units[i].unit) == 0)
            return (int64_t)(n * units[i].us + 0.5);
    }
    fail_plain("this is no duration: 10ms, 2s");
    return 0;
}

/* `\{N TEXT}`: that often. */
static const char *repeat(const char *p, char *to, size_t *n)
{
    const char *text = strchr(p, ' '), *end = strchr(p, '}');
    unsigned long times = strtoul(p, NULL, 10);
    if (end == NULL || text == NULL || text++ > end)
        fail_plain("\\{N TEXT} is TEXT N times");
    for (size_t len = (size_t)(end - text); times > 0 && *n + len < TEXT_MAX; times--) {
        memcpy(to + *n, text, len);
        *n += len;
    }
    return end + 1;
}

static void add_issuer(bool is_forged, char *to, size_t *n)
{
    struct str der = peer_tls_issuer(is_forged);
    memcpy(to + *n, der.p, der.len);
    *n += der.len;
}

/* Appends what P means. */
static void unescape(const char *p, char *to, size_t *n)
{
    while (*p != '\0') {
        if (*p != '\\') {
            to[(*n)++] = *p++;
            continue;
        }
        char hex[3] = {0};
        switch (p[1]) {
        case 'r':
            to[(*n)++] = '\r';
            break;
        case 'n':
            to[(*n)++] = '\n';
            break;
        case 'x':
            memcpy(hex, p + 2, 2);
            to[(*n)++] = (char)strtoul(hex, NULL, 16);
            p += 2;
            break;
        case 'i':
        case 'f':
            add_issuer(p[1] == 'f', to, n);
            break;
        case '{':
            p = repeat(p + 2, to, n) - 2;
            break;
        default:
            to[(*n)++] = p[1];
        }
        p += 2;
    }
}

/* What follows the verb: the rest of the line, or the lines below that begin with '|', each with a
 * line end of HTTP unless it ends in a backslash. Valid until the next call. */
static struct str text_of(char *rest)
{
    static char *text;
    size_t n = 0;
    text = text == NULL ? xmalloc(TEXT_MAX) : text;
    unescape(rest, text, &n);
    while (*rest == '\0' && at < n_lines && lines[at][0] == '|') {
        char *line = lines[at++] + 1;
        line += *line == ' ';
        size_t len = strlen(line);
        bool goes_on = len > 0 && line[len - 1] == '\\';
        if (goes_on)
            line[len - 1] = '\0';
        unescape(line, text, &n);
        if (!goes_on) {
            memcpy(text + n, "\r\n", 2);
            n += 2;
        }
    }
    text[n] = '\0';
    return str_make(text, n);
}

/* GOT is all of WANT, in which "..." stands for any bytes. */
static bool matches(struct str got, struct str want)
{
    bool is_first = true;
    for (;;) {
        char *dots = memmem(want.p, want.len, "...", 3);
        struct str part = str_make(want.p, dots == NULL ? want.len : (size_t)(dots - want.p));
        if (is_first && (got.len < part.len || memcmp(got.p, part.p, part.len) != 0))
            return false;
        if (dots == NULL && !is_first)
            return got.len >= part.len && memcmp(got.p + got.len - part.len, part.p, part.len) == 0;
        if (dots == NULL)
            return got.len == part.len;
        const char *found = part.len == 0 ? got.p : memmem(got.p, got.len, part.p, part.len);
        if (found == NULL)
            return false;
        size_t skip = (size_t)(found - got.p) + part.len;
        got = str_make(got.p + skip, got.len - skip);
        want = str_make(want.p + part.len + 3, want.len - part.len - 3);
        is_first = false;
    }
}

/* ---- what both sides do and are held to */

static void check_text(struct peer *p, struct str want)
{
    struct str got = peer_got(p);
    if (!matches(got, want))
        fail("something else has come", got);
    peer_take(p, got.len);
}

static void check_quiet(struct peer *p)
{
    struct str got = peer_got(p);
    if (got.len > 0 || p->sock->out_end)
        fail(got.len > 0 ? "something has come" : "it was closed", got);
}

static void check_closed(struct peer *p, bool is_cut)
{
    struct str got = peer_got(p);
    if (got.len > 0)
        fail("something has come before", got);
    if (!p->sock->out_end)
        fail_plain("it is open");
    if ((p->sock->is_cut || !peer_is_whole(p)) != is_cut)
        fail_plain(is_cut ? "its end was in good order" : "it was reset");
}

/* What either side may do or be. True when VERB is one of these. */
static bool play_common(struct peer *p, const char *verb, char *rest)
{
    if (strcmp(verb, "sends") == 0) {
        struct str text = text_of(rest);
        peer_send(p, text.p, text.len);
    } else if (strcmp(verb, "gets") == 0) {
        check_text(p, text_of(rest));
    } else if (strcmp(verb, "hears") == 0) {
        check_quiet(p);
    } else if (strcmp(verb, "ends") == 0) {
        peer_end(p);
    } else if (strcmp(verb, "closes") == 0) {
        fake_close(p->sock);
    } else if (strcmp(verb, "resets") == 0) {
        fake_reset(p->sock);
    } else if (strcmp(verb, "closed") == 0) {
        check_closed(p, false);
    } else if (strcmp(verb, "cut") == 0) {
        check_closed(p, true);
    } else if (strcmp(verb, "stalls") == 0) {
        fake_set_room(p->sock, 0);
    } else if (strcmp(verb, "takes") == 0) {
        fake_set_room(p->sock, *rest == '\0' ? SIZE_MAX : strtoul(rest, NULL, 10));
    } else {
        return false;
    }
    return true;
}

/* ---- clients */

/* METHOD URL [BODY] */
static void client_asks(struct peer *p, char *rest)
{
    char text[4096];
    const char *method = word(&rest);
    const char *url = word(&rest);
    const char *host = strstr(url, "://") == NULL ? url : strstr(url, "://") + 3;
    int n = snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: %.*s\r\n", method, url,
                     (int)strcspn(host, "/"), host);
    struct str body = text_of(rest);
    if (body.len > 0)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "Content-Length: %zu\r\n", body.len);
    n += snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
    peer_send(p, text, (size_t)n);
    peer_send(p, body.p, body.len);
}

static void check_body(const struct message *m, struct str want, struct str got)
{
    char *plain = xmalloc(m->body.len + 1);
    struct str body = m->body;
    if (m->is_chunked)
        body = str_make(plain, message_unchunk(m->body, plain));
    if (!matches(body, want))
        fail("its body is another one", got);
    free(plain);
}

/* STATUS [BODY] */
static void client_got(struct peer *p, char *rest)
{
    long status = strtol(word(&rest), NULL, 10);
    bool is_any = *rest == '\0' && !(at < n_lines && lines[at][0] == '|');
    struct str got = peer_got(p);
    struct message m = message_read(got, false, p->sock->out_end);
    if (!m.is_whole)
        fail(m.head.len == 0 ? "no answer has come" : "the answer is not whole", got);
    if (m.status != status)
        fail("another answer has come", got);
    if (!is_any)
        check_body(&m, text_of(rest), got);
    peer_take(p, m.len);
}

/* [ADDR] [to ADDR:PORT] */
static struct fake_sock *client_connects(char *rest)
{
    const char *from = word(&rest);
    struct addr original = {.len = 0};
    bool is_turned = strcmp(from, "to") == 0;
    if (is_turned || *from == '\0')
        from = "127.0.0.1";
    is_turned = is_turned || strcmp(word(&rest), "to") == 0;
    if (is_turned && !addr_parse(&original, str_from(word(&rest))))
        fail_plain("a client connects FROM to ADDR:PORT");
    struct fake_sock *s = fake_client(world.listener, from);
    s->original = original;
    return s;
}

static void play_client(char *rest)
{
    unsigned long n = strtoul(word(&rest), NULL, 10);
    const char *verb = word(&rest);
    if (n >= PEERS)
        fail_plain("there are not that many clients");
    if (strcmp(verb, "connects") == 0) {
        clients[n] = client_connects(rest);
        return;
    }
    if (clients[n] == NULL)
        fail_plain("that client has not connected");
    struct peer *p = peer_of(clients[n]);
    if (strcmp(verb, "asks") == 0)
        client_asks(p, rest);
    else if (strcmp(verb, "got") == 0)
        client_got(p, rest);
    else if (strcmp(verb, "shakes") == 0)
        peer_shake(p, *rest == '\0' ? SIZE_MAX : strtoul(rest, NULL, 10));
    else if (!play_common(p, verb, rest))
        fail_plain("a client does no such thing");
}

/* ---- origins */

/* METHOD PATH [BODY] */
static void origin_asked(struct peer *p, char *rest)
{
    char want[2048];
    const char *method = word(&rest);
    int n = snprintf(want, sizeof(want), "%s %s ", method, word(&rest));
    struct str got = peer_got(p);
    struct message m = message_read(got, false, false);
    if (!m.is_whole)
        fail(m.head.len == 0 ? "no request has come" : "the request is not whole", got);
    if (m.start.len < (size_t)n || memcmp(m.start.p, want, (size_t)n) != 0)
        fail("another request has come", got);
    check_body(&m, text_of(rest), got);
    peer_take(p, m.len);
}

/* STATUS [BODY] */
static void origin_answers(struct peer *p, char *rest)
{
    char head[128];
    long status = strtol(word(&rest), NULL, 10);
    struct str body = text_of(rest);
    int n = snprintf(head, sizeof(head), "HTTP/1.1 %ld X\r\nContent-Length: %zu\r\n\r\n", status,
                     body.len);
    char *all = xmalloc((size_t)n + body.len);
    memcpy(all, head, (size_t)n);
    memcpy(all + n, body.p, body.len);
    peer_send(p, all, (size_t)n + body.len);
    free(all);
}

/* A parent: who is behind it speaks TLS. */
static void origin_tunnels(struct peer *p)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\n\r\n";
    peer_send(p, ok, sizeof(ok) - 1);
    peer_secure(p, false);
}

static void play_origin(char *rest)
{
    struct fake_sock *s = fake_dial((unsigned)strtoul(word(&rest), NULL, 10));
    const char *verb = word(&rest);
    if (s == NULL)
        fail_plain("there were not that many dials");
    struct peer *p = peer_of(s);
    if (strcmp(verb, "accepts") == 0)
        fake_accept(s);
    else if (strcmp(verb, "refuses") == 0)
        fake_refuse(s, ECONNREFUSED);
    else if (strcmp(verb, "asked") == 0)
        origin_asked(p, rest);
    else if (strcmp(verb, "answers") == 0)
        origin_answers(p, rest);
    else if (strcmp(verb, "tunnels") == 0)
        origin_tunnels(p);
    else if (!play_common(p, verb, rest) && !peer_plays(p, verb, text_of(rest).p))
        fail_plain("an origin does no such thing, or not now");
}

/* What an address does; origins accept where nothing is said. */
static void on_dial(struct fake_sock *s)
{
    char text[ADDR_TEXT];
    const char *how = "accepts";
    addr_print(&s->peer, text);
    for (unsigned i = 0; i < n_places; i++) {
        if (strcmp(places[i].addr, text) == 0)
            how = places[i].how;
    }
    if (strcmp(how, "refuses") == 0)
        fake_refuse(s, ECONNREFUSED);
    else if (strcmp(how, "unreachable") == 0)
        fake_refuse(s, EHOSTUNREACH);
    else if (strcmp(how, "waits") != 0)
        fake_accept(s);
    if (strcmp(how, "tls") == 0 || strcmp(how, "h2") == 0)
        peer_secure(peer_of(s), how[0] == 'h');
}

static void play_at(char *rest)
{
    if (n_places == PLACES)
        fail_plain("too many places");
    snprintf(places[n_places].addr, ADDR_TEXT, "%s", word(&rest));
    snprintf(places[n_places++].how, sizeof(places[0].how), "%s", word(&rest));
}

/* ---- the rest */

static void play_name(char *rest)
{
    const char *name = word(&rest);
    fake_name(name, rest);
}

static void play_count(unsigned got, const char *want)
{
    char text[64];
    snprintf(text, sizeof(text), "there are %u", got);
    if (got != strtoul(want, NULL, 10))
        fail_plain(text);
}

static void play_reload(char *rest)
{
    char *why;
    if (*rest != '\0')
        options[n_options++] = xstrdup(rest);
    struct conf *c = world_conf(options, n_options, has_tls, &why);
    if (c == NULL)
        fail_plain(why);
    world_reload(&world, c);
}

static void play_line(char *rest)
{
    const char *verb = word(&rest);
    if (strcmp(verb, "client") == 0)
        play_client(rest);
    else if (strcmp(verb, "origin") == 0)
        play_origin(rest);
    else if (strcmp(verb, "dns") == 0)
        play_name(rest);
    else if (strcmp(verb, "at") == 0)
        play_at(rest);
    else if (strcmp(verb, "wait") == 0)
        until = fake_now + duration(rest);
    else if (strcmp(verb, "trip") == 0)
        fake_trip = (unsigned)duration(rest);
    else if (strcmp(verb, "dials") == 0)
        play_count(fake_dials, rest);
    else if (strcmp(verb, "questions") == 0)
        play_count(fake_questions(), rest);
    else if (strcmp(verb, "clients") == 0)
        play_count(atomic_load(&world.connections), rest);
    else if (strcmp(verb, "reload") == 0)
        play_reload(rest);
    else if (strcmp(verb, "ending") == 0)
        worker_announce_end(world.worker);
    else if (strcmp(verb, "drain") == 0)
        worker_drain(world.worker, duration(rest) / 1000);
    else if (strcmp(verb, "drained") == 0)
        play_count(!world.is_drained, "0");
    else
        fail_plain("there is no such line");
}

/* Nobody keeps what it was sent to itself: a script says all that comes. */
static void check_all_was_taken(void)
{
    for (unsigned i = 0; i < PEERS; i++) {
        struct peer *p = clients[i] == NULL ? NULL : peer_of(clients[i]);
        if (p != NULL && peer_got(p).len > 0)
            fail("a client has got what the script does not say", peer_got(p));
    }
    for (unsigned i = 1; i <= fake_dials; i++) {
        struct peer *p = peer_of(fake_dial(i));
        if (peer_got(p).len > 0)
            fail("an origin has got what the script does not say", peer_got(p));
    }
}

static void begin_closing(void)
{
    check_all_was_taken();
    for (unsigned i = 0; i < PEERS; i++) {
        if (clients[i] != NULL)
            fake_reset(clients[i]);
    }
    until = fake_now + INT64_C(1000000) * SETTLED;
    phase = CLOSING;
}

/* All has had its time. */
static void check_settled(void)
{
    if (fake_open > WORLD_FDS)
        fail_plain("two hours later connections are open");
    if (atomic_load(&world.budget.used) != 0)
        fail_plain("two hours later bytes are counted in max_memory");
    if (atomic_load(&world.connections) != 0)
        fail_plain("two hours later clients are counted");
}

/* The next line, and those that are joined to it by '&'. False at the end. */
static bool play_next(void)
{
    bool goes_on = true, has_played = false;
    while (goes_on && at < n_lines) {
        const char *line = lines[at++];
        line_no = at;
        if (*line == '\0' || *line == '#')
            continue;
        char copy[LINE_MAX_LEN];
        has_played = true;
        goes_on = *line == '&';
        snprintf(copy, sizeof(copy), "%s", line + goes_on);
        play_line(copy);
    }
    return has_played;
}

static void idle(void)
{
    if (fake_fault != NULL)
        fail_plain(fake_fault);
    world_serve(&world);
    if (peers_turn())
        return;
    if (until != 0) {
        if (!world_pass(&world, until))
            until = 0;
        return;
    }
    if (phase == PLAYING && !play_next())
        begin_closing();
    else if (phase == CLOSING) {
        check_settled();
        phase = STOPPING;
        worker_stop(world.worker);
    }
}

/* ---- reading */

static void read_lines(void)
{
    char line[LINE_MAX_LEN];
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        perror(path);
        exit(1);
    }
    while (fgets(line, sizeof(line), f) != NULL && n_lines < LINES) {
        line[strcspn(line, "\n")] = '\0';
        lines[n_lines++] = xstrdup(line);
    }
    fclose(f);
}

/* Options stand at the beginning. */
static void read_options(void)
{
    for (; at < n_lines; at++) {
        const char *line = lines[at];
        if (strncmp(line, "conf ", 5) == 0 && n_options < OPTIONS / 2)
            options[n_options++] = line + 5;
        else if (*line != '\0' && *line != '#')
            break;
    }
    for (unsigned i = at; i < n_lines; i++)
        has_tls =
            has_tls || strstr(lines[i], ":443 ") != NULL || strstr(lines[i], " shakes") != NULL;
}

void script_play(const char *file)
{
    char *why;
    path = file;
    read_lines();
    read_options();
    struct conf *c = world_conf(options, n_options, has_tls, &why);
    if (c == NULL) {
        fprintf(stderr, "%s: %s\n", path, why);
        exit(1);
    }
    world_open(&world, c, idle);
    fake_on_dial = on_dial;
    world_run(&world);
    peers_clear();
    const char *left = world_close(&world);
    if (left != NULL)
        fail_plain(left);
    for (unsigned i = 0; i < n_lines; i++)
        free(lines[i]);
}
