/* SPDX-License-Identifier: Apache-2.0 */
/* What costs what a peer decides: each case gets many bytes of it. Without an argument every case
 * runs once; with "count" on N bytes and on N / 4: test_34_linear.py counts the instructions of
 * each call of measured(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "conf/conf_load.h"
#include "http/forward.h"
#include "http/h1_parse.h"
#include "http/rewrite.h"
#include "net/dns.h"
#include "own/batch_line.h"
#include "own/batch_read.h"
#include "own/json_limit.h"
#include "own/json_text.h"
#include "upstream/pool.h"
#include "upstream/tally.h"
#include "upstream/up_h2_head.h"

enum { SMALL = 16 * 1024, LARGE = 128 * 1024, HEAD_MAX = 1024 * 1024 };

struct linear {
    const char *name;
    const char *first, *again, *last; /* FIRST, AGAIN as often as it fits, LAST; #: which one */
    void (*run)(struct arena *arena, struct h1_head *head);
    void (*read)(struct str text); /* or of the bytes, which are no head then */
};

static struct conf *conf;
static const struct forward to_client_host = {.host = (char *)"api.example.com",
                                              .path = (char *)"",
                                              .port = 443,
                                              .tls = true,
                                              .host_is_client = true};
static const struct forward to_path = {
    .host = (char *)"api.example.com", .path = (char *)"/v2", .port = 443, .tls = true};

/* ---- what is measured */

static void response(struct arena *arena, struct h1_head *head)
{
    struct rewrite r = {.conf = conf, .is_upgraded = true};
    (void)arena;
    rewrite_response(&head->fields, &r);
}

static void request(struct arena *arena, struct h1_head *head)
{
    struct rewrite r = {.conf = conf, .is_upgraded = true};
    (void)arena;
    rewrite_request(&head->fields, &r);
}

/* The client's Host is as long as it may be. */
static void response_to_listener(struct arena *arena, struct h1_head *head)
{
    char self[256];
    memset(self, 'a', sizeof self);
    struct rewrite r = {
        .conf = conf, .is_upgraded = true, .forward = &to_client_host, .self = str_make(self, 250)};
    (void)arena;
    rewrite_response(&head->fields, &r);
}

static void response_to_path(struct arena *arena, struct h1_head *head)
{
    struct rewrite r = {
        .conf = conf, .is_upgraded = true, .forward = &to_path, .self = STR("127.0.0.1:81")};
    (void)arena;
    rewrite_response(&head->fields, &r);
}

static void request_on(struct arena *arena, struct h1_head *head)
{
    struct forward_id id = {.via = "1.1 tlsfan-1", .received = STR("tlsfan-1")};
    struct forward_info info = {0};
    bool answer_here;
    const char *why;
    (void)arena;
    (void)forward_is_loop(&head->fields, &id);
    bool ok = forward_max_forwards(&head->fields, METHOD_OPTIONS, &answer_here, &why);
    (void)ok;
    forward_request(head, &id, true, &info);
}

static void response_on(struct arena *arena, struct h1_head *head)
{
    struct forward_id id = {.via = "1.1 tlsfan-1", .received = STR("tlsfan-1")};
    bool keep_alive;
    (void)arena;
    forward_response(head, &id, true, &keep_alive);
}

static void remove_known(struct arena *arena, struct h1_head *head)
{
    (void)arena;
    fields_remove_known(&head->fields);
}

static void remove_cookies(struct arena *arena, struct h1_head *head)
{
    (void)arena;
    fields_remove(&head->fields, FIELD_COOKIE);
}

static void to_h2(struct arena *arena, struct h1_head *head)
{
    struct up_request rq = {
        .method = head->method, .target = STR("/"), .host = STR("h"), .fields = &head->fields};
    size_t n;
    (void)up_h2_head_request(arena, &rq, &n);
    free(up_h2_head_trailers(&head->fields, &n));
}

static void from_h2(struct arena *arena, struct h1_head *head)
{
    struct slab blocks;
    slab_init(&blocks, sizeof(struct up_h2_block), 0);
    struct up_h2_block *b = up_h2_block_new(&blocks);
    (void)arena;
    for (unsigned i = 0; i < head->fields.n; i++)
        up_h2_block_add(b, head->fields.v[i].name, head->fields.v[i].value, HEAD_MAX);
    up_h2_block_free(b);
}

static void to_json(struct arena *arena, struct h1_head *head)
{
    (void)arena;
    struct batch_want want = {0};
    struct evbuffer *out = evbuffer_new();
    batch_line_begin(out, 0, &want, 200, &head->fields);
    evbuffer_free(out);
}

#define LABELS                                                                                 \
    "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a." \
    "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a." \
    "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a"
