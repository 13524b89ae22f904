/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c: sets of places, from one snapshot to the next. The file under test belongs to the
 * program, not to the library, hence the include; the service manager is the test's. */
#include "../../proxy/listen.c"

#include <fcntl.h>
#include <setjmp.h>
#include <cmocka.h>

#include "conf/conf_load.h"
#include "conf/policy.h"
#include "loopback_fixture.h"

static int passed = -1; /* what the manager has passed */

int manager_socket(const struct addr *a)
{
    (void)a;
    errno = 0;
    return passed < 0 ? -1 : dup(passed);
}

static int captured = -1; /* what the network of COMMAND has for IPv4 */
static int captured_cause;

int capture_socket(const struct addr *a, int type)
{
    assert_int_equal(type, SOCK_STREAM);
    errno = addr_family(a) == AF_INET6 ? EAFNOSUPPORT : captured_cause;
    return addr_family(a) == AF_INET6 || captured < 0 ? -1 : dup(captured);
}

/* Up to three listeners, NULL ends them. */
static struct conf *conf_with(const char **options)
{
    struct conf_source source = {.options = options};
    struct conf_faults faults = {0};
    while (options[source.n_options] != NULL)
        source.n_options++;
    struct conf *c = conf_load(&source, &faults);
    if (c == NULL)
        fail_msg("%s", faults.text);
    return c;
}

#define CONF(...) conf_with((const char *[]){"service=off", __VA_ARGS__, NULL})

static struct listen_set open_set(const struct listen_set *old, struct conf *c)
{
    static const struct listen_set none;
    struct listen_set s = {0};
    char *why = NULL;
    if (!listen_open(&s, old == NULL ? &none : old, c, 2, &why))
        fail_msg("%s", why);
    assert_int_equal(s.n, c->n_listeners);
    return s;
}

/* Each worker has a socket of its own; the port is one that was picked. */
static void a_socket_for_each_worker(void **state)
{
    (void)state;
    struct conf *c = CONF("listen=127.0.0.1:0");
    struct listen_set s = open_set(NULL, c);
    assert_true(addr_port(&s.v[0].addr) != 0 && addr_port(&s.v[0].wanted) == 0);
    assert_false(s.v[0].is_shared);
    int a = listen_take(&s, 0, 0), b = listen_take(&s, 0, 1);
    assert_true(a >= 0 && b >= 0 && a != b);
    assert_int_equal(listen_take(&s, 0, 1), -1);
    close(a);
    close(b);
    listen_drop(&s, NULL);
    conf_unref(&c);
}

/* A place stays, whatever else comes; port 0 of a forward is another one, and written twice it is
 * two. */
static void places_stay(void **state)
{
    (void)state;
    struct conf *c = CONF("listen=127.0.0.1:0");
    struct conf *d =
        CONF("forward=127.0.0.1:0=https://a.test", "listen=127.0.0.1:0", "listen=127.0.0.1:0");
    struct listen_set s = open_set(NULL, c);
    struct listen_set next = open_set(&s, d);
    unsigned stayed = 0;
    for (unsigned i = 0; i < next.n; i++) {
        bool is_old = next.v[i].id == s.v[0].id;
        stayed += is_old;
        assert_false(is_old && next.v[i].kind == LISTENER_FORWARD);
        assert_int_equal(next.v[i].kind, d->listeners[i].kind);
        assert_int_equal(next.v[i].fds == NULL, is_old);
        if (is_old)
            assert_int_equal(listen_take(&next, i, 0), -1);
    }
    assert_int_equal(stayed, 1);
    assert_true(listen_has(&next, s.v[0].id));
    listen_drop(&s, &next);
    listen_drop(&next, NULL);
    conf_unref(&c);
    conf_unref(&d);
}

/* A socket does not know what is spoken on it; but of port 0 there is one of each. */
static void tls_comes_and_goes(void **state)
{
    (void)state;
    for (int fixed = 0; fixed < 2; fixed++) {
        char plain[64] = "listen=127.0.0.1:0", tls[80];
        struct conf *c = CONF("listen=127.0.0.1:0");
        struct listen_set s = open_set(NULL, c);
        if (fixed) {
            snprintf(plain, sizeof(plain), "listen=127.0.0.1:%u", addr_port(&s.v[0].addr));
            listen_drop(&s, NULL);
            conf_unref(&c);
            c = CONF(plain);
            s = open_set(NULL, c);
        }
        snprintf(tls, sizeof(tls), "listen=tls:%s", plain + strlen("listen="));
        struct conf *d = CONF(tls, "client.cert=/x", "client.key=/x");
        struct listen_set next = open_set(&s, d);
        assert_true(next.v[0].tls);
        assert_int_equal(next.v[0].id == s.v[0].id, fixed);
        struct listen_set last = open_set(&next, c);
        assert_false(last.v[0].tls);
        assert_int_equal(last.v[0].id == next.v[0].id, fixed);
        listen_drop(&s, &next);
        listen_drop(&next, &last);
        listen_drop(&last, NULL);
        conf_unref(&c);
        conf_unref(&d);
    }
}

