/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come and where they may go: networks, password files, names, ports, resolved addresses.
 * */
#include "conf/conf_load.h"
#include "conf/policy.h"

#include <crypt.h>
#include <ifaddrs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct conf *load(const char *const *options)
{
    struct conf_source src = {.options = (const char **)options};
    struct conf_faults faults = {0};
    while (options != NULL && options[src.n_options] != NULL)
        src.n_options++;
    struct conf *c = conf_load(&src, &faults);
    if (c == NULL)
        fail_msg("%s", faults.text);
    return c;
}

#define LOAD(...) load((const char *const[]){__VA_ARGS__, NULL})

static struct addr at(const char *ip, uint16_t port)
{
    struct addr a;
    assert_true(addr_parse_ip(&a, str_from(ip), port));
    return a;
}

static void client_networks(void **state)
{
    (void)state;
    struct conf *c = LOAD("client.allow=10.0.0.0/8");
    struct fault f;
    struct addr a = at("10.1.2.3", 1);
    assert_true(policy_client(c, &a, &f));
    a = at("::ffff:10.1.2.3", 1);
    assert_true(policy_client(c, &a, &f));
    a = at("2002:a01:203::1", 1);
    assert_false(policy_client(c, &a, &f));
    a = at("64:ff9b::10.1.2.3", 1);
    assert_false(policy_client(c, &a, &f));
    a = at("127.0.0.1", 1);
    assert_false(policy_client(c, &a, &f));
    assert_int_equal(f.code, FAULT_DENIED);
    assert_non_null(strstr(f.text, "client.allow"));
    assert_true(addr_parse(&a, STR("unix:/tmp/x")));
    assert_true(policy_client(c, &a, &f));
    conf_unref(&c);
}

/* Who is on this machine may come where loopback may, or where it may itself. */
static void client_here(void **state)
{
    static const struct {
        const char *allow, *peer;
        bool may;
    } cases[] = {
        {"client.allow=loopback", "10.1.2.3", true},
        {"client.allow=127.0.0.1", "fd00::1", false},
        {"client.allow=::1", "fd00::1", true},
        {"client.allow=10.0.0.0/8", "10.1.2.3", true},
        {"client.allow=192.168.0.0/16", "10.1.2.3", false},
    };
    struct fault f;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct conf *c = LOAD(cases[i].allow);
        struct addr a = at(cases[i].peer, 1);
        assert_int_equal(policy_client_here(c, &a, &f), cases[i].may);
        conf_unref(&c);
    }
}

static void any_port(void **state)
{
    struct conf *c = LOAD("destination.deny_hosts=no.test", "destination.connect_ports=22");
    struct fault f;
    (void)state;
    assert_true(policy_any_port(c, STR("a.test"), &f));
    assert_false(policy_any_port(c, STR("no.test"), &f));
    assert_non_null(strstr(f.text, "deny_hosts"));
    assert_true(policy_connect_port(c, 22));
    assert_false(policy_connect_port(c, 443));
    conf_unref(&c);
}

static void hosts_and_ports(void **state)
{
    (void)state;
    struct conf *c = LOAD("destination.allow_hosts=*.example.com", "destination.allow_hosts=a.org",
                          "destination.deny_hosts=bad.example.com", "destination.ports=443",
                          "destination.ports=8443");
    struct fault f;
    assert_true(policy_host(c, STR("x.example.com"), 443, false, &f));
    assert_true(policy_host(c, STR("a.org"), 8443, false, &f));
    assert_true(policy_host(c, STR("a.org"), 443, true, &f));
    assert_false(policy_host(c, STR("example.com"), 443, false, &f));
    assert_int_equal(f.code, FAULT_DENIED);
    assert_false(policy_host(c, STR("bad.example.com"), 443, false, &f));
    assert_false(policy_host(c, STR("a.org"), 80, false, &f));
    assert_false(policy_host(c, STR("a.org"), 8443, true, &f));
    assert_non_null(strstr(f.text, "connect_ports"));
    conf_unref(&c);
    c = LOAD("destination.deny_hosts=*.b", "destination.deny_hosts=1.2.3.4",
             "destination.deny_hosts=[::0001]");
    assert_false(policy_host(c, STR("x.y.b"), 80, false, &f));
    assert_false(policy_host(c, STR("1.2.3.4"), 80, false, &f));
    assert_false(policy_host(c, STR("::1"), 80, false, &f));
    assert_true(policy_host(c, STR("b"), 80, false, &f));
    assert_true(policy_host(c, STR("xb"), 80, false, &f));
    conf_unref(&c);
    c = LOAD("destination.allow_hosts=app", "destination.deny_hosts=*.corp.test");
    assert_true(policy_host(c, STR("app"), 443, false, &f));
    assert_true(policy_full_host(c, STR("app"), STR("app.free.test"), &f));
    assert_false(policy_full_host(c, STR("app"), STR("app.corp.test"), &f));
    assert_int_equal(f.code, FAULT_DENIED);
    assert_non_null(strstr(f.text, "app.corp.test"));
    assert_true(policy_name(c, STR("app")));
    assert_false(policy_name(c, STR("app.free.test")));
    conf_unref(&c);
    c = LOAD("destination.deny_hosts=*");
    assert_false(policy_host(c, STR("any"), 80, false, &f));
    conf_unref(&c);
    c = LOAD("destination.connect_ports=");
    assert_true(policy_host(c, STR("any"), 22, true, &f));
    assert_true(policy_host(c, STR("any"), 22, false, &f));
    conf_unref(&c);
}

