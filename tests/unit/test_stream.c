/* SPDX-License-Identifier: Apache-2.0 */
/* net/stream.c over socket pairs: what is left and given again, pausing, writing more than the
 * kernel takes, ends, faults, lingering, and closing in every callback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "abort_fixture.h"
#include "loopback_fixture.h"
#include "net/linger.h"
#include "net/stream_share.h"

enum callback { NOWHERE, IN_READY, IN_DATA, IN_EOF, IN_DRAIN, IN_FAULT };
enum verdict { CLOSE, ABORT, LINGER };

static struct loop loop;

/* A stream, what it was told, and what it shall do. */
static struct user {
    struct stream *s;
    int peer; /* the other end */
    int ready, data, eof, drain, faults;
    bool eof_clean;
    char got[300000];
    size_t n_got;
    size_t leave; /* bytes to leave of each on_data() */
    size_t most;  /* the longest run */
    bool pause_in_data, gone;
    struct stream *nested; /* is made to read inside on_data() */
    enum callback close_in;
    enum verdict how;
    struct fault fault;
} u;

static void close_how(void)
{
    u.gone = true;
    if (u.how == CLOSE)
        stream_close(u.s);
    else if (u.how == ABORT)
        stream_abort(u.s);
    else
        stream_linger(u.s);
}

static void on_ready(void *arg)
{
    assert_ptr_equal(arg, &u);
    assert_false(u.gone);
    u.ready++;
    if (u.close_in == IN_READY)
        close_how();
}

/* As if the loop called. */
static void have_read(struct stream *s)
{
    s->reads->fn(s);
}

static size_t on_data(void *arg, const char *p, size_t n)
{
    assert_ptr_equal(arg, &u);
    assert_false(u.gone);
    assert_true(n > 0);
    u.data++;
    u.most = n > u.most ? n : u.most;
    size_t used = n > u.leave ? n - u.leave : 0;
    if (u.close_in == IN_DATA)
        close_how();
    if (u.nested != NULL)
        have_read(u.nested);
    if (u.pause_in_data)
        stream_pause(u.s);
    /* Valid although the stream is closed: ASan would tell. */
    assert_true(u.n_got + used <= sizeof(u.got));
    memcpy(u.got + u.n_got, p, used);
    u.n_got += used;
    return used;
}

static void on_eof(void *arg, bool clean)
{
    assert_ptr_equal(arg, &u);
    assert_false(u.gone);
    u.eof++;
    u.eof_clean = clean;
    if (u.close_in == IN_EOF)
        close_how();
}

static void on_drain(void *arg)
{
    assert_ptr_equal(arg, &u);
    assert_false(u.gone);
    u.drain++;
    if (u.close_in == IN_DRAIN)
        close_how();
}

static void on_fault(void *arg, const struct fault *f)
{
    assert_ptr_equal(arg, &u);
    assert_false(u.gone);
    u.faults++;
    u.fault = *f;
    if (u.close_in == IN_FAULT)
        close_how();
}

static const struct stream_user user = {on_ready, on_data, on_eof, on_drain, on_fault};

static void turns(int n)
{
    while (n-- > 0)
        loop_turn(&loop, false);
}

/* A TCP pair, because a reset is to be seen. */
static void make_pair(int fd[2])
{
    struct addr bound;
    fd[1] = connect_pair(&bound, &fd[0]);
}

static int set_up(void **state)
{
    int fd[2];
    (void)state;
    memset(&u, 0, sizeof(u));
    if (!loop_init(&loop))
        return -1;
    make_pair(fd);
    u.peer = fd[1];
    u.s = stream_new(&loop, fd[0], NULL);
    stream_set_user(u.s, &user, &u);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (!u.gone)
        stream_close(u.s);
    linger_close_all(&loop);
    if (u.peer >= 0)
        close(u.peer);
    loop_clear(&loop);
    return 0;
}

