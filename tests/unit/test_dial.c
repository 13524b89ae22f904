/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/dial.c: families, policy, faults, time; TLS only as far as it concerns the dial. */
#include "conf/files.h"
#include "upstream_fixture.h"

#include "conf/parent.h"
#include "conf/policy.h"
#include "upstream/dial.h"
#include "upstream/outage.h"

static struct fixture fix;
static struct fixture_dns server;
static int listener;
static uint16_t port;

struct result {
    bool done;
    struct stream *stream;
    struct fault fault;
    int64_t at; /* µs */
};

static void on_dialled(void *arg, const struct dial_result *r)
{
    struct result *to = arg;
    assert_false(to->done);
    to->done = true;
    to->stream = r->stream;
    to->at = loop_now();
    if (r->fault != NULL)
        to->fault = *r->fault;
    else
        assert_non_null(r->stream);
}

static struct result dial(const struct up_where *where)
{
    struct result r = {0};
    assert_non_null(dial_start(fix.dns, where, NULL, on_dialled, &r));
    assert_false(r.done);
    fixture_until(&fix, &r.done);
    return r;
}

/* A port that nobody listens on. */
static uint16_t closed_port(void)
{
    uint16_t p;
    close(fixture_listen(&p));
    return p;
}

static void expect_stream(struct result r, int family)
{
    assert_non_null(r.stream);
    assert_int_equal(addr_family(&r.stream->peer), family);
    stream_close(r.stream);
    fixture_settle(&fix);
}

static int set_up(void **state)
{
    (void)state;
    fixture_open(&fix);
    fixture_dns_open(&fix, &server);
    fixture_open_dns(&fix);
    listener = fixture_listen(&port);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(listener);
    fixture_dns_close(&server);
    fixture_close(&fix);
    return 0;
}

static void test_families(void **state)
{
    (void)state;
    struct up_where literal = fixture_where(&fix, "127.0.0.1", port);
    struct up_where four = fixture_where(&fix, "four.test", port);
    struct up_where both = fixture_where(&fix, "both.test", port);
    expect_stream(dial(&literal), AF_INET);
    expect_stream(dial(&four), AF_INET);
    expect_stream(dial(&both), AF_INET); /* ::1 refuses */
    fix.conf.dns.family = AF_INET6;
    assert_int_equal(dial(&four).fault.code, FAULT_DNS);
}

/* The A record has come, the AAAA query is never answered. */
static void test_resolution_delay(void **state)
{
    (void)state;
    struct up_where half = fixture_where(&fix, "half.test", port);
    int64_t start = loop_now();
    struct result r = dial(&half);
    assert_in_range(r.at - start, 40000, 2900000); /* less than dns.timeout */
    expect_stream(r, AF_INET);
}

static void test_faults(void **state)
{
    (void)state;
    struct up_where refused = fixture_where(&fix, "127.0.0.1", closed_port());
    struct up_where both = fixture_where(&fix, "both.test", refused.port);
    struct up_where none = fixture_where(&fix, "none.test", port);
    struct up_where silent = fixture_where(&fix, "silent.test", port);
    assert_int_equal(dial(&refused).fault.code, FAULT_REFUSED);
    assert_int_equal(dial(&both).fault.code, FAULT_REFUSED);
    assert_int_equal(dial(&none).fault.code, FAULT_DNS);
    fix.conf.upstream.connect_timeout = 50;
    assert_int_equal(dial(&silent).fault.code, FAULT_DNS_TIMEOUT);
}

/* Listens on P, which was closed. */
static int open_port(uint16_t p)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(p), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

/* It refuses while it is started. */
static void test_restart(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    for (size_t i = 0; i < 2; i++) {
        struct up_where where = fixture_where(&fix, hosts[i], closed_port());
        struct result r[3] = {{0}};
        for (size_t k = 0; k < 3; k++)
            dial_start(fix.dns, &where, NULL, on_dialled, &r[k]);
        fixture_settle(&fix);
        fixture_settle(&fix);
        assert_false(r[0].done || r[1].done || r[2].done);
        int fd = open_port(where.port);
        for (size_t k = 0; k < 3; k++) {
            fixture_until(&fix, &r[k].done);
            expect_stream(r[k], AF_INET);
        }
        close(fd);
        /* That is over: the next one begins anew. */
        assert_int_equal(outage_wait(where.host, where.port, &(int64_t){0}), 100);
    }
}