struct address_case {
    const char *ip;
    bool for_local, for_remote, when_exempt;
};

static void addresses(void **state)
{
    (void)state;
    static const struct address_case cases[] = {
        {"93.184.216.34", true, true, true},
        {"2606:2800:220:1::1", true, true, true},
        {"10.0.0.1", true, true, true},
        {"127.0.0.1", true, false, true},
        {"127.9.9.9", true, false, true},
        {"::1", true, false, true},
        {"::ffff:127.0.0.1", true, false, true},
        {"64:ff9b::7f00:1", true, false, true},
        {"2002:7f00:1::", true, false, true},
        {"64:ff9b:1:7f00:0:100:808:808", true, false, true},
        {"64:ff9b::", false, false, true},
        {"169.254.169.254", false, false, true},
        {"::ffff:169.254.169.254", false, false, true},
        {"::169.254.169.254", false, false, true},
        {"64:ff9b::a9fe:a9fe", false, false, true},
        {"2002:a9fe:a9fe::1", false, false, true},
        {"fe80::1", false, false, true},
        {"0.0.0.0", false, false, true},
        {"::", false, false, true},
        {"100.100.100.200", false, false, true},
        {"168.63.129.16", false, false, true},
        {"224.0.0.1", false, false, true},
        {"255.255.255.255", false, false, true},
        {"ff02::1", false, false, true},
        {"fd00:ec2::254", false, false, true},
    };
    bound_set(NULL, 0);
    struct conf *c = load(NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct addr a = at(cases[i].ip, 443);
        struct fault f;
        bool local = policy_address(c, &a, (struct policy_who){.is_local = true}, &f);
        bool remote = policy_address(c, &a, (struct policy_who){0}, &f);
        bool exempt = policy_address(c, &a, (struct policy_who){.exempt = true}, &f);
        if (local != cases[i].for_local || remote != cases[i].for_remote ||
            exempt != cases[i].when_exempt)
            fail_msg("%s: %d %d %d", cases[i].ip, local, remote, exempt);
        if (!remote)
            assert_int_equal(f.code, FAULT_ADDRESS_DENIED);
    }
    conf_unref(&c);
}

/* What a stranger has chosen leads to the public, or to what allow names. */
static void strangers_choose_public_ones(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "10.1.2.3",     "172.16.0.1",  "192.168.1.1",    "100.64.0.1",       "127.0.0.1",
        "169.254.1.1",  "0.0.0.0",     "198.18.0.1",     "192.0.2.1",        "224.0.0.1",
        "::1",          "fd00::1",     "fe80::1",        "::ffff:10.0.0.1",  "64:ff9b::a00:1",
        "2002:a00:1::", "2001:db8::1", "::10.0.0.1",     "64:ff9b:1::a00:1", "fec0::1",
        "ff02::1",      "2001::1",     "255.255.255.255"};
    static const char *const good[] = {"8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"};
    const struct policy_who who = {.is_public = true, .is_local = true};
    struct conf *c = LOAD("destination.deny=");
    struct fault f;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct addr a = at(bad[i], 80);
        if (policy_address(c, &a, who, &f))
            fail_msg("%s", bad[i]);
        assert_int_equal(f.code, FAULT_ADDRESS_DENIED);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct addr a = at(good[i], 80);
        if (!policy_address(c, &a, who, &f))
            fail_msg("%s", good[i]);
    }
    conf_unref(&c);
    c = LOAD("destination.allow=10.1.0.0/16");
    struct addr a = at("10.1.2.3", 80);
    assert_true(policy_address(c, &a, who, &f));
    a = at("10.2.2.3", 80);
    assert_false(policy_address(c, &a, who, &f));
    conf_unref(&c);
}

