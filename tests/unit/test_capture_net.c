/* SPDX-License-Identifier: Apache-2.0 */
/* capture_net.c: in the network that it makes every address is local, by either family. The program
 * is no library, hence the include. */
#include "../../proxy/capture_net.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <netdb.h>

#include "base/addr.h"
#include "net/sock.h"

enum { NOT_ALLOWED = 77 };

/* Runs WHAT in a process of its own inside such a network. */
static void inside(int (*what)(const struct capture_net *n))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct capture_net n;
        enum capture_step step = capture_net_make(&n);
        if (step == CAPTURE_USER || step == CAPTURE_MAP || step == CAPTURE_NET)
            _exit(NOT_ALLOWED);
        _exit(step == CAPTURE_DONE ? what(&n) : 76);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NOT_ALLOWED)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Connects to TARGET where only the wildcard of its family is listened on, below 1024; the accepted
 * connection must say that it was for TARGET. */
static bool leads_here(const char *wildcard, const char *target)
{
    struct addr a, to, local, peer;
    if (!addr_parse(&a, str_from(wildcard)) || !addr_parse(&to, str_from(target)))
        return false;
    int listener = sock_listen(&a, false);
    int out = socket(addr_family(&to), SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = listener >= 0 && connect(out, &to.sa, to.len) == 0;
    int in = ok ? sock_accept(listener, &peer) : -1;
    ok = in >= 0 && sock_local(in, &local) && addr_equal(&local, &to);
    close(in);
    close(out);
    close(listener);
    return ok;
}

static int connects(const struct capture_net *n)
{
    if (!leads_here("0.0.0.0:80", "192.0.2.1:80") || !leads_here("0.0.0.0:80", "127.0.0.1:80") ||
        !leads_here("0.0.0.0:443", "255.0.0.1:443"))
        return 1;
    if (n->has_ip6 &&
        (!leads_here("[::]:80", "[2001:db8::1]:80") || !leads_here("[::]:80", "[::1]:80")))
        return 2;
    /* Nobody listens: refused at once, not waited for. */
    struct addr a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!addr_parse(&a, STR("192.0.2.1:81")) || connect(fd, &a.sa, a.len) == 0)
        return 3;
    return errno == ECONNREFUSED ? 0 : 4;
}

static void every_address_is_local(void **state)
{
    (void)state;
    inside(connects);
}

static bool is_there(const char *ip, int flags, int family)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    hints.ai_flags = flags | AI_ADDRCONFIG;
    bool is_found = getaddrinfo(ip, "80", &hints, &found) == 0;
    if (is_found)
        freeaddrinfo(found);
    return is_found;
}

/* glibc takes both families for configured. */
static int has_addresses(const struct capture_net *n)
{
    if (!is_there("192.0.2.1", AI_NUMERICHOST, AF_INET) ||
        !is_there("192.0.2.1", AI_NUMERICHOST, AF_UNSPEC))
        return 1;
    return !n->has_ip6 || is_there("2001:db8::1", AI_NUMERICHOST, AF_UNSPEC) ? 0 : 2;
}

static void families_are_configured(void **state)
{
    (void)state;
    inside(has_addresses);
}

static unsigned user, group; /* as they were */
static char start_before[16];

static int keeps_ids(const struct capture_net *n)
{
    (void)n;
    return geteuid() == user && getuid() == user && getegid() == group ? 0 : 1;
}

static void ids_stay(void **state)
{
    (void)state;
    user = geteuid();
    group = getegid();
    inside(keeps_ids);
}

/* IPv6 that is off where namespaces are new is turned on. */
static int has_ip6(const struct capture_net *n)
{
    char off[8];
    net_read(ip6_off, off, sizeof(off));
    return n->has_ip6 && off[0] != '0';
}

static void ip6_is_on(void **state)
{
    (void)state;
    inside(has_ip6);
}

/* A port below the start of before can be had in there as it could out here. */
static int has_same_start(const struct capture_net *n)
{
    char now[16];
    (void)n;
    net_read(port_start, now, sizeof(now));
    return now[0] == '\0' || strcmp(now, start_before) == 0 ? 0 : 1;
}

static void unprivileged_ports_stay(void **state)
{
    (void)state;
    net_read(port_start, start_before, sizeof(start_before));
    inside(has_same_start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_address_is_local),
        cmocka_unit_test(families_are_configured),
        cmocka_unit_test(ids_stay),
        cmocka_unit_test(ip6_is_on),
        cmocka_unit_test(unprivileged_ports_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