static void start(void)
{
    stream_start(u.s);
    assert_int_equal(u.ready, 0);
    turns(1);
}

static void send_peer(const char *z)
{
    assert_int_equal(write(u.peer, z, strlen(z)), (ssize_t)strlen(z));
    turns(2);
}

static void tells_ready_and_data(void **state)
{
    (void)state;
    start();
    assert_int_equal(u.ready, 1);
    assert_true(stream_is_quiet(u.s, true));
    send_peer("hello");
    assert_int_equal(u.data, 1);
    assert_memory_equal(u.got, "hello", 5);
    assert_null(u.s->rest);
    assert_int_equal(u.s->bytes_in, 5);
    assert_true(stream_is_quiet(u.s, true));
}

static void gives_again_what_was_left(void **state)
{
    (void)state;
    start();
    u.leave = 3;
    send_peer("abcde");
    assert_int_equal(u.n_got, 2);
    assert_int_equal(stream_rest(u.s).len, 3);
    assert_false(stream_is_quiet(u.s, false));
    u.leave = 0;
    send_peer("fg");
    assert_int_equal(u.n_got, 7);
    assert_memory_equal(u.got, "abcdefg", 7);
    assert_int_equal(u.most, 5);
    assert_null(u.s->rest);
}

/* Through the small rest that is joined in the loop's buffer and the large one that grows. */
static void long_rest_is_one_run(void **state)
{
    (void)state;
    char block[1000];
    start();
    u.leave = SIZE_MAX;
    for (int i = 0; i < 100; i++) {
        memset(block, 'a' + i % 26, sizeof(block));
        assert_int_equal(write(u.peer, block, sizeof(block)), sizeof(block));
        turns(1);
    }
    turns(2);
    assert_int_equal(u.n_got, 0);
    assert_int_equal(stream_rest(u.s).len, 100 * sizeof(block));
    u.leave = 0;
    send_peer("!");
    assert_int_equal(u.n_got, 100 * sizeof(block) + 1);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(u.got[i * 1000 + 999], 'a' + i % 26);
    assert_int_equal(u.got[u.n_got - 1], '!');
}

static void too_long_a_rest_is_a_fault(void **state)
{
    (void)state;
    u.s->rest_max = 10;
    u.leave = SIZE_MAX;
    start();
    send_peer("0123456789");
    assert_int_equal(u.faults, 0);
    send_peer("x");
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.fault.code, FAULT_INTERNAL);
}