static void allow_makes_exceptions(void **state)
{
    (void)state;
    struct conf *c = LOAD("destination.allow=169.254.1.0/24", "destination.allow=127.0.0.5");
    struct fault f;
    struct addr a = at("169.254.1.9", 80);
    assert_true(policy_address(c, &a, (struct policy_who){0}, &f));
    a = at("169.254.2.9", 80);
    assert_false(policy_address(c, &a, (struct policy_who){0}, &f));
    a = at("127.0.0.5", 80);
    assert_true(policy_address(c, &a, (struct policy_who){0}, &f));
    a = at("127.0.0.6", 80);
    assert_false(policy_address(c, &a, (struct policy_who){0}, &f));
    /* An exception is for the address itself, and for the kernel's way to write it. */
    a = at("::ffff:127.0.0.5", 80);
    assert_true(policy_address(c, &a, (struct policy_who){0}, &f));
    static const char *const around[] = {"64:ff9b::169.254.1.9", "2002:a9fe:109::1",
                                         "::169.254.1.9", "64:ff9b::127.0.0.5", "2002:7f00:5::"};
    for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
        a = at(around[i], 80);
        assert_false(policy_address(c, &a, (struct policy_who){0}, &f));
    }
    conf_unref(&c);
    c = LOAD("destination.allow=64:ff9b::/96");
    a = at("64:ff9b::169.254.1.9", 80);
    assert_true(policy_address(c, &a, (struct policy_who){0}, &f));
    conf_unref(&c);
    /* Without deny, 0.0.0.0 is still this machine. */
    c = LOAD("destination.deny=");
    a = at("0.0.0.0", 80);
    assert_false(policy_address(c, &a, (struct policy_who){0}, &f));
    assert_true(policy_address(c, &a, (struct policy_who){.is_local = true}, &f));
    conf_unref(&c);
}

static bool is_refused(const struct conf *c, const char *ip, uint16_t port)
{
    struct fault f;
    struct addr a = at(ip, port);
    return !policy_address(c, &a, (struct policy_who){.is_local = true, .exempt = true}, &f);
}

static bool may_be_led(const struct conf *c, const char *ip, uint16_t port)
{
    struct fault f;
    struct addr a = at(ip, port);
    return policy_address(c, &a, (struct policy_who){.is_local = true, .is_bound = true}, &f);
}

static void own_listeners(void **state)
{
    (void)state;
    struct conf *c = load(NULL);
    struct bound own[] = {{.addr = at("127.0.0.1", 3128)}, {.addr = at("::1", 3129)}};
    bound_set(own, 2);
    assert_true(is_refused(c, "127.0.0.1", 3128));
    assert_true(is_refused(c, "::ffff:127.0.0.1", 3128));
    assert_true(is_refused(c, "64:ff9b::127.0.0.1", 3128));
    assert_true(is_refused(c, "64:ff9b:1:7f00:0:100:808:808", 3128));
    assert_true(is_refused(c, "0.0.0.0", 3128));
    assert_true(is_refused(c, "::1", 3129));
    assert_false(is_refused(c, "127.0.0.1", 3129));
    assert_false(is_refused(c, "127.0.0.2", 3128));
    /* Who is led to one on purpose gets to those that are open, and nowhere else. */
    assert_false(may_be_led(c, "127.0.0.1", 3128));
    assert_false(may_be_led(c, "127.0.0.1", 3130));
    assert_false(may_be_led(c, "192.0.2.1", 443));
    own[0].kind = LISTENER_FORWARD;
    bound_set(own, 2);
    assert_true(is_refused(c, "127.0.0.1", 3128));
    assert_true(may_be_led(c, "127.0.0.1", 3128));
    assert_true(may_be_led(c, "::ffff:127.0.0.1", 3128));
    assert_false(may_be_led(c, "64:ff9b::127.0.0.1", 3128));
    assert_false(may_be_led(c, "::1", 3129));
    own[0].kind = LISTENER_PROXY;
    own[0].addr = at("0.0.0.0", 4000);
    bound_set(own, 1);
    assert_true(is_refused(c, "127.7.7.7", 4000));
    assert_false(is_refused(c, "127.0.0.1", 3128));
    assert_false(is_refused(c, "192.0.2.1", 4000));
    own[0].addr = at("::", 4000);
    bound_set(own, 1);
    assert_true(is_refused(c, "::1", 4000));
    assert_true(is_refused(c, "127.0.0.1", 4000));
    struct ifaddrs *list = NULL;
    assert_int_equal(getifaddrs(&list), 0);
    for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
            continue;
        struct addr a;
        char ip[ADDR_TEXT];
        addr_from_sockaddr(&a, i->ifa_addr, sizeof(struct sockaddr_in));
        assert_true(is_refused(c, addr_print_ip(&a, ip), 4000));
    }
    freeifaddrs(list);
    bound_set(NULL, 0);
    conf_unref(&c);
}

