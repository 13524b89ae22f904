/* SPDX-License-Identifier: Apache-2.0 */
/* client/accept.c: what is accepted and when, on sockets of the loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "client/accept.h"
#include "conf/conf_load.h"
#include "net/sock.h"

enum { PEERS = 100 };

static struct rig {
    struct loop loop;
    struct conf *conf;
    struct acceptors acceptors;
    _Atomic unsigned connections;
    struct accept_place place;
    unsigned n, lacking; /* accepted; calls of make_room() */
    unsigned stop_at;    /* on_accepted() says stop at that one; 0: never */
    int peers[PEERS];
    unsigned n_peers;
} rig;

static bool on_accepted(void *arg, int fd, const struct addr *peer, const struct client_listener *l)
{
    assert_ptr_equal(arg, &rig);
    assert_true(addr_is_loopback(peer));
    assert_true(addr_equal(&l->addr, &rig.place.addr));
    assert_ptr_equal(l->conf, rig.conf);
    close(fd);
    return ++rig.n != rig.stop_at;
}

static bool make_room(void *arg)
{
    assert_ptr_equal(arg, &rig);
    rig.lacking++;
    return false;
}

static void turns(int n)
{
    for (int i = 0; i < n; i++)
        loop_turn(&rig.loop, false);
}

/* A place of the loopback, with a socket. */
static struct accept_place place_new(unsigned id)
{
    struct accept_place p = {.id = id};
    struct addr any;
    assert_true(addr_parse_ip(&any, STR("127.0.0.1"), 0));
    p.fd = sock_listen(&any, false);
    assert_true(p.fd >= 0 && sock_local(p.fd, &p.addr));
    return p;
}

static void connect_all(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        assert_int_equal(connect(fd, &rig.place.addr.sa, rig.place.addr.len), 0);
        rig.peers[rig.n_peers++] = fd;
    }
}

static int set_up(void **state)
{
    static const struct accept_user user = {on_accepted, make_room};
    static const char *options[] = {"listen=127.0.0.1:1"};
    struct conf_source source = {.options = options, .n_options = 1};
    struct conf_faults faults = {0};
    char err[128];
    (void)state;
    memset(&rig, 0, sizeof rig);
    assert_true(log_open(LOG_LEVEL_ERROR, "/dev/null", err, sizeof err));
    assert_true(loop_init(&rig.loop));
    rig.conf = conf_load(&source, &faults);
    assert_non_null(rig.conf);
    acceptors_init(&rig.acceptors, &rig.loop, &user, &rig, &rig.connections);
    rig.place = place_new(7);
    acceptors_set(&rig.acceptors, &rig.place, 1, rig.conf);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    acceptors_close(&rig.acceptors, false);
    acceptors_close(&rig.acceptors, true);
    deadline_close(&rig.acceptors.pause);
    for (unsigned i = 0; i < rig.n_peers; i++)
        close(rig.peers[i]);
    turns(2);
    conf_unref(&rig.conf);
    loop_clear(&rig.loop);
    log_close();
    return 0;
}

/* One at first, more when they come in crowds. */
static void more_in_crowds(void **state)
{
    (void)state;
    connect_all(60);
    turns(1);
    assert_int_equal(rig.n, 1);
    turns(8);
    assert_in_range(rig.n, 9, 12);
    turns(60);
    assert_int_equal(rig.n, 60);
}

/* Nothing more after "stop", until told. */
static void stops_and_goes_on(void **state)
{
    (void)state;
    rig.stop_at = 2;
    connect_all(5);
    turns(10);
    assert_int_equal(rig.n, 2);
    acceptors_go_on(&rig.acceptors);
    turns(10);
    assert_int_equal(rig.n, 5);
}

/* A place stays by its id; one that goes still gives who has connected to it. */
static void places_stay_and_go(void **state)
{
    (void)state;
    struct accept_place both[2] = {rig.place, place_new(8)};
    both[0].fd = -1;
    acceptors_set(&rig.acceptors, both, 2, rig.conf);
    connect_all(1);
    turns(3);
    assert_int_equal(rig.n, 1);
    connect_all(3);
    both[1].fd = -1;
    rig.stop_at = 2; /* not obeyed at the end */
    acceptors_set(&rig.acceptors, &both[1], 1, rig.conf);
    assert_int_equal(rig.n, 4);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &rig.place.addr.sa, rig.place.addr.len), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
}

/* Without a descriptor there is a pause, not a spin; who waits is served behind it. */
static void pauses_without_descriptors(void **state)
{
    struct rlimit old, none;
    (void)state;
    connect_all(2);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int lowest = dup(0);
    none = (struct rlimit){.rlim_cur = (rlim_t)lowest, .rlim_max = old.rlim_max};
    close(lowest);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    turns(5);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(rig.n, 0);
    assert_int_equal(rig.lacking, 1);
    assert_true(deadline_is_set(&rig.acceptors.pause));
    acceptors_go_on(&rig.acceptors);
    turns(3);
    assert_int_equal(rig.n, 0); /* the pause holds */
    int64_t end = loop_now() + 5000000;
    while (rig.n < 2 && loop_now() < end)
        loop_turn(&rig.loop, true);
    assert_int_equal(rig.n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(more_in_crowds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stops_and_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(places_stay_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pauses_without_descriptors, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