/* A port that another process listens on is refused with a sentence, also where it shares. */
static void taken_ports(void **state)
{
    static const struct listen_set none;
    char option[64];
    (void)state;
    struct addr any;
    struct listen_set s = {0};
    char *why = NULL;
    assert_true(addr_parse_ip(&any, STR("127.0.0.1"), 0));
    int fd = sock_listen(&any, true);
    assert_true(fd >= 0 && sock_local(fd, &any));
    snprintf(option, sizeof option, "listen=127.0.0.1:%u", addr_port(&any));
    struct conf *c = CONF(option);
    assert_false(listen_open(&s, &none, c, 2, &why));
    assert_non_null(strstr(why, "(is another tlsfan running?)"));
    free(why);
    listen_drop(&s, NULL);
    conf_unref(&c);
    close(fd);
}

/* unix: sockets are one for all workers; the file goes with the place, unless it is another's. */
static void files(void **state)
{
    char folder[] = "/tmp/test_listen.XXXXXX", path[64], option[96];
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s", folder);
    snprintf(option, sizeof option, "listen=unix:%s", path);
    struct conf *c = CONF(option);
    struct listen_set s = open_set(NULL, c);
    assert_true(s.v[0].is_shared && s.v[0].n_fds == 1);
    struct listen_set next = open_set(&s, c);
    listen_drop(&s, &next); /* closes the socket, as nobody has taken it, but leaves the file */
    assert_int_equal(lstat(path, &st), 0);
    listen_drop(&next, NULL);
    assert_int_equal(lstat(path, &st), -1);

    s = open_set(NULL, c);
    assert_int_equal(unlink(path), 0);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    listen_drop(&s, NULL);
    assert_int_equal(lstat(path, &st), 0);

    char *why = NULL;
    static const struct listen_set none;
    assert_false(listen_open(&s, &none, c, 2, &why));
    assert_non_null(strstr(why, "(there is a file that is no socket)"));
    free(why);
    listen_drop(&s, NULL);
    unlink(path);
    rmdir(folder);
    conf_unref(&c);
}

/* The service manager's socket is taken as it is, and shared. */
static void passed_sockets(void **state)
{
    (void)state;
    struct addr any;
    assert_true(addr_parse_ip(&any, STR("127.0.0.1"), 0));
    passed = sock_listen(&any, false);
    assert_true(passed >= 0);
    struct conf *c = CONF("listen=127.0.0.1:1");
    struct listen_set s = open_set(NULL, c);
    assert_true(s.v[0].is_passed && s.v[0].is_shared);
    assert_int_not_equal(addr_port(&s.v[0].addr), 1);
    listen_drop(&s, NULL);
    close(passed);
    passed = -1;
    conf_unref(&c);
}

/* With one worker as well, whose socket is the only one of its place. */
static void another_kind(void **state)
{
    (void)state;
    static const struct listen_set none;
    for (unsigned workers = 1; workers <= 2; workers++) {
        struct listen_set old = {0}, s = {0};
        char *why = NULL;
        struct conf *c = CONF("listen=127.0.0.1:0");
        assert_true(listen_open(&old, &none, c, workers, &why));
        conf_unref(&c);
        char text[128];
        snprintf(text, sizeof(text), "listen=transparent:127.0.0.1:%u", addr_port(&old.v[0].addr));
        c = CONF(text);
        old.v[0].wanted = old.v[0].addr; /* as if it had been written */
        if (!listen_open(&s, &old, c, workers, &why))
            fail_msg("%s", why);
        assert_true(s.v[0].id != old.v[0].id && s.v[0].fds != NULL);
        listen_drop(&old, &s);
        listen_drop(&s, NULL);
        conf_unref(&c);
    }
}

static bool may_be_transparent(void)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    bool may = setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)) == 0;
    close(fd);
    return may;
}

static bool is_transparent(int fd, int level, int name)
{
    int on = 0;
    socklen_t len = sizeof(on);
    assert_int_equal(getsockopt(fd, level, name, &on, &len), 0);
    return on != 0;
}

/* With CAP_NET_ADMIN every socket of a transparent: listener takes what TPROXY sends; without, it
 * is opened all the same. Others never do. */