/* The longest run that on_data() gets of twice as much as most streams read at once. */
static size_t longest_of_many(void)
{
    static const char many[128 * 1024];
    u.most = u.n_got = 0;
    for (size_t sent = 0; u.n_got < sizeof(many);) {
        ssize_t n = send(u.peer, many + sent, sizeof(many) - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        if (sent == sizeof(many) || n < 0)
            loop_turn(&loop, false);
    }
    return u.most;
}

static void reads_as_much_as_its_user_wants(void **state)
{
    (void)state;
    start();
    assert_int_equal(longest_of_many(), loop.rcap);
    u.s->read_most = loop.rmost;
    assert_in_range(longest_of_many(), loop.rcap + 1, loop.rmost);
}

static void pause_keeps_and_resume_gives(void **state)
{
    (void)state;
    start();
    u.leave = 2;
    u.pause_in_data = true;
    send_peer("abcd");
    send_peer("efgh");
    assert_int_equal(u.data, 1);
    u.leave = 0;
    u.pause_in_data = false;
    stream_resume(u.s);
    assert_int_equal(u.data, 1);
    turns(2);
    assert_int_equal(u.n_got, 8);
    assert_memory_equal(u.got, "abcdefgh", 8);
}

/* The event stays armed where pausing and resuming fall into one turn. */
static void short_pause_keeps_the_event(void **state)
{
    (void)state;
    start();
    stream_pause(u.s);
    assert_true(u.s->reads->is_armed);
    stream_resume(u.s);
    assert_true(u.s->reads->is_armed);
    stream_pause(u.s);
    send_peer("x");
    assert_false(u.s->reads->is_armed);
    stream_resume(u.s);
    turns(2);
    assert_int_equal(u.n_got, 1);
}

static void eof_waits_for_resume(void **state)
{
    (void)state;
    start();
    u.leave = 1;
    send_peer("ab");
    stream_pause(u.s);
    shutdown(u.peer, SHUT_WR);
    turns(3);
    assert_int_equal(u.eof, 0);
    stream_resume(u.s);
    turns(2);
    assert_int_equal(u.eof, 1);
    assert_true(u.eof_clean);
    assert_int_equal(stream_rest(u.s).len, 1);
    stream_put(u.s, "still", 5);
    char buf[8];
    assert_int_equal(read(u.peer, buf, sizeof(buf)), 5);
}

/* A new user gets rest and end as if they had just come. */
static void new_user_is_told(void **state)
{
    (void)state;
    static const struct stream_user bare = {
        .on_data = on_data, .on_eof = on_eof, .on_fault = on_fault};
    start();
    u.leave = 2;
    send_peer("abc");
    shutdown(u.peer, SHUT_WR);
    turns(2);
    assert_int_equal(u.eof, 1);
    u.leave = 0;
    stream_set_user(u.s, &bare, &u);
    turns(2);
    assert_int_equal(u.eof, 2);
    assert_memory_equal(u.got, "abc", 3);
}

/* What was put in front is given before what was kept, and before the end. */
static void unread_goes_before_the_rest(void **state)
{
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        start();
        u.leave = 100;
        send_peer("def");
        if (ends == 1) {
            shutdown(u.peer, SHUT_WR);
            turns(2);
            assert_int_equal(u.eof, 1);
        }
        u.leave = 0;
        stream_unread(u.s, "abc", 3);
        assert_int_equal(u.n_got, 0);
        stream_set_user(u.s, &user, &u);
        turns(2);
        assert_int_equal(u.n_got, 6);
        assert_memory_equal(u.got, "abcdef", 6);
        assert_int_equal(u.eof, 2 * ends);
        tear_down(state);
        set_up(state);
    }
    start();
    stream_unread(u.s, "a", 1); /* nothing was kept */
    stream_unread(u.s, "b", 1);
    stream_set_user(u.s, &user, &u);
    send_peer("c");
    assert_memory_equal(u.got, "bac", 3);
}

/* The end is told again although nothing is left to be given before it. */
static void new_user_is_told_a_bare_end(void **state)
{
    (void)state;
    start();
    shutdown(u.peer, SHUT_WR);
    turns(2);
    assert_int_equal(u.eof, 1);
    stream_set_user(u.s, &user, &u);
    turns(2);
    assert_int_equal(u.eof, 2);
}

/* What was kept is taken when the end is known, and that is what pauses. */
static void end_waits_for_another_resume(void **state)
{
    (void)state;
    start();
    u.leave = 2;
    u.pause_in_data = true;
    send_peer("abcd");
    shutdown(u.peer, SHUT_WR);
    u.leave = 0;
    stream_resume(u.s);
    turns(2); /* paused again, with nothing kept */
    assert_int_equal(u.n_got, 4);
    assert_int_equal(u.eof, 0);
    stream_resume(u.s);
    turns(2);
    assert_int_equal(u.eof, 1);
}

/* Reads all that the peer has, taking turns with the loop. Gives the bytes. */
static size_t drain_peer(size_t want)
{
    static char buf[65536];
    size_t total = 0;
    fcntl(u.peer, F_SETFL, O_NONBLOCK);
    for (int idle = 0; total < want && idle < 100000;) {
        ssize_t n = read(u.peer, buf, sizeof(buf));
        if (n == 0)
            break;
        if (n < 0)
            idle++;
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal((unsigned char)buf[i], (unsigned char)((total + (size_t)i) % 251));
        total += n > 0 ? (size_t)n : 0;
        loop_turn(&loop, false);
    }
    return total;
}