static char users[] = "/tmp/test_policy.XXXXXX";

static int make_users(void **state)
{
    (void)state;
    int fd = mkstemp(users);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

static int remove_users(void **state)
{
    (void)state;
    unlink(users);
    return 0;
}

/* Adds "NAME:hash of PASSWORD" with the settings of crypt(5). */
static void put_user(FILE *fp, const char *name, const char *password, const char *prefix)
{
    char salt[CRYPT_GENSALT_OUTPUT_SIZE];
    unsigned long rounds = prefix[1] == '2' ? 4 : 1000;
    assert_non_null(crypt_gensalt_rn(prefix, rounds, NULL, 0, salt, sizeof(salt)));
    struct crypt_data data = {0};
    fprintf(fp, "%s:%s\n", name, crypt_r(password, salt, &data));
}

static char *basic(const char *pair)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = xcalloc(1, 16 + strlen(pair) * 2);
    char *p = stpcpy(out, "basic ");
    size_t len = strlen(pair);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)(unsigned char)pair[i] << 16;
        v |= i + 1 < len ? (uint32_t)(unsigned char)pair[i + 1] << 8 : 0;
        v |= i + 2 < len ? (uint32_t)(unsigned char)pair[i + 2] : 0;
        *p++ = digits[v >> 18];
        *p++ = digits[v >> 12 & 63];
        *p++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
        *p++ = i + 2 < len ? digits[v & 63] : '=';
    }
    return out;
}

__attribute__((noinline)) static void dirty_the_stack(void)
{
    volatile char below[8192];
    for (size_t i = 0; i < sizeof below; i++)
        below[i] = 'x';
}

static void expect_auth(const struct conf *c, const char *pair, bool good)
{
    char *value = basic(pair);
    assert_int_equal(policy_auth(c, str_from(value)), POLICY_AUTH_SLOW);
    dirty_the_stack(); /* what is decoded there ends where it ends */
    assert_int_equal(policy_auth_slow(c, str_from(value)), good);
    assert_int_equal(policy_auth(c, str_from(value)), good ? POLICY_AUTH_OK : POLICY_AUTH_SLOW);
    free(value);
}

static void put_line(const char *line)
{
    FILE *fp = fopen(users, "w");
    fputs(line, fp);
    fclose(fp);
}

static enum policy_auth ask(const struct conf *c, const char *pair)
{
    char *value = basic(pair);
    enum policy_auth result = policy_auth(c, str_from(value));
    free(value);
    return result;
}

static char *line_of(const char *name, const char *password)
{
    char *line = NULL;
    size_t n;
    FILE *fp = open_memstream(&line, &n);
    put_user(fp, name, password, "$5$");
    fclose(fp);
    return line;
}

