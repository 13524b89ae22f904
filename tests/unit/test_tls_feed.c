/* SPDX-License-Identifier: Apache-2.0 */
/* Records one by one out of what one read brings: which bytes are handed over at once, where the
 * others wait, and that none is lost, however they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "net/tls_feed.h"

enum { ROOM = 64 * 1024, ASKED = FEED_RECORD + 512 };

/* The wire beneath: STEP bytes of SENT at each read. */
static struct line line;
static char sent[256 * 1024];
static size_t n_sent, at, step;
static unsigned reads;

static ssize_t below_read(struct wire *w, char *p, size_t n)
{
    (void)w;
    reads++;
    if (at == n_sent)
        return WIRE_AGAIN;
    n = n < step ? n : step;
    n = n < n_sent - at ? n : n_sent - at;
    memcpy(p, sent + at, n);
    at += n;
    return (ssize_t)n;
}

static const struct wire_ops below_ops = {.read = below_read};
static struct wire below = {.ops = &below_ops, .line = &line};

static int set_up(void **state)
{
    (void)state;
    n_sent = at = 0;
    step = SIZE_MAX;
    reads = 0;
    line.unread = 0;
    return 0;
}

/* A record with LEN bytes behind its header, whose last one is MARK. */
static void send_record(size_t len, char mark)
{
    const unsigned char header[] = {23, 3, 3, (unsigned char)(len >> 8), (unsigned char)len};
    memcpy(sent + n_sent, header, sizeof(header));
    memset(sent + n_sent + sizeof(header), 'x', len);
    n_sent += sizeof(header) + len;
    if (len > 0)
        sent[n_sent - 1] = mark;
}

/* Takes all that comes in pieces of ASK bytes at most and gives how many pieces they were; as if
 * half of a record came out of it. */
static unsigned take_all(struct tls_feed *f, char *room, size_t n_room, size_t ask)
{
    static char got[sizeof(sent)];
    char piece[ASKED];
    size_t n_got = 0;
    size_t out = 0;
    unsigned pieces = 0;
    for (;;) {
        size_t gap = feed_gap(f, room + out, n_room - out);
        ssize_t n = feed_read(f, &below, piece, ask);
        if (n == WIRE_AGAIN)
            break;
        assert_true(n > 0 && (size_t)n <= ask);
        assert_memory_equal(piece, sent + n_got, n);
        memcpy(got + n_got, piece, (size_t)n);
        n_got += (size_t)n;
        pieces++;
        size_t come = (size_t)n / 2 < gap ? (size_t)n / 2 : gap;
        memset(room + out, 'o', come); /* must not reach what waits */
        out += come;
    }
    assert_int_equal(n_got, n_sent);
    assert_memory_equal(got, sent, n_got);
    return pieces;
}

static void test_one_record_a_piece(void **state)
{
    (void)state;
    struct tls_feed f = {.has_many = true};
    char *room = xmalloc(ROOM);
    for (int i = 0; i < 30; i++)
        send_record((size_t)i * 40, 'a');
    assert_int_equal(take_all(&f, room, ROOM, ASKED), 30);
    assert_int_equal(reads, 2);
    free(room);
}

/* Wherever the kernel, or who asks, cuts it. */
static void test_any_cut(void **state)
{
    (void)state;
    char *room = xmalloc(ROOM);
    for (step = 1; step < 64; step++) {
        struct tls_feed f = {.has_many = true};
        n_sent = at = 0;
        for (int i = 0; i < 12; i++)
            send_record((size_t)(i * 7 % 40), 'a');
        take_all(&f, room, ROOM, 1 + step % 9);
        assert_int_equal(f.n_header + f.left, 0); /* it ends between two records */
    }
    free(room);
}

/* From the first byte of a record until its last one has been given. */
static void test_amid(void **state)
{
    (void)state;
    struct tls_feed f = {0};
    char byte;
    step = 1;
    for (size_t len = 0; len < 3; len++) {
        n_sent = at = 0;
        send_record(len, 'a');
        assert_false(feed_is_amid(&f));
        while (feed_read(&f, &below, &byte, 1) == 1)
            assert_int_equal(feed_is_amid(&f), at < n_sent);
    }
}

