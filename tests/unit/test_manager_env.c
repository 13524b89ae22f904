/* SPDX-License-Identifier: Apache-2.0 */
/* manager_env.c: whom the variables are meant for, what does not get to a child, and where notes
 * go. The file under test belongs to the program, not to the library, hence the include. */
#include "../../proxy/manager_env.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { FURTHER_FD = MANAGER_FIRST_FD + 1, FREE_FD = 40 };

static void say_pid(const char *name, int more)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", (int)getpid() + more);
    setenv(name, text, 1);
}

/* How many are taken of those that FDS says. Two descriptors are there, others are not. */
static unsigned passed_of(const char *fds)
{
    for (int fd = MANAGER_FIRST_FD; fd < FREE_FD; fd++)
        close(fd);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(ends[0], MANAGER_FIRST_FD);
    assert_int_equal(ends[1], FURTHER_FD);
    setenv("LISTEN_FDS", fds, 1);
    setenv("LISTEN_FDNAMES", "a:b", 1);
    unsigned n = manager_env_fds();
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDNAMES"));
    return n;
}

static void descriptors_are_taken_where_all_are_there(void **state)
{
    (void)state;
    say_pid("LISTEN_PID", 0);
    assert_int_equal(passed_of("2"), 2);
    assert_int_equal(fcntl(MANAGER_FIRST_FD, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(FURTHER_FD, F_GETFD), FD_CLOEXEC);
    static const char *const wrong[] = {
        "3", "0", "", "-1", "x", "2x", "2147483647", "4294967298", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        say_pid("LISTEN_PID", 0);
        assert_int_equal(passed_of(wrong[i]), 0);
    }
}

static void another_process_is_meant(void **state)
{
    (void)state;
    say_pid("LISTEN_PID", 1);
    assert_int_equal(passed_of("2"), 0);
    assert_int_equal(fcntl(MANAGER_FIRST_FD, F_GETFD), 0); /* it is not ours to change */
    assert_int_equal(passed_of("2"), 0);                   /* nobody is named */
}

static void only_streams_that_listen_are_listeners(void **state)
{
    (void)state;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int ends[2];
    int stream = socket(AF_UNIX, SOCK_STREAM, 0), packets = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    assert_false(manager_env_listens(stream));
    assert_int_equal(bind(stream, (struct sockaddr *)&a, sizeof(a.sun_family)), 0);
    assert_int_equal(listen(stream, 1), 0);
    assert_true(manager_env_listens(stream));
    assert_int_equal(bind(packets, (struct sockaddr *)&a, sizeof(a.sun_family)), 0);
    assert_int_equal(listen(packets, 1), 0);
    assert_false(manager_env_listens(packets));
    assert_int_equal(pipe(ends), 0);
    assert_false(manager_env_listens(ends[0]));
    close(ends[0]);
    assert_false(manager_env_listens(ends[0]));
    close(ends[1]);
    close(stream);
    close(packets);
}

/* A socket that notes come to, under NAME, of which the first byte of an abstract one is 0. */
static int hear_at(const char *name, size_t len)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    memcpy(a.sun_path, name, len);
    assert_int_equal(
        bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
        0);
    return fd;
}

static void assert_heard(int fd, const char *text)
{
    char got[64];
    ssize_t n = recv(fd, got, sizeof(got), 0);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void notes_go_to_a_path_or_an_abstract_name(void **state)
{
    (void)state;
    char path[64], name[64];
    int len = snprintf(path, sizeof(path), "/tmp/test_manager_env.%d", (int)getpid());
    int fd = hear_at(path, (size_t)len);
    setenv("NOTIFY_SOCKET", path, 1);
    manager_env_notify("READY=1", 7);
    assert_heard(fd, "READY=1");
    close(fd);
    manager_env_notify("READY=1", 7); /* nobody is there */
    unlink(path);
    memcpy(name, path, sizeof(name));
    name[0] = '@';
    setenv("NOTIFY_SOCKET", name, 1);
    name[0] = '\0';
    fd = hear_at(name, (size_t)len);
    manager_env_notify("STOPPING=1", 10);
    assert_heard(fd, "STOPPING=1");
    close(fd);
}

static void other_addresses_hear_nothing(void **state)
{
    (void)state;
    struct sockaddr_un a;
    char longest[sizeof(a.sun_path) + 1];
    memset(longest, 'x', sizeof(longest));
    longest[0] = '/';
    longest[sizeof(longest) - 1] = '\0';
    const char *const wrong[] = {"", "/", "@", "notify", "vsock:2:1", longest};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        setenv("NOTIFY_SOCKET", wrong[i], 1);
        assert_int_equal(env_notify_address(&a), 0);
    }
    longest[sizeof(longest) - 2] = '\0';
    setenv("NOTIFY_SOCKET", longest, 1);
    assert_int_equal(env_notify_address(&a), sizeof(a) - 1);
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(env_notify_address(&a), 0);
}

static void the_watchdog_is_for_whom_it_names(void **state)
{
    (void)state;
    assert_int_equal(manager_env_watchdog(), 0);
    setenv("WATCHDOG_USEC", "20000000", 1);
    assert_int_equal(manager_env_watchdog(), 20000000);
    say_pid("WATCHDOG_PID", 0);
    assert_int_equal(manager_env_watchdog(), 20000000);
    say_pid("WATCHDOG_PID", 1);
    assert_int_equal(manager_env_watchdog(), 0);
    unsetenv("WATCHDOG_PID");
    static const char *const wrong[] = {"0", "", "x", "-1", "18446744073709551615"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        setenv("WATCHDOG_USEC", wrong[i], 1);
        assert_int_equal(manager_env_watchdog(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_are_taken_where_all_are_there),
        cmocka_unit_test(another_process_is_meant),
        cmocka_unit_test(only_streams_that_listen_are_listeners),
        cmocka_unit_test(notes_go_to_a_path_or_an_abstract_name),
        cmocka_unit_test(other_addresses_hear_nothing),
        cmocka_unit_test(the_watchdog_is_for_whom_it_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