static char *make_bytes(size_t n)
{
    char *p = xmalloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i % 251);
    return p;
}

static void writes_more_than_the_kernel_takes(void **state)
{
    (void)state;
    enum { SIZE = 20 * 1024 * 1024 };
    struct budget budget = {.max = 1 << 30};
    char *p = make_bytes(SIZE);
    struct evbuffer *buf = evbuffer_new();
    start();
    stream_count_in(u.s, &budget, 0);
    struct iovec v[3] = {{p, 100}, {p + 100, 0}, {p + 100, SIZE / 2 - 100}};
    stream_write(u.s, v, 3);
    assert_true(stream_pending(u.s) > 0);
    assert_int_equal(budget.used, stream_pending(u.s));
    evbuffer_add(buf, p + SIZE / 2, SIZE / 2 - 7);
    stream_write_buffer(u.s, buf);
    assert_int_equal(evbuffer_get_length(buf), 0);
    assert_int_equal(budget.used, stream_pending(u.s));
    stream_put(u.s, p + SIZE - 7, 7);
    stream_end(u.s);
    assert_int_equal(drain_peer(SIZE + 1), SIZE);
    assert_int_equal(u.drain, 1);
    assert_int_equal(budget.used, 0);
    assert_int_equal(stream_pending(u.s), 0);
    assert_int_equal(u.s->bytes_out, SIZE);
    assert_null(u.s->out);
    evbuffer_free(buf);
    free(p);
}

static void queued_before_start_is_written(void **state)
{
    (void)state;
    char buf[8];
    stream_put(u.s, "early", 5);
    assert_int_equal(stream_pending(u.s), 5);
    start();
    turns(1);
    assert_int_equal(read(u.peer, buf, sizeof(buf)), 5);
    assert_int_equal(stream_pending(u.s), 0);
}

static void reset_is_a_fault(void **state)
{
    (void)state;
    start();
    sock_set_reset(u.peer);
    close(u.peer);
    u.peer = -1;
    turns(2);
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.eof, 0);
    assert_int_equal(u.fault.code, FAULT_UP_CLOSED);
    assert_string_equal(u.fault.text, "connection reset by peer");
    assert_false(stream_is_quiet(u.s, false));
}

/* The peer has answered and then reset: the answer is read, then the fault is told. */
static void answer_before_a_reset_is_read(void **state)
{
    (void)state;
    start();
    stream_pause(u.s);
    assert_int_equal(write(u.peer, "413", 3), 3);
    turns(1);
    sock_set_reset(u.peer);
    close(u.peer);
    u.peer = -1;
    stream_put(u.s, "body", 4);
    stream_put(u.s, "body", 4);
    assert_int_equal(u.faults, 0);
    turns(2);
    assert_int_equal(u.faults, 0);
    stream_resume(u.s);
    turns(3);
    assert_memory_equal(u.got, "413", 3);
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.eof, 0);
}

/* What was kept while paused is given before a reset is told, though both come in one turn. */
static void kept_bytes_go_before_a_reset(void **state)
{
    (void)state;
    start();
    u.leave = 2;
    u.pause_in_data = true;
    send_peer("abcd");
    assert_int_equal(u.n_got, 2);
    sock_set_reset(u.peer);
    close(u.peer);
    u.peer = -1;
    u.leave = 0;
    stream_resume(u.s);
    turns(2); /* paused again, with nothing kept */
    assert_int_equal(u.n_got, 4);
    stream_resume(u.s);
    turns(2);
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.eof, 0);
}

/* Paused, and nothing is there to be read: waiting for resume would be waiting for nothing. */
static void failed_write_is_told_while_paused(void **state)
{
    (void)state;
    start();
    stream_pause(u.s);
    sock_set_reset(u.peer);
    close(u.peer);
    u.peer = -1;
    stream_put(u.s, "x", 1);
    assert_int_equal(u.faults, 0);
    turns(1);
    assert_int_equal(u.faults, 1);
}

