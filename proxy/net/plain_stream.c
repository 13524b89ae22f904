/* SPDX-License-Identifier: Apache-2.0 */
/* The plain transport of a stream: system calls, and what they say in the words of stream_ops. */
#include "net/stream_impl.h"

#include <errno.h>

static ssize_t plain_read(struct stream *s, char *p, size_t n)
{
    if (s->drained)
        return STREAM_AGAIN;
    ssize_t got = recv(s->fd, p, n, 0);
    if (got > 0) {
        s->drained = (size_t)got < n;
        return got;
    }
    if (got == 0) {
        s->eof_clean = true;
        return STREAM_EOF;
    }
    if (errno == EAGAIN || errno == EINTR) {
        s->drained = true;
        return STREAM_AGAIN;
    }
    stream_set_errno(s, errno);
    return STREAM_FAIL;
}

static ssize_t plain_write(struct stream *s, const struct iovec *iov, int n)
{
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
    ssize_t done = sendmsg(s->fd, &m, MSG_NOSIGNAL);
    if (done >= 0)
        return done;
    if (errno == EAGAIN || errno == EINTR)
        return STREAM_AGAIN;
    stream_set_errno(s, errno);
    return STREAM_FAIL;
}

static int plain_shutdown(struct stream *s)
{
    /* What went wrong here shows when reading ends. */
    shutdown(s->fd, SHUT_WR);
    return 0;
}

const struct stream_ops stream_plain_ops = {
    .read = plain_read,
    .write = plain_write,
    .shutdown = plain_shutdown,
};