/* What OpenSSL reads by itself, in the handshake, is counted as well. */
static void test_in_step_behind_handshake(void **state)
{
    (void)state;
    struct tls_feed f = {0};
    char piece[ASKED];
    char *room = xmalloc(ROOM);
    for (int i = 0; i < 3; i++)
        send_record(100, 'h');
    send_record(200, 'a');
    size_t cut = n_sent - 50;
    send_record(300, 'b');
    send_record(400, 'c');
    step = cut;
    assert_int_equal(feed_read(&f, &below, piece, sizeof(piece)), cut);
    step = SIZE_MAX;
    assert_int_equal(feed_gap(&f, room, ROOM), FEED_RECORD);
    assert_int_equal(feed_read(&f, &below, piece, sizeof(piece)), 50);
    assert_int_equal(piece[49], 'a');
    assert_int_equal(feed_read(&f, &below, piece, sizeof(piece)), 305);
    assert_int_equal(piece[304], 'b');
    assert_int_equal(feed_read(&f, &below, piece, sizeof(piece)), 405);
    assert_int_equal(reads, 2);
    free(room);
}

/* One by one, records go to OpenSSL without a stop here. */
static void test_one_at_a_time(void **state)
{
    (void)state;
    struct tls_feed f = {.has_many = true};
    char piece[ASKED];
    char *room = xmalloc(ROOM);
    step = 105;
    for (int i = 0; i < 4; i++)
        send_record(100, 'a');
    for (int i = 0; i < 2; i++) {
        feed_gap(&f, room, ROOM);
        assert_int_equal(f.room == NULL, i > 0);
        assert_int_equal(feed_read(&f, &below, piece, sizeof(piece)), 105);
        assert_false(f.has_many);
    }
    step = 210;
    assert_int_equal(feed_read(&f, &below, piece, sizeof(piece)), 210);
    feed_gap(&f, room, ROOM);
    assert_non_null(f.room);
    free(room);
}

/* The gap is what is free in front of what waits; little room is not shared. */
static void test_gap(void **state)
{
    (void)state;
    struct tls_feed f = {.has_many = true};
    char piece[ASKED];
    char *room = xmalloc(ROOM);
    send_record(100, 'a');
    send_record(100, 'b');
    assert_int_equal(feed_gap(&f, room, 100), 100);
    assert_null(f.room);
    assert_int_equal(feed_gap(&f, room, 2 * FEED_RECORD - 1), 2 * FEED_RECORD - 1);
    assert_null(f.room);
    assert_int_equal(feed_gap(&f, room, 2 * FEED_RECORD), FEED_RECORD);
    assert_int_equal(feed_read(&f, &below, piece, sizeof(piece)), 105);
    assert_int_equal(feed_gap(&f, room, 2 * FEED_RECORD), FEED_RECORD + 105);
    assert_int_equal(feed_gap(&f, room, 10), 10);
    assert_int_equal(feed_gap(&f, room + FEED_RECORD + 105, FEED_RECORD - 105), 0);
    feed_end(&f, &below);
    assert_int_equal(line.unread, 105);
    assert_int_equal(feed_gap(&f, room, 0), 0);
    assert_int_equal(feed_read(&f, &below, piece, sizeof(piece)), 105);
    assert_int_equal(line.unread, 0);
    free(room);
}

/* PART of a record is in OpenSSL already, so what waits is that much nearer: little, but never no
 * room is left for what comes out of the next ones, and that does not reach what waits. */