static void fail_fast_does_not_read_on(void **state)
{
    (void)state;
    start();
    u.s->fail_fast = true;
    stream_pause(u.s);
    assert_int_equal(write(u.peer, "next", 4), 4);
    sock_set_reset(u.peer);
    close(u.peer);
    u.peer = -1;
    stream_put(u.s, "x", 1);
    turns(1);
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.data, 0);
}

static void fault_waits_for_a_user(void **state)
{
    (void)state;
    start();
    stream_set_user(u.s, NULL, NULL);
    sock_set_reset(u.peer);
    close(u.peer);
    u.peer = -1;
    stream_put(u.s, "x", 1);
    turns(2);
    assert_int_equal(u.faults, 0);
    stream_set_user(u.s, &user, &u);
    assert_int_equal(u.faults, 0);
    turns(1);
    assert_int_equal(u.faults, 1);
}

static void abort_resets(void **state)
{
    (void)state;
    char c;
    start();
    stream_abort(u.s);
    u.gone = true;
    turns(1);
    assert_int_equal(read(u.peer, &c, 1), -1);
    assert_int_equal(errno, ECONNRESET);
}

static void linger_flushes_and_drops_input(void **state)
{
    (void)state;
    enum { SIZE = 8 * 1024 * 1024 };
    char *p = make_bytes(SIZE);
    start();
    stream_put(u.s, p, SIZE);
    assert_true(stream_pending(u.s) > 0);
    stream_linger(u.s);
    u.gone = true;
    send_peer("ignored");
    assert_int_equal(drain_peer(SIZE + 1), SIZE);
    assert_int_equal(u.s->state, STREAM_LINGER);
    assert_int_equal(write(u.peer, "more", 4), 4);
    turns(2);
    assert_int_equal(u.s->state, STREAM_LINGER);
    struct stream *s = u.s;
    shutdown(u.peer, SHUT_WR);
    /* Reaped in the turn that closes it: look before that. */
    assert_int_equal(s->state, STREAM_LINGER);
    turns(2);
    free(p);
}