#define FOREIGN                                                                                \
    "\xd0\x90\xd0\x91\xd0\x92\xd0\x93\xd0\x94\xd0\x95\xd0\x96\xd0\x97\xd0\x98\xd0\x99\xd0\x9a" \
    "\xd0\x9b\xd0\x9c\xd0\x9d\xd0\x9e\xd0\x9f\xd1\x90\xd1\x91\xd1\x92\xd1\x93\xd1\x94\xd1\x95"

static void read_batch(struct str text)
{
    struct batch_reader r;
    batch_read_init(&r, text, text.p[0] == '[', 100000, SMALL);
    while (batch_read_step(&r) == BATCH_READ_MORE)
        ;
    batch_read_clear(&r);
}

/* An answer is given on in pieces, too. */
static void write_body(struct str text)
{
    struct utf8 u = {0};
    struct evbuffer *out = evbuffer_new();
    bool is_text = utf8_take(&u, text) && utf8_is_whole(&u);
    for (size_t i = 0; i < text.len; i += BATCH_LINE_PIECE) {
        struct str piece = str_from_byte(text, i);
        if (piece.len > BATCH_LINE_PIECE)
            piece.len = BATCH_LINE_PIECE;
        batch_line_body(out, is_text, piece);
        evbuffer_drain(out, evbuffer_get_length(out));
    }
    evbuffer_free(out);
}

static void on_answer(void *arg, const struct dns_answer *a)
{
    (void)arg;
    (void)a;
}

/* Of a server that says nothing: all are waited for at once. */
static void look_up(struct str names)
{
    struct loop loop;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct addr a;
    socklen_t len = sizeof sa;
    char text[ADDR_TEXT];
    const char *servers[] = {text};
    struct conf c = *conf;
    struct str name;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    addr_from_sockaddr(&a, (struct sockaddr *)&sa, len);
    addr_print(&a, text);
    c.refs = 2;
    c.dns.timeout = 600000;
    c.dns.servers = (struct strings){.v = servers, .n = 1};
    assert_true(loop_init(&loop));
    struct dns *dns = dns_new(&loop, &c);
    while (str_next_item(&names, &name))
        (void)dns_lookup(dns, name, AF_INET, on_answer, NULL);
    for (int i = 0; i < 3; i++)
        loop_turn(&loop, false);
    dns_close(dns);
    loop_clear(&loop);
    close(fd);
}

static void on_ready(void *arg, struct ustream *us)
{
    (void)arg;
    (void)us;
}

static void on_fault(void *arg, const struct fault *f)
{
    (void)arg;
    (void)f;
}

struct pools {
    struct loop loop;
    struct forward_id id;
    struct conf conf;
    struct rule rule;
    struct up_where where;
    struct up_how how;
    struct dns *dns;
    struct pool *has, *waits_for;
};

static void begin(struct pool *p, const struct pools *of, struct pool_wait *wait)
{
    *wait = (struct pool_wait){.on_ready = on_ready, .on_fault = on_fault};
    assert_null(pool_get(p, &of->where, &of->how, wait));
}

/* Two workers. No dial of theirs gets anywhere. */
static void pools_open(struct pools *p, unsigned max_per_host)
{
    static struct tally tally;
    p->conf = *conf;
    p->conf.refs = 2;
    p->rule = conf->rules[0];
    p->rule.max_per_host = max_per_host;
    p->rule.connect_host = (char *)"127.0.0.1";
    p->rule.connect_port = 1;
    p->where = (struct up_where){.conf = &p->conf, .rule = &p->rule, .port = 80};
    p->how.is_patient = true;
    forward_id_init(&p->id);
    assert_true(loop_init(&p->loop));
    p->dns = dns_new(&p->loop, &p->conf);
    p->has = pool_new(&p->loop, p->dns, &p->id, NULL, &tally);
    p->waits_for = pool_new(&p->loop, p->dns, &p->id, NULL, &tally);
}

static void pools_close(struct pools *p)
{
    pool_close(p->has);
    pool_close(p->waits_for);
    dns_close(p->dns);
    loop_turn(&p->loop, false);
    loop_clear(&p->loop);
}

/* One worker has what another one waits for, of each origin, and gives it back bit by bit. */
static void take_turns(struct str hosts)
{
    struct pools p = {0};
    struct pool_wait *waits = xmalloc((hosts.len / 2 + 1) * 2 * sizeof *waits);
    size_t n = 0;
    pools_open(&p, 1);
    while (str_next_item(&hosts, &p.where.host)) {
        begin(p.has, &p, &waits[n++]);
        begin(p.waits_for, &p, &waits[n++]);
    }
    for (size_t i = 0; i < n; i++) {
        pool_cancel(&waits[i]);
        if (i % 2 == 0)
            loop_turn(&p.loop, false);
    }
    pools_close(&p);
    free(waits);
}