/* What was verified is remembered over a reload as long as that user's line is what it was. */
static void memory_of_credentials(void **state)
{
    (void)state;
    char *option = xasprintf("client.auth_file=%s", users);
    char *ann = line_of("ann", "a"), *bob = line_of("bob", "b"), *again = line_of("ann", "a");
    char *both = xasprintf("%s%s", ann, bob), *changed = xasprintf("%s%s", bob, again);
    put_line(both);
    struct conf *c = LOAD(option);
    expect_auth(c, "ann:a", true);
    expect_auth(c, "bob:b", true);
    expect_auth(c, "ann:b", false);
    conf_unref(&c);
    c = LOAD(option);
    assert_int_equal(ask(c, "ann:a"), POLICY_AUTH_OK);
    assert_int_equal(ask(c, "bob:b"), POLICY_AUTH_OK);
    assert_int_equal(ask(c, "ann:b"), POLICY_AUTH_SLOW);
    conf_unref(&c);
    /* the same password under a new salt: judged afresh; the other user's line has only moved */
    put_line(changed);
    c = LOAD(option);
    assert_int_equal(ask(c, "bob:b"), POLICY_AUTH_OK);
    expect_auth(c, "ann:a", true);
    conf_unref(&c);
    put_line(bob);
    c = LOAD(option);
    assert_int_equal(ask(c, "bob:b"), POLICY_AUTH_OK);
    expect_auth(c, "ann:a", false);
    conf_unref(&c);
    put_line(both);
    c = LOAD(option);
    assert_int_equal(ask(c, "ann:a"), POLICY_AUTH_OK);
    conf_unref(&c);
    free(option);
    free(ann);
    free(bob);
    free(again);
    free(both);
    free(changed);
}

/* Equal for whatever must be judged alike, and for nothing else. */
static void digests_of_credentials(void **state)
{
    (void)state;
    char *option = xasprintf("client.auth_file=%s", users);
    char *ann = line_of("ann", "a"), *again = line_of("ann", "a");
    put_line(ann);
    struct conf *c = LOAD(option), *same = LOAD(option);
    put_line(again);
    struct conf *other = LOAD(option);
    struct auth_digest d = policy_auth_digest(c, STR("Basic YW5uOmE="));
    struct auth_digest e = policy_auth_digest(same, STR(" basic  YW5uOmE= "));
    assert_true(d.low == e.low && d.high == e.high);
    e = policy_auth_digest(c, STR("Basic YW5uOmI="));
    assert_true(d.low != e.low && d.high != e.high);
    e = policy_auth_digest(other, STR("Basic YW5uOmE="));
    assert_true(d.low != e.low && d.high != e.high);
    conf_unref(&c);
    conf_unref(&same);
    conf_unref(&other);
    free(option);
    free(ann);
    free(again);
}

static void credentials(void **state)
{
    (void)state;
    FILE *fp = fopen(users, "w");
    fputs("# people\n\n", fp);
    put_user(fp, "bcrypt", "secret:with colon", "$2y$");
    put_user(fp, "sha256", "s3", "$5$");
    put_user(fp, "sha512", "", "$6$");
    fclose(fp);
    char *option = xasprintf("client.auth_file=%s", users);
    struct conf *c = LOAD(option);
    expect_auth(c, "bcrypt:secret:with colon", true);
    expect_auth(c, "sha256:s3", true);
    expect_auth(c, "sha512:", true);
    expect_auth(c, "bcrypt:wrong", false);
    expect_auth(c, "nobody:s3", false);
    expect_auth(c, ":s3", false);
    static const char *const bad[] = {"",           "Basic",          "Basic ",    "Bearer abc",
                                      "Basic !!!!", "Basic bm9ib2R5", "Digest x=y"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(policy_auth(c, str_from(bad[i])), POLICY_AUTH_BAD);
        assert_false(policy_auth_slow(c, str_from(bad[i])));
    }
    char *long_pair = xcalloc(1, 4000);
    memset(long_pair, 'a', 1500);
    long_pair[3] = ':';
    char *value = basic(long_pair);
    assert_int_equal(policy_auth(c, str_from(value)), POLICY_AUTH_BAD);
    free(value);
    free(long_pair);
    conf_unref(&c);
    c = load(NULL);
    assert_int_equal(policy_auth(c, STR("")), POLICY_AUTH_OK);
    conf_unref(&c);
    free(option);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_networks),
        cmocka_unit_test(client_here),
        cmocka_unit_test(any_port),
        cmocka_unit_test(hosts_and_ports),
        cmocka_unit_test(addresses),
        cmocka_unit_test(strangers_choose_public_ones),
        cmocka_unit_test(allow_makes_exceptions),
        cmocka_unit_test(own_listeners),
        cmocka_unit_test(credentials),
        cmocka_unit_test(memory_of_credentials),
        cmocka_unit_test(digests_of_credentials),
    };
    return cmocka_run_group_tests(tests, make_users, remove_users);
}
