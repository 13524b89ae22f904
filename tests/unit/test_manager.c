/* SPDX-License-Identifier: Apache-2.0 */
/* manager.c: sockets that were passed, what the service manager is told, and that the watchdog is
 * silent while a worker is. The files under test belong to the program, not to the library, hence
 * the includes. */
#include "../../proxy/manager.c"
#include "../../proxy/manager_env.c"

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include <cmocka.h>

enum { SECOND = 1000000 };

static struct loop loop;
static struct sockaddr_un notify = {.sun_family = AF_UNIX};
static int notified;          /* what tells the manager comes out here */
static void (*asked)(void *); /* what a worker is to do */
static void *asked_arg;

void worker_call(struct worker *w, void (*fn)(void *arg), void *arg)
{
    (void)w;
    asked = fn;
    asked_arg = arg;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(notify.sun_path, sizeof(notify.sun_path), "/tmp/test_manager.%d", (int)getpid());
    notified = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(notified, (struct sockaddr *)&notify, sizeof(notify)) != 0)
        return -1;
    setenv("NOTIFY_SOCKET", notify.sun_path, 1);
    return loop_init(&loop) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_clear(&loop);
    close(notified);
    return unlink(notify.sun_path);
}

/* What the manager was told next; "" when nothing was. */
static const char *told(void)
{
    static char text[600];
    ssize_t n = recv(notified, text, sizeof(text) - 1, 0);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

/* Passes FD and, if it is not -1, OTHER. */
static void pass(int fd, int other)
{
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", other < 0 ? "1" : "2", 1);
    assert_int_equal(dup2(fd, MANAGER_FIRST_FD), MANAGER_FIRST_FD);
    if (other >= 0)
        assert_int_equal(dup2(other, MANAGER_FIRST_FD + 1), MANAGER_FIRST_FD + 1);
    manager_adopt();
}

static void passed_sockets_are_found_by_their_address(void **state)
{
    (void)state;
    struct addr a, other;
    int ends[2];
    int fd = fcntl(socket(AF_INET, SOCK_STREAM, 0), F_DUPFD, 10);
    assert_true(addr_parse(&a, STR("127.0.0.1:0")));
    assert_true(addr_parse(&other, STR("127.0.0.1:1")));
    assert_int_equal(bind(fd, &a.sa, a.len) | listen(fd, 5), 0);
    assert_true(sock_local(fd, &a));
    pass(fd, -1);
    char *why = manager_unclaimed();
    assert_non_null(strstr(why, "the service manager passed a socket for 127.0.0.1:"));
    free(why);
    assert_int_equal(manager_socket(&other), -1);
    assert_int_equal(errno, 0);
    int got = manager_socket(&a);
    assert_true(got > MANAGER_FIRST_FD && (fcntl(got, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(got, F_GETFL) & O_NONBLOCK) != 0);
    close(got);
    assert_null(manager_unclaimed());
    manager_close();
    assert_int_equal(manager_socket(&a), -1);
    assert_int_equal(pipe(ends), 0);
    int end = fcntl(ends[0], F_DUPFD, 10);
    pass(fd, end);
    close(manager_socket(&a));
    why = manager_unclaimed();
    assert_non_null(strstr(why, "descriptor 4, which the service manager passed, is no socket"));
    free(why);
    manager_close();
    manager_close();
    close(ends[1]);
    close(end);
    close(fd);
}

static void notes_are_sent(void **state)
{
    (void)state;
    manager_tell("READY=1\nSTATUS=%u", 7u);
    assert_string_equal(told(), "READY=1\nSTATUS=7");
    manager_tell_reload();
    const char *text = told();
    assert_true(strncmp(text, "RELOADING=1\nMONOTONIC_USEC=", 27) == 0);
    assert_string_equal(told(), "");
}

static void turn_until_told(const char *text)
{
    int64_t end = loop_now() + 5 * SECOND;
    for (const char *got = told(); strcmp(got, text) != 0; got = told()) {
        assert_true(loop_now() < end);
        loop_turn(&loop, true);
    }
}

static void the_watchdog_hears_of_loops_that_turn(void **state)
{
    (void)state;
    struct watchdog d = {0};
    struct worker *workers[1] = {NULL};
    watchdog_start(&d, &loop, workers, 1);
    assert_string_equal(told(), ""); /* nobody wants to know */
    watchdog_close(&d);
    setenv("WATCHDOG_USEC", "20000", 1);
    watchdog_start(&d, &loop, workers, 1);
    turn_until_told("WATCHDOG=1");
    assert_non_null(asked);
    for (unsigned i = 0; i < 5; i++)
        loop_turn(&loop, true); /* ticks, without an answer of the worker's */
    assert_string_equal(told(), "");
    asked(asked_arg);
    turn_until_told("WATCHDOG=1");
    watchdog_close(&d);
    watchdog_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(passed_sockets_are_found_by_their_address, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(notes_are_sent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_watchdog_hears_of_loops_that_turn, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