static void take_behind(size_t part, char *room, size_t n_room)
{
    enum { BEYOND = FEED_HEADER + 17, WHOLE = FEED_RECORD + BEYOND, MANY = 10 };
    struct tls_feed f = {0};
    char piece[ASKED];
    n_sent = at = 0;
    send_record(100, 'h');
    step = n_sent + part;
    for (int i = 0; i < MANY; i++)
        send_record(WHOLE - FEED_HEADER, (char)('a' + i));
    size_t given = (size_t)feed_read(&f, &below, piece, sizeof(piece));
    step = SIZE_MAX;
    size_t out = 0;
    for (size_t inside = 0; given < n_sent || inside > 0;) {
        size_t gap = feed_gap(&f, room + out, n_room - out);
        assert_true(gap > 0);
        if (inside == 0) {
            size_t n = (size_t)feed_read(&f, &below, piece, sizeof(piece));
            assert_int_equal(n, out == 0 ? WHOLE - part : WHOLE);
            assert_memory_equal(piece, sent + given, n);
            given += n;
            inside = FEED_RECORD;
        }
        if (out == FEED_RECORD)
            assert_int_equal(gap, WHOLE - part);
        size_t come = inside < gap ? inside : gap;
        memset(room + out, 'o', come);
        out += come;
        inside -= come;
    }
    assert_int_equal(out, MANY * FEED_RECORD);
}

static void test_gap_behind_part(void **state)
{
    (void)state;
    static const size_t parts[] = {1,    FEED_HEADER, FEED_HEADER + 17,
                                   1000, FEED_RECORD, FEED_RECORD + FEED_HEADER + 16};
    size_t n_room = 12 * FEED_RECORD;
    char *room = xmalloc(n_room);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        take_behind(parts[i], room, n_room);
    free(room);
}

/* OpenSSL asks until it has the whole of a record, of which a part was at the end of what was read.
 * What has come out until then is not touched. */
static void test_record_in_two_reads(void **state)
{
    (void)state;
    struct tls_feed f = {.has_many = true};
    char piece[ASKED];
    char *room = xmalloc(ROOM);
    for (int i = 0; i < 4; i++)
        send_record(FEED_RECORD, (char)('a' + i));
    size_t out = 0;
    for (int i = 0; i < 3; i++) {
        size_t gap = feed_gap(&f, room + out, ROOM - out);
        for (ssize_t n = 0; n < FEED_RECORD + FEED_HEADER;)
            n += feed_read(&f, &below, piece, sizeof(piece));
        assert_true(gap >= FEED_RECORD);
        assert_true(f.n_waits == 0 || f.waits >= room + out + gap);
        for (size_t k = 0; k < out; k++)
            assert_int_equal(room[k], 'o');
        memset(room + out, 'o', FEED_RECORD);
        out += FEED_RECORD;
    }
    free(room);
}

/* What waits at the end is read again, in its place: once, twice, and behind what was put back. */
static void test_end(void **state)
{
    (void)state;
    struct tls_feed f = {.has_many = true};
    char piece[ASKED];
    char *room = xmalloc(ROOM);
    for (int i = 0; i < 4; i++)
        send_record(FEED_RECORD / 2, (char)('a' + i));
    for (int i = 0; i < 4; i++) {
        size_t n_room = i == 1 ? 2 * FEED_RECORD : ROOM; /* less than was put back */
        feed_gap(&f, room, n_room);
        ssize_t n = feed_read(&f, &below, piece, sizeof(piece));
        assert_int_equal(n, FEED_RECORD / 2 + FEED_HEADER);
        assert_int_equal(piece[n - 1], 'a' + i);
        feed_end(&f, &below);
        memset(room, 0, ROOM); /* it is not ours any more */
    }
    feed_gap(&f, room, ROOM);
    assert_int_equal(feed_read(&f, &below, piece, sizeof(piece)), WIRE_AGAIN);
    assert_int_equal(line.unread, 0);
    assert_null(below.unread);
    free(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_one_record_a_piece, set_up),
        cmocka_unit_test_setup(test_any_cut, set_up),
        cmocka_unit_test_setup(test_amid, set_up),
        cmocka_unit_test_setup(test_in_step_behind_handshake, set_up),
        cmocka_unit_test_setup(test_one_at_a_time, set_up),
        cmocka_unit_test_setup(test_gap, set_up),
        cmocka_unit_test_setup(test_gap_behind_part, set_up),
        cmocka_unit_test_setup(test_record_in_two_reads, set_up),
        cmocka_unit_test_setup(test_end, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