/* Nothing but a huge amount of input, one turn at a time. */
static void reading_is_fair(void **state)
{
    (void)state;
    enum { SIZE = 290000 };
    int size = 1 << 20;
    static char block[SIZE];
    setsockopt(u.peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    start();
    size_t sent = 0;
    while (sent < SIZE) {
        ssize_t n = write(u.peer, block + sent, SIZE - sent);
        sent += n > 0 ? (size_t)n : 0;
        size_t before = u.n_got;
        turns(1);
        assert_true(u.n_got - before <= 256 * 1024);
    }
    turns(5);
    assert_int_equal(u.n_got, SIZE);
}

/* Another stream that reads while this one's bytes are in use. */
static void read_inside(void)
{
    u.leave = u.pause_in_data ? 3 : 0;
    send_peer("abcde");
}

static void give_rest_and_read_inside(void)
{
    u.pause_in_data = false;
    stream_resume(u.s);
    turns(1);
}

/* Whatever its own bytes lie in, and whatever the other one does. */
static void reading_inside_a_callback_is_the_end(void **state)
{
    char text[512];
    int fd[2];
    (void)state;
    make_pair(fd);
    struct stream *other = stream_new(&loop, fd[0], NULL);
    stream_set_user(other, &user, &u);
    stream_start(other);
    start();
    assert_int_equal(write(fd[1], "x", 1), 1);
    u.nested = other;
    assert_true(aborts(read_inside, text, sizeof(text)));
    assert_non_null(
        strstr(text, "the buffer that streams read into is claimed while it is in use"));
    u.nested = NULL;
    u.pause_in_data = true;
    read_inside();
    u.nested = other;
    assert_true(aborts(give_rest_and_read_inside, text, sizeof(text)));
    u.nested = NULL;
    stream_close(other);
    close(fd[1]);
}

/* What was asked for in a callback is read when that has returned. */
static void reads_soon(void **state)
{
    (void)state;
    start();
    assert_int_equal(write(u.peer, "abc", 3), 3);
    fd_event_disarm(u.s->reads); /* it is not the event that tells */
    stream_read_soon(u.s);
    assert_int_equal(u.n_got, 0);
    turns(1);
    assert_int_equal(u.n_got, 3);
    stream_pause(u.s);
    stream_read_soon(u.s);
    assert_int_equal(write(u.peer, "def", 3), 3);
    turns(2);
    assert_int_equal(u.n_got, 3);
    stream_read_soon(u.s);
    close_how(); /* nothing comes after it */
    turns(2);
    assert_int_equal(u.n_got, 3);
}

/* Drives a stream until each callback has had its chance to close it. */
static void drive(void)
{
    enum { SIZE = 8 * 1024 * 1024 };
    char *p = make_bytes(SIZE);
    stream_start(u.s);
    turns(1);
    /* Fails where the stream has gone already. */
    ssize_t ignored = send(u.peer, "some data", 9, MSG_NOSIGNAL);
    (void)ignored;
    turns(2);
    if (!u.gone)
        stream_put(u.s, p, SIZE);
    if (!u.gone || u.how == LINGER)
        drain_peer(u.gone ? 0 : SIZE);
    free(p);
    turns(2);
    if (u.close_in == IN_EOF) {
        shutdown(u.peer, SHUT_WR);
    } else {
        sock_set_reset(u.peer);
        close(u.peer);
        u.peer = -1;
    }
    turns(3);
}

static void closes_in_every_callback(void **state)
{
    for (int how = CLOSE; how <= LINGER; how++) {
        for (int in = IN_READY; in <= IN_FAULT; in++) {
            u.close_in = (enum callback)in;
            u.how = (enum verdict)how;
            drive();
            assert_true(u.gone);
            tear_down(state);
            assert_int_equal(set_up(state), 0);
        }
    }
}

/* What a user may do at any time, in any order: each byte is given in its place, and each end is
 * told, once. An illegal move of a state ends the process. */
static struct {
    struct stream *s; /* NULL: closed */
    int told;         /* on_eof() and on_fault() since the user was set */
    size_t n_got, n_sent;
} any;

static size_t any_data(void *arg, const char *p, size_t n)
{
    (void)arg;
    assert_int_equal(any.told, 0);
    size_t used = (size_t)rand() % (n + 1);
    for (size_t i = 0; i < used; i++)
        assert_int_equal((unsigned char)p[i], (any.n_got + i) % 251);
    any.n_got += used;
    if (rand() % 3 == 0)
        stream_pause(any.s);
    if (rand() % 6 == 0)
        stream_resume(any.s);
    if (rand() % 6 == 0)
        stream_put(any.s, p, used);
    return used;
}

static void any_eof(void *arg, bool clean)
{
    (void)arg;
    assert_true(clean);
    assert_int_equal(any.told++, 0);
    if (rand() % 4 == 0)
        stream_read_soon(any.s);
}

static void any_fault(void *arg, const struct fault *f)
{
    (void)arg;
    (void)f;
    assert_true(any.told++ < 2); /* a write may fail behind the end */
}

static const struct stream_user any_user = {
    .on_data = any_data, .on_eof = any_eof, .on_fault = any_fault};

static void any_step(int peer, char *bytes)
{
    size_t n = 1 + (size_t)rand() % 30000;
    ssize_t done;
    switch (rand() % 20) {
    case 0:
        stream_set_user(any.s, NULL, NULL);
        break;
    case 1:
    case 2:
        any.told = 0;
        stream_set_user(any.s, &any_user, NULL);
        break;
    case 3:
        stream_pause(any.s);
        break;
    case 4:
    case 5:
    case 6:
        stream_resume(any.s);
        break;
    case 7:
        stream_read_soon(any.s);
        break;
    case 8:
        stream_put(any.s, bytes, n * 10);
        break;
    case 9:
        if (rand() % 8 == 0)
            stream_end(any.s);
        break;
    case 10:
        if (rand() % 8 == 0)
            shutdown(peer, SHUT_WR);
        break;
    case 11:
        if (rand() % 8 == 0)
            shutdown(peer, SHUT_RD);
        break;
    case 12:
        (void)stream_is_quiet(any.s, true);
        break;
    case 13:
        while (recv(peer, bytes + 300000, 65536, MSG_DONTWAIT) > 0)
            continue;
        break;
    default:
        done = send(peer, bytes + any.n_sent % 251, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        any.n_sent += done > 0 ? (size_t)done : 0;
        turns(1);
    }
}

/* The peer has gone: whoever takes all that is given hears of it. */
static void any_ends(void)
{
    any.told = 0;
    stream_set_user(any.s, &any_user, NULL);
    for (int i = 0; i < 1000 && any.told == 0; i++) {
        stream_resume(any.s);
        turns(1);
    }
    assert_true(any.told > 0);
}

static void calls_in_any_order(void **state)
{
    (void)state;
    char *bytes = xmalloc(400000);
    for (unsigned seed = 0; seed < 400; seed++) {
        int fd[2];
        srand(seed);
        for (size_t i = 0; i < 400000; i++)
            bytes[i] = (char)(i % 251);
        make_pair(fd);
        memset(&any, 0, sizeof(any));
        any.s = stream_new(&loop, fd[0], NULL);
        stream_set_user(any.s, &any_user, NULL);
        stream_start(any.s);
        for (int i = 0; i < 200; i++)
            any_step(fd[1], bytes);
        if (seed % 3 == 0)
            sock_set_reset(fd[1]);
        if (seed % 2 == 0)
            close(fd[1]);
        turns(2);
        if (seed % 4 == 0)
            any_ends();
        if (seed % 5 == 0)
            stream_linger(any.s);
        else
            stream_close(any.s);
        turns(2);
        if (seed % 2 != 0)
            close(fd[1]);
        turns(2);
    }
    free(bytes);
}

static void close_is_idempotent(void **state)
{
    (void)state;
    stream_close(NULL);
    stream_close(u.s);
    stream_close(u.s);
    stream_linger(u.s);
    stream_abort(u.s);
    stream_put(u.s, "x", 1);
    stream_end(u.s);
    u.gone = true;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(tells_ready_and_data),
        TEST(gives_again_what_was_left),
        TEST(long_rest_is_one_run),
        TEST(too_long_a_rest_is_a_fault),
        TEST(reads_as_much_as_its_user_wants),
        TEST(pause_keeps_and_resume_gives),
        TEST(short_pause_keeps_the_event),
        TEST(eof_waits_for_resume),
        TEST(new_user_is_told),
        TEST(new_user_is_told_a_bare_end),
        TEST(end_waits_for_another_resume),
        TEST(writes_more_than_the_kernel_takes),
        TEST(queued_before_start_is_written),
        TEST(reset_is_a_fault),
        TEST(answer_before_a_reset_is_read),
        TEST(kept_bytes_go_before_a_reset),
        TEST(failed_write_is_told_while_paused),
        TEST(unread_goes_before_the_rest),
        TEST(fail_fast_does_not_read_on),
        TEST(fault_waits_for_a_user),
        TEST(abort_resets),
        TEST(linger_flushes_and_drops_input),
        TEST(reading_is_fair),
        TEST(reading_inside_a_callback_is_the_end),
        TEST(reads_soon),
        TEST(closes_in_every_callback),
        TEST(calls_in_any_order),
        TEST(close_is_idempotent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