/* Of one origin, each with a dial: one half is given up, and the others fail. */
static void wait_together(struct str clients)
{
    struct pools p = {0};
    size_t n = clients.len / 10;
    struct pool_wait *waits = xmalloc(n * sizeof *waits);
    pools_open(&p, 0);
    p.where.host = STR("n.test");
    p.where.tls = true;
    for (size_t i = 0; i < n; i++) {
        p.how.h1_only = i % 4 > 1;
        begin(p.has, &p, &waits[i]);
    }
    for (size_t i = 0; i < n; i += 2)
        pool_cancel(&waits[i]);
    for (size_t i = 1; i < n; i += 2) {
        while (waits[i].origin != NULL)
            loop_turn(&p.loop, true);
    }
    pools_close(&p);
    free(waits);
}

#define ITEM "[{\"url\":\"http://h/\","

static const struct linear cases[] = {
    {"names", "", "n#.of.a.domain.whose.name.is.somewhat.longer.test, ", "", .read = look_up},
    {"turns", "", "n#.test, ", "", .read = take_turns},
    {"together", "", "0123456789", "", .read = wait_together},
    {"link_labels", "Link: ", "<https://" LABELS ">, ", "", .run = response},
    {"location_labels", "Location: https://", LABELS ".", "", .run = response},
    {"locations_labels", "", "Location: https://" LABELS "\r\n", "", .run = response},
    {"link_short", "Link: ", "<https://a>, ", "", .run = response},
    {"link_open", "Link: ", "<https://a<", "", .run = response},
    {"link_quotes", "Link: ", "<https://a>;b=\"\\", "", .run = response},
    {"link_foreign", "Link: ", "<https://" FOREIGN ">", "", .run = response},
    {"link_users", "Link: ", "<https://a@a@a@a:@>", "", .run = response},
    {"link_self", "Link: ", "<http://a>", "", .run = response_to_listener},
    {"links_self", "", "Link: <//a>\r\n", "", .run = response_to_listener},
    {"link_path", "Link: ", "</v2/..%2f.;/./>", "", .run = response_to_path},
    {"location_path", "Location: ", "/v2/..%2f.;/.", "", .run = response_to_path},
    {"location_dots", "Location: /v2/", "%2e;", "", .run = response_to_path},
    {"refresh", "Refresh: ", "0", "; url=\"https://a\"", .run = response},
    {"refresh_quotes", "", "Refresh: 0;url='https://a'\r\n", "", .run = response},
    {"cookie_attributes", "Set-Cookie: a=b", "; Secure; SameSite = None ", "", .run = response},
    {"cookie_semicolons", "Set-Cookie: a=b", ";", "", .run = response},
    {"cookies", "", "Set-Cookie: a=b; Secure\r\n", "", .run = response},
    {"realms", "WWW-Authenticate: ", "Basic realm=\"https://a\", ", "", .run = response},
    {"realms_open", "WWW-Authenticate: ", "x\\\" realm=\"https://a/,", "", .run = response},
    {"policies", "Content-Security-Policy: ", "a;upgrade-insecure-requests,", "", .run = response},
    {"policies_empty", "Content-Security-Policy: a", ";,", "upgrade-insecure-requests",
     .run = response},
    {"origins", "", "Origin: http://" LABELS "\r\n", "", .run = request},
    {"referer", "Referer: http://a/", "@:?", "", .run = request},
    {"destinations", "", "Destination: http://a:1/\r\n", "", .run = request},
    {"options", "Connection: ", "a#,", "", .run = request_on},
    {"options_same", "Connection: ", "close,", "\r\nA: a", .run = request_on},
    {"connections", "", "Connection: a#\r\na#: 1\r\n", "", .run = request_on},
    {"connections_back", "", "Connection: a#\r\na#: 1\r\n", "", .run = response_on},
    {"vias", "", "Via: 1.1 a\r\n", "", .run = request_on},
    {"via", "Via: ", "1.1 a (\",", "", .run = request_on},
    {"te", "", "TE: a\r\n", "", .run = request_on},
    {"expects", "", "Expect: a\r\n", "", .run = request_on},
    {"upgrades", "Connection: upgrade\r\n", "Upgrade: websocket\r\n", "", .run = request_on},
    {"hops", "", "Max-Forwards: 1\r\n", "", .run = request_on},
    {"trailers", "", "Cookie: a\r\nDate: a\r\n", "", .run = remove_known},
    {"removed", "", "Cookie: a\r\n", "", .run = remove_cookies},
    {"to_h2", "", "A#: a\r\n", "", .run = to_h2},
    {"cookies_to_h2", "", "Cookie: a\r\n", "", .run = to_h2},
    {"from_h2", "", "a#-b: a\r\n", "", .run = from_h2},
    {"json_names", "", "a#: a\r\n", "", .run = to_json},
    {"json_cases", "", "A#: a\r\na#: b\r\n", "", .run = to_json},
    {"json_values", "", "a: a\r\n", "", .run = to_json},
    {"read_body", ITEM "\"body\":\"", "a", "\"}]", .read = read_batch},
    {"read_escapes", ITEM "\"body\":\"", "\\u00e4\\n", "\"}]", .read = read_batch},
    {"read_utf8", ITEM "\"body\":\"", FOREIGN, "\"}]", .read = read_batch},
    {"read_base64", ITEM "\"body_base64\":\"", "AAAA", "\"}]", .read = read_batch},
    {"read_slashes", ITEM "\"body_base64\":\"", "A\\/AA", "\"}]", .read = read_batch},
    {"read_id", ITEM "\"id\":\"", "a", "\"}]", .read = read_batch},
    {"read_headers", ITEM "\"headers\":{\"A\":\"", "\\\"", "\"}}]", .read = read_batch},
    {"read_brackets", ITEM "\"body\":", "[", "}]", .read = read_batch},
    {"read_spaces", "[", " ", ITEM "}]", .read = read_batch},
    {"read_commas", "[1", ",1", "]", .read = read_batch},
    {"read_items", ITEM "\"id\":1}", ",{\"url\":\"http://h/#\"}", "]", .read = read_batch},
    {"read_open", ITEM "\"body\":\"", "a", "", .read = read_batch},
    {"read_urls", "http://h/\n", "http://h/#\n", "", .read = read_batch},
    {"read_url", "http://h/", "a", "\n", .read = read_batch},
    {"read_blanks", "http://h/\n", " ", "\n", .read = read_batch},
    {"write_text", "", "text", "", .read = write_body},
    {"write_controls", "", "\001", "", .read = write_body},
    {"write_utf8", "", FOREIGN, "", .read = write_body},
    {"write_bytes", "", "\xff", "", .read = write_body},
};

