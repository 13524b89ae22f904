/* SPDX-License-Identifier: Apache-2.0 */
/* The output side of a stream: written at once where the kernel takes it; what it does not take
 * waits in `out`, and the event to write is armed just as long. */
#include "net/stream_impl.h"

#include <stdlib.h>

#include "net/linger.h"

enum { WRITE_PIECES = 16 }; /* runs of bytes given to the transport at once */

void stream_arm_write(struct stream *s)
{
    if (s->writes == NULL) {
        s->writes = fd_event_new(s->loop, s->line.fd, EV_WRITE);
        fd_event_give(s->writes, stream_on_writable, s);
    }
    fd_event_arm(s->writes);
}

void stream_disarm_write(struct stream *s)
{
    fd_event_disarm(s->writes);
}

/* What waits is written when the socket takes it; or when the peer has said what it must say first,
 * until when an event would come again and again for nothing. */
static void await(struct stream *s)
{
    if (!s->line.want_read)
        stream_arm_write(s);
    else if (!s->line.want_write)
        stream_disarm_write(s);
}

void stream_drop_out(struct stream *s)
{
    if (s->out == NULL)
        return;
    evbuffer_free(s->out);
    s->out = NULL;
    stream_recount(s);
}

/* Only for what has to wait: most streams never get one. */
static void make_out(struct stream *s)
{
    if (s->out != NULL)
        return;
    s->out = evbuffer_new();
    if (s->out == NULL)
        abort();
}

/* A write has failed. The peer may have answered before it closed: that is read first. */
static void write_failed(struct stream *s)
{
    line_settle(&s->line);
    if (s->line.is_cut) {
        stream_set_output(s, OUTPUT_LOST);
        stream_disarm_write(s);
        stream_drop_out(s);
    } else {
        stream_die(s);
    }
    loop_post(s->loop, &s->later);
}

/* Appends what is left of IOV behind its first SKIP bytes. */
static void queue(struct stream *s, const struct iovec *iov, int n, size_t skip)
{
    for (int i = 0; i < n; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t len = iov[i].iov_len - skip;
        make_out(s);
        if (evbuffer_add(s->out, (const char *)iov[i].iov_base + skip, len) < 0)
            abort();
        skip = 0;
    }
    stream_recount(s);
}

/* Tries to write the head of BUF. False when the kernel is full or the write failed. */
static bool write_some(struct stream *s, struct evbuffer *buf, size_t *total)
{
    struct iovec v[WRITE_PIECES];
    size_t sum = 0;
    int n = evbuffer_peek(buf, -1, NULL, v, WRITE_PIECES);
    n = n < WRITE_PIECES ? n : WRITE_PIECES;
    for (int i = 0; i < n; i++)
        sum += v[i].iov_len;
    s->line.want_read = false;
    ssize_t done = s->wire->ops->write(s->wire, v, n);
    if (done == WIRE_FAIL)
        write_failed(s);
    if (done <= 0)
        return false;
    evbuffer_drain(buf, (size_t)done);
    s->bytes_out += (uint64_t)done;
    *total += (size_t)done;
    return (size_t)done == sum;
}

void stream_end_output(struct stream *s)
{
    if (s->output != OUTPUT_ENDS || s->out != NULL)
        return;
    int r = s->wire->ops->shutdown(s->wire);
    if (r == WIRE_AGAIN) {
        stream_arm_write(s);
        return;
    }
    if (r == WIRE_FAIL) {
        write_failed(s);
        return;
    }
    stream_set_output(s, OUTPUT_ENDED);
    if (!s->line.want_write)
        stream_disarm_write(s);
    if (s->state != STREAM_LINGER)
        return;
    if (s->input >= INPUT_ENDS_GIVES)
        stream_close(s);
    else
        deadline_set(&s->lingering->timer, STREAM_LINGER_MS);
}

void stream_flush(struct stream *s)
{
    size_t total = 0;
    if (s->out == NULL)
        return;
    while (evbuffer_get_length(s->out) > 0 && total < STREAM_TURN_BYTES) {
        bool more = write_some(s, s->out, &total);
        stream_recount(s);
        /* Then `out` is gone, and the post tells. */
        if (s->line.fault != NULL)
            return;
        if (!more)
            break;
    }
    /* However slowly, the peer takes it. */
    if (s->state == STREAM_LINGER && total > 0)
        deadline_set(&s->lingering->timer, STREAM_LINGER_FLUSH_MS);
    if (evbuffer_get_length(s->out) > 0) {
        await(s);
        return;
    }
    stream_drop_out(s);
    if (!s->line.want_write)
        stream_disarm_write(s);
    stream_end_output(s);
    /* Last, for the user may close the stream. */
    if (s->state == STREAM_OPEN && s->user != NULL && s->user->on_drain != NULL)
        s->user->on_drain(s->arg);
}

void stream_write(struct stream *s, const struct iovec *iov, int n)
{
    if (s->state > STREAM_OPEN || s->output != OUTPUT_OPEN)
        return;
    ssize_t done = 0;
    /* What waits already goes first. */
    if (s->state == STREAM_OPEN && s->out == NULL) {
        s->line.want_read = false;
        done = s->wire->ops->write(s->wire, iov, n);
        if (done == WIRE_FAIL) {
            write_failed(s);
            return;
        }
        done = done < 0 ? 0 : done;
        s->bytes_out += (uint64_t)done;
    }
    queue(s, iov, n, (size_t)done);
    if (s->out != NULL && s->state == STREAM_OPEN)
        await(s);
}

void stream_put(struct stream *s, const char *p, size_t n)
{
    struct iovec v = {.iov_base = (char *)p, .iov_len = n};
    if (n > 0)
        stream_write(s, &v, 1);
}

void stream_write_buffer(struct stream *s, struct evbuffer *buf)
{
    size_t total = 0;
    bool tries = s->state == STREAM_OPEN && s->output == OUTPUT_OPEN && s->out == NULL;
    while (tries && evbuffer_get_length(buf) > 0)
        tries = write_some(s, buf, &total);
    size_t left = evbuffer_get_length(buf);
    if (s->state > STREAM_OPEN || s->output != OUTPUT_OPEN) {
        evbuffer_drain(buf, left);
        return;
    }
    if (left == 0)
        return;
    /* Moved by reference, not copied. */
    make_out(s);
    if (evbuffer_add_buffer(s->out, buf) < 0)
        abort();
    stream_recount(s);
    if (s->state == STREAM_OPEN)
        await(s);
}

size_t stream_pending(const struct stream *s)
{
    return s->out == NULL ? 0 : evbuffer_get_length(s->out);
}

void stream_end(struct stream *s)
{
    if (s->state > STREAM_OPEN || s->output != OUTPUT_OPEN)
        return;
    stream_set_output(s, OUTPUT_ENDS);
    if (s->state == STREAM_OPEN)
        stream_end_output(s);
}