static void transparent(void **state)
{
    (void)state;
    bool may = may_be_transparent();
    struct conf *c = CONF("listen=transparent:127.0.0.1:0", "listen=127.0.0.1:0");
    struct listen_set s = open_set(NULL, c);
    assert_int_equal(s.v[0].has_tproxy, may);
    assert_false(s.v[1].has_tproxy);
    for (unsigned worker = 0; worker < 2; worker++) {
        assert_int_equal(is_transparent(s.v[0].fds[worker], IPPROTO_IP, IP_TRANSPARENT), may);
        assert_false(is_transparent(s.v[1].fds[worker], IPPROTO_IP, IP_TRANSPARENT));
    }
    listen_drop(&s, NULL);
    conf_unref(&c);
    c = CONF("listen=transparent:[::1]:0");
    char *why = NULL;
    static const struct listen_set none;
    if (listen_open(&s, &none, c, 2, &why))
        assert_int_equal(is_transparent(s.v[0].fds[1], IPPROTO_IPV6, IPV6_TRANSPARENT), may);
    free(why); /* there is no IPv6 here */
    listen_drop(&s, NULL);
    conf_unref(&c);
}

/* What the rules against loops know of a set: not what is in another namespace. */
static void own_addresses(void **state)
{
    (void)state;
    struct conf *c = CONF("listen=127.0.0.1:0", "listen=transparent:127.0.0.1:0");
    struct listen_set s = open_set(NULL, c);
    struct fault f;
    struct policy_who who = {.is_local = true};
    struct addr to;
    int accepted, fd = connect_pair(&to, &accepted);
    struct addr from;
    assert_true(sock_local(fd, &from));
    listen_set_own(&s);
    assert_false(policy_address(c, &s.v[0].addr, who, &f));
    assert_false(policy_address(c, &s.v[1].addr, who, &f));
    outgoing_note(fd, &to);
    assert_true(outgoing_is_ours(&from, &to));

    s.v[1].kind = LISTENER_CAPTURED;
    listen_set_own(&s);
    assert_false(policy_address(c, &s.v[0].addr, who, &f));
    assert_true(policy_address(c, &s.v[1].addr, who, &f));
    addr_set_port(&to, (uint16_t)(addr_port(&to) ^ 1));
    outgoing_note(fd, &to); /* there is no transparent: listener any more */
    assert_false(outgoing_is_ours(&from, &to));

    listen_drop(&s, NULL);
    listen_set_own(&s);
    close(fd);
    close(accepted);
    conf_unref(&c);
}

static struct conf *captured_conf(const char *option)
{
    const char *options[] = {"service=off", "capture.tunnel=", option};
    struct conf_source source = {
        .options = options, .n_options = 3, .is_run = true, .run.capture = true};
    struct conf_faults faults = {0};
    struct conf *c = conf_load(&source, &faults);
    if (c == NULL)
        fail_msg("%s", faults.text);
    return c;
}

/* COMMAND's network has one socket for all workers, and of a family that it has not none. */
static void captured_sockets(void **state)
{
    static const struct listen_set none;
    struct listen_set next = {0};
    char *why = NULL;
    struct addr any;
    struct fault f;
    (void)state;
    assert_true(addr_parse_ip(&any, STR("127.0.0.1"), 0));
    captured = sock_listen(&any, false);
    struct conf *c = captured_conf("capture.http=80"), *d = captured_conf("capture.http=81");
    struct listen_set s = open_set(NULL, c);
    assert_int_equal(s.n, 2);
    assert_true(s.v[0].is_shared && s.v[1].is_shared);
    assert_int_equal(addr_port(&s.v[0].addr), 80);
    int fd = listen_take(&s, 0, 0);
    assert_true(fd >= 0);
    assert_int_equal(listen_take(&s, 1, 0), -1);
    listen_set_own(&s);
    assert_true(addr_parse(&any, STR("127.0.0.1:80")));
    assert_true(policy_address(c, &any, (struct policy_who){.is_local = true}, &f));
    /* A reload: what is there stays; a new one needs the keeper, which may have gone. */
    close(captured);
    captured = -1;
    captured_cause = EPIPE;
    struct listen_set same = open_set(&s, c);
    assert_int_equal(same.v[0].id, s.v[0].id);
    assert_false(listen_open(&next, &s, d, 2, &why));
    assert_non_null(strstr(why, "port 81 (capture.http)"));
    assert_non_null(strstr(why, "has ended"));
    free(why);
    close(fd);
    listen_drop(&next, NULL);
    listen_drop(&same, NULL);
    listen_drop(&s, NULL);
    listen_set_own(&none);
    conf_unref(&c);
    conf_unref(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_socket_for_each_worker),
        cmocka_unit_test(places_stay),
        cmocka_unit_test(tls_comes_and_goes),
        cmocka_unit_test(taken_ports),
        cmocka_unit_test(files),
        cmocka_unit_test(passed_sockets),
        cmocka_unit_test(another_kind),
        cmocka_unit_test(transparent),
        cmocka_unit_test(own_addresses),
        cmocka_unit_test(captured_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
