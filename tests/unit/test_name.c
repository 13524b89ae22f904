/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/name.c: which hosts are looked up before the route, with a search list from the
 * environment and a DNS server of the test's own; and that the rule of the full name holds. */
#include "rig_fixture.h"

#include "exchange/name.h"
#include "exchange/route.h"

static struct fixture_dns server;

static int set_up_names(void **state)
{
    char servers[64];
    const char *options[] = {servers,
                             "rule[*.one.test].upgrade=off",
                             "rule[mapped].connect_to=127.0.0.1:1",
                             "rule[parent].proxy=http://127.0.0.1:1",
                             "destination.deny_hosts=denied",
                             NULL};
    (void)state;
    setenv("LOCALDOMAIN", "one.test two.test", 1);
    rig_open(&rig, NULL);
    fixture_dns_open(&rig.f, &server);
    snprintf(servers, sizeof servers, "dns.servers=%s", server.server);
    conf_unref(&rig.conf);
    rig.conf = rig_conf(options);
    engine_set_conf(&rig.engine, conf_ref(rig.conf));
    dns_configure(rig.f.dns, rig.conf);
    return 0;
}

static int tear_down_names(void **state)
{
    fixture_dns_close(&server);
    unsetenv("LOCALDOMAIN");
    return tear_down(state);
}

static void begin(const char *method, const char *target)
{
    char head[256];
    snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: h\r\n", method, target);
    probe_open(&p, &rig, head);
}

static void which(void **state)
{
    static const struct {
        const char *method, *target;
        bool matters;
    } cases[] = {
        {"GET", "http://four/", true},
        {"GET", "https://four:8443/", true},
        {"CONNECT", "four:443", true},
        {"CONNECT", "four:80", true},
        {"GET", "http://four./", false},
        {"GET", "http://four.one.test/", false}, /* has that rule as it is written */
        {"GET", "http://127.0.0.1/", false},
        {"GET", "http://[::1]/", false},
        {"GET", "http://localhost/", false},
        {"GET", "http://mapped/", false},
        {"GET", "http://parent/", false},
        {"CONNECT", "parent:80", false},
        {"GET", "http://denied/", false},
        {"GET", "ftp://four/", false},
        {"GET", "/four", false},
        {"OPTIONS", "*", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fault f;
        begin(cases[i].method, cases[i].target);
        assert_true(route_target(&p.x, &f));
        if (name_matters(&p.x) != cases[i].matters)
            fail_msg("%s %s", cases[i].method, cases[i].target);
        probe_close(&p, &rig);
    }
    assert_int_equal(server.queries, 0);
}

/* The body comes while it is looked up; the rule of the full name says: no upgrade. */
static void found(void **state)
{
    char target[64];
    (void)state;
    snprintf(target, sizeof target, "http://four:%u/", rig.port);
    begin("PUT", target);
    p.x.body = (struct h1_body){.framing = H1_FRAMING_LENGTH, .length = 4, .left = 4};
    exchange_start(&p.x, STR("ab"), false);
    assert_int_equal(p.x.state, EXCHANGE_NAME);
    (void)exchange_body(&p.x, STR("cd"));
    exchange_end(&p.x, STR(""), NULL);
    int fd = rig_accept(&rig, "abcd");
    assert_true(str_eq(p.x.full, STR("four.one.test")));
    assert_false(p.x.where.tls);
    assert_null(p.x.naming);
    fixture_write(fd, "HTTP/1.1 204 No\r\nConnection: close\r\n\r\n");
    until("|end");
    probe_close(&p, &rig);
    close(fd);
}

/* What cannot be found is routed as it was written, and told by the dial. */
static void not_found(void **state)
{
    (void)state;
    begin("GET", "http://none/");
    exchange_start(&p.x, STR(""), true);
    assert_int_equal(p.x.state, EXCHANGE_NAME);
    until("|end");
    assert_true(p.x.is_named);
    assert_int_equal(p.x.full.len, 0);
    assert_int_equal(p.x.fault, FAULT_DNS);
    probe_close(&p, &rig);
}

/* However it ends meanwhile, the answer comes to nobody. */
static void ended_meanwhile(void **state)
{
    struct fault f;
    (void)state;
    server.hold = true;
    begin("GET", "http://four/");
    exchange_start(&p.x, STR(""), true);
    assert_int_equal(p.x.state, EXCHANGE_NAME);
    probe_close(&p, &rig);
    assert_string_equal(p.told, "");
    begin("GET", "http://four/");
    exchange_start(&p.x, STR(""), false);
    fault_set(&f, FAULT_BAD_REQUEST, "the body is bad");
    exchange_refuse(&p.x, &f);
    assert_null(p.x.naming);
    assert_non_null(strstr(p.told, "HTTP/1.1 400 "));
    probe_close(&p, &rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_names, tear_down_names)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(which), TEST(found), TEST(not_found),
                                       TEST(ended_meanwhile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