/* The same of a parent that reads the requests: it is the parent's outage that ends. */
static void test_restarted_parent(void **state)
{
    (void)state;
    struct parent parent = {.host = "127.0.0.1", .port = closed_port(), .shown = "127.0.0.1"};
    struct up_where where = fixture_where(&fix, "origin.test", 80);
    struct result r = {0};
    fix.rule.parent = &parent;
    dial_start(fix.dns, &where, NULL, on_dialled, &r);
    fixture_settle(&fix);
    fixture_settle(&fix);
    assert_false(r.done);
    int fd = open_port(parent.port);
    fixture_until(&fix, &r.done);
    expect_stream(r, AF_INET);
    close(fd);
    assert_int_equal(outage_wait(str_from(parent.host), parent.port, &(int64_t){0}), 100);
    fix.rule.parent = NULL;
}

/* It refuses for longer than that: nobody waits any more, and each has one try. */
static void test_dead(void **state)
{
    (void)state;
    struct up_where where = fixture_where(&fix, "127.0.0.1", closed_port());
    assert_int_equal(dial(&where).fault.code, FAULT_REFUSED);
    assert_int_equal(outage_wait(where.host, where.port, &(int64_t){0}), 0);
    struct result r[50] = {{0}};
    for (size_t k = 0; k < 50; k++)
        dial_start(fix.dns, &where, NULL, on_dialled, &r[k]);
    fixture_settle(&fix);
    for (size_t k = 0; k < 50; k++)
        assert_int_equal(r[k].fault.code, FAULT_REFUSED);
    /* What has come back serves. */
    int fd = open_port(where.port);
    expect_stream(dial(&where), AF_INET);
    close(fd);
}

/* So many refuse that their records take each other's places: nobody waits for longer. */
static void outages_of_many(void **state)
{
    char name[16];
    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "h%d.test", i % 500);
        int64_t first = loop_now() - (i < 500 ? 0 : 300 * 1000);
        int64_t ms = outage_wait(str_from(name), 80, &first);
        assert_true(i < 500 ? ms > 0 : ms == 0);
    }
}

static void test_policy(void **state)
{
    (void)state;
    struct up_where literal = fixture_where(&fix, "127.0.0.1", port);
    struct up_where four = fixture_where(&fix, "four.test", port);
    struct up_where both = fixture_where(&fix, "both.test", port);
    assert_true(netset_add(&fix.conf.destination.deny, STR("::1/128")));
    expect_stream(dial(&both), AF_INET);
    assert_true(netset_add(&fix.conf.destination.deny, STR("127.0.0.0/8")));
    assert_int_equal(dial(&literal).fault.code, FAULT_ADDRESS_DENIED);
    assert_int_equal(dial(&four).fault.code, FAULT_ADDRESS_DENIED);
    literal.exempt = true;
    expect_stream(dial(&literal), AF_INET);
    char to[] = "127.0.0.1";
    struct up_where named = fixture_where(&fix, "nowhere.test", 443);
    fix.rule.connect_host = to;
    fix.rule.connect_port = port;
    expect_stream(dial(&named), AF_INET);
    fix.rule.connect_host = fixture_empty;
    fix.rule.connect_port = 0;
    char any[] = "";
    struct connect_to map = {.host = any, .port = 443, .to_host = to, .to_port = port};
    fix.conf.connect_to = &map;
    fix.conf.n_connect_to = 1;
    expect_stream(dial(&named), AF_INET);
    netset_clear(&fix.conf.destination.deny);
}