/* ---- how */

static void __attribute__((noinline))
measured(const struct linear *c, struct str text, struct arena *arena, struct h1_head *head)
{
    if (c->read != NULL)
        c->read(text);
    else
        c->run(arena, head);
}

/* Writes TEXT, NUMBER in place of each #; gives the bytes written. */
static size_t put(char *dst, const char *text, unsigned number)
{
    char *to = dst;
    for (; *text != '\0'; text++) {
        if (*text == '#')
            to += str_put_u64(to, number);
        else
            *to++ = *text;
    }
    return (size_t)(to - dst);
}

/* About N bytes of C at TEXT; gives how many. Fields are not more than the parser takes. */
static size_t make_text(const struct linear *c, char *text, size_t n)
{
    size_t len = 0, lines = 0;
    for (const char *p = strchr(c->again, '\n'); p != NULL; p = strchr(p + 1, '\n'))
        lines++;
    if (c->read == NULL)
        len = put(text, "GET / HTTP/1.1\r\n", 0);
    len += put(text + len, c->first, 0);
    for (unsigned i = 0; len < n; i++) {
        if (c->read == NULL && i * lines >= H1_MAX_FIELDS - 8)
            break;
        len += put(text + len, c->again, i);
    }
    len += put(text + len, c->last, 0);
    if (c->read == NULL)
        len += put(text + len, lines > 0 ? "\r\n" : "\r\n\r\n", 0);
    return len;
}

/* Runs C on about N bytes; gives and prints how many there were. */
static size_t run(const struct linear *c, size_t n)
{
    struct arena arena;
    struct h1_head head = {0};
    struct h1_error e;
    char *text = xmalloc(n + 1024);
    size_t len = make_text(c, text, n);
    arena_init(&arena, NULL, 0);
    fields_init(&head.fields, &arena, NULL, 0);
    if (c->read == NULL && !h1_parse_request(&head, text, len, false, &e))
        fail_msg("%s: %s", c->name, e.reason);
    measured(c, str_make(text, len), &arena, &head);
    printf("%s %zu\n", c->name, len);
    arena_clear(&arena);
    free(text);
    return len;
}

static void load(void)
{
    const char *options[] = {"service=off", "rule[*.a.a.a].verify=off", "rule[b:80].verify=off"};
    struct conf_faults faults = {0};
    struct conf_source source = {.options = options, .n_options = 3};
    conf = conf_load(&source, &faults);
    assert_non_null(conf);
}

static void all_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run(&cases[i], SMALL);
}

/* Each case on 128 KiB, or as much as it can be, and on a quarter of that. */
static void count(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run(&cases[i], run(&cases[i], LARGE) / 4);
}

int main(int argc, char **argv)
{
    load();
    json_limit_install();
    if (argc == 2 && strcmp(argv[1], "count") == 0) {
        count();
        conf_unref(&conf);
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_cases)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    conf_unref(&conf);
    return failed;
}
