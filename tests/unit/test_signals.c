/* SPDX-License-Identifier: Apache-2.0 */
/* signals.c: which signals wait to be read, and what was before. The file under test belongs to the
 * program, not to the library, hence the include. */
#include "../../proxy/signals.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

/* The signal that waits at FD; 0: none. */
static int next_at(int fd)
{
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

static void check(bool is_run, const int *taken, size_t n)
{
    struct signals_before before;
    sigset_t none, now;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signals_take(is_run, &before);
    assert_false(before.ignores_pipe);
    assert_int_equal(sigismember(&before.mask, SIGHUP), 0);
    raise(SIGPIPE);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    assert_int_equal(sigismember(&now, SIGUSR2), is_run);
    int fd = signals_open(is_run);
    assert_true(fd >= 0);
    assert_int_equal(next_at(fd), 0);
    for (size_t i = 0; i < n; i++) {
        raise(taken[i]);
        assert_int_equal(next_at(fd), taken[i]);
    }
    /* These tell of a fault of a thread's own. */
    assert_int_equal(sigismember(&now, SIGSEGV), 0);
    close(fd);
    signals_take(is_run, &before);
    assert_true(before.ignores_pipe);
    assert_int_equal(sigismember(&before.mask, SIGHUP), 1);
}

static void a_server_takes_four(void **state)
{
    static const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    (void)state;
    check(false, taken, sizeof(taken) / sizeof(taken[0]));
}

static void run_takes_what_it_can_hand_on(void **state)
{
    static const int taken[] = {SIGTERM, SIGINT,   SIGHUP,  SIGUSR1, SIGUSR2,
                                SIGCHLD, SIGWINCH, SIGCONT, SIGQUIT, SIGALRM};
    (void)state;
    check(true, taken, sizeof(taken) / sizeof(taken[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_takes_four),
        cmocka_unit_test(run_takes_what_it_can_hand_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