static void test_cancel(void **state)
{
    (void)state;
    struct result r = {0};
    static const char *const hosts[] = {"127.0.0.1", "both.test", "silent.test"};
    for (int turns = 0; turns < 6; turns++) {
        for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
            struct up_where where = fixture_where(&fix, hosts[i], port);
            memset(&r, 0, sizeof(r));
            struct dial *d = dial_start(fix.dns, &where, NULL, on_dialled, &r);
            for (int t = 0; t < turns; t++)
                loop_turn(&fix.loop, false);
            if (!r.done)
                dial_cancel(d);
            bool before = r.done;
            fixture_settle(&fix);
            assert_int_equal(r.done, before);
            stream_close(r.stream);
        }
    }
}

/* Steps follow each other, and what they took is told when they are over. */
static void test_progress(void **state)
{
    struct result r = {0};
    struct up_progress p = {0};
    struct up_where where = fixture_where(&fix, "four.test", port);
    unsigned seen = 0;
    (void)state;
    struct dial *d = dial_start(fix.dns, &where, NULL, on_dialled, &r);
    dial_progress(d, &p);
    assert_int_equal(p.step, UP_STEP_DNS);
    assert_int_equal(p.dns_us, 0);
    assert_int_equal(p.peer.len, 0);
    for (int64_t end = loop_now() + 10000000; !r.done && loop_now() < end;) {
        enum up_step before = p.step;
        dial_progress(d, &p);
        assert_true(p.step >= before);
        assert_int_equal(p.dns_us > 0, p.step > UP_STEP_DNS);
        seen |= 1u << p.step;
        loop_turn(&fix.loop, false);
    }
    assert_int_equal(seen, 1u << UP_STEP_DNS | 1u << UP_STEP_CONNECT);
    expect_stream(r, AF_INET);
}

static void test_tls_cut(void **state)
{
    (void)state;
    struct conf_faults faults = {0};
    fix.rule.pattern = fix.rule.where = fix.rule.host = fixture_empty;
    struct tls_policy *t = &fix.rule.tls;
    t->ca_file = t->ca_dir = t->ca_extra = t->crl_file = t->client_cert = t->client_key =
        fixture_empty;
    t->ciphers = t->ciphersuites = fixture_empty;
    t->min_version = 0x0303;
    t->verify = true;
    fix.conf.intercept.ca_cert = fix.conf.intercept.ca_key = "";
    assert_true(tls_ctx_make_all(&fix.conf, &faults));
    struct up_where where = fixture_where(&fix, "127.0.0.1", port);
    where.tls = true;
    struct result r = {0};
    dial_start(fix.dns, &where, NULL, on_dialled, &r);
    close(fixture_accept(&fix, listener));
    close(fixture_accept(&fix, listener)); /* once more */
    fixture_until(&fix, &r.done);
    assert_int_equal(r.fault.code, FAULT_UP_CLOSED);
    assert_true(accept(listener, NULL, NULL) < 0);
    memset(&r, 0, sizeof(r));
    dial_start(fix.dns, &where, NULL, on_dialled, &r);
    int fd = fixture_accept(&fix, listener);
    fixture_write(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
    fixture_until(&fix, &r.done);
    assert_int_equal(r.fault.code, FAULT_TLS_PROTOCOL);
    close(fd);
    memset(&r, 0, sizeof(r));
    fix.conf.upstream.connect_timeout = 50;
    struct up_progress p;
    struct dial *d = dial_start(fix.dns, &where, NULL, on_dialled, &r);
    fd = fixture_accept(&fix, listener);
    for (dial_progress(d, &p); p.step != UP_STEP_TLS && !r.done; dial_progress(d, &p))
        loop_turn(&fix.loop, false);
    assert_false(r.done);
    assert_true(p.connect_us > 0 && addr_port(&p.peer) == port);
    fixture_until(&fix, &r.done);
    assert_int_equal(r.fault.code, FAULT_CONNECT_TIMEOUT);
    assert_non_null(strstr(r.fault.text, "TLS"));
    close(fd);
    fix.conf.on_free(&fix.conf);
    conf_files_clear(&fix.conf.files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_families, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_resolution_delay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restarted_parent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dead, set_up, tear_down),
        cmocka_unit_test(outages_of_many),
        cmocka_unit_test_setup_teardown(test_policy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_progress, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tls_cut, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
