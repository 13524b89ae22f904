/* SPDX-License-Identifier: Apache-2.0 */
/* The wire over a descriptor: system calls, and what they say in the words of wire_ops; and what
 * goes for a pile of wires. */
#include "net/wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- the descriptor ---- */

static ssize_t plain_read(struct wire *w, char *p, size_t n)
{
    struct line *l = w->line;
    if (l->drained)
        return WIRE_AGAIN;
    ssize_t got = recv(l->fd, p, n, 0);
    if (got > 0) {
        l->drained = (size_t)got < n;
        return got;
    }
    if (got == 0) {
        l->eof_clean = true;
        return WIRE_EOF;
    }
    if (errno == EAGAIN || errno == EINTR) {
        l->drained = true;
        return WIRE_AGAIN;
    }
    l->err = errno;
    return WIRE_FAIL;
}

static ssize_t plain_write(struct wire *w, const struct iovec *iov, int n)
{
    struct line *l = w->line;
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
    ssize_t done = n == 1 ? send(l->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                          : sendmsg(l->fd, &m, MSG_NOSIGNAL);
    if (done >= 0)
        return done;
    if (errno == EAGAIN || errno == EINTR)
        return WIRE_AGAIN;
    l->err = errno;
    return WIRE_FAIL;
}

static int plain_shutdown(struct wire *w)
{
    /* What went wrong here shows when reading ends. */
    shutdown(w->line->fd, SHUT_WR);
    return 0;
}

const struct wire_ops wire_plain_ops = {
    .read = plain_read,
    .write = plain_write,
    .shutdown = plain_shutdown,
};

/* ---- any wire ---- */

void wire_put_back(struct wire *w, char *p, size_t n)
{
    w->unread = p;
    w->unread_len = n;
    w->unread_at = 0;
    w->line->unread += n;
}

void wire_unread(struct wire *w, const char *p, size_t n)
{
    if (w->unread != NULL) { /* they are from there, and there is more behind them */
        w->unread_at -= n;
        return;
    }
    wire_put_back(w, memcpy(xmalloc(n), p, n), n);
}

ssize_t wire_read_again(struct wire *w, char *p, size_t n)
{
    size_t left = w->unread_len - w->unread_at;
    n = n < left ? n : left;
    memcpy(p, w->unread + w->unread_at, n);
    w->unread_at += n;
    if (n < left)
        return (ssize_t)n;
    w->line->unread -= w->unread_len;
    free(w->unread);
    w->unread = NULL;
    return (ssize_t)n;
}

bool wire_pile_has_buffered(struct wire *w)
{
    /* The descriptor at the bottom has none. */
    for (; w->below != NULL; w = w->below) {
        if (w->ops->has_buffered(w))
            return true;
    }
    return false;
}

bool wire_pile_is_amid(const struct wire *w)
{
    for (; w->below != NULL; w = w->below) {
        if (w->ops->is_amid(w))
            return true;
    }
    return false;
}

void wire_close(struct wire *w, bool is_well)
{
    for (; w != NULL; w = w->below) {
        if (w->ops->close != NULL)
            w->ops->close(w, is_well);
    }
}

void wire_free(struct wire *w)
{
    while (w != NULL) {
        struct wire *below = w->below;
        free(w->unread);
        if (w->ops->free != NULL)
            w->ops->free(w);
        w = below;
    }
}

/* ---- faults ---- */

void line_set_fault(struct line *l, enum fault_code code, const char *fmt, ...)
{
    va_list args;
    if (l->fault != NULL)
        return;
    va_start(args, fmt);
    l->fault = xmalloc(sizeof(*l->fault));
    fault_vset(l->fault, code, fmt, args);
    va_end(args);
}

void line_copy_fault(struct line *l, const struct fault *f)
{
    if (l->fault != NULL)
        return;
    l->fault = xmalloc(sizeof(*l->fault));
    *l->fault = *f;
}

static void line_set_errno(struct line *l, int err)
{
    l->is_cut = err == EPIPE || err == ECONNRESET;
    line_set_fault(l, FAULT_UP_CLOSED, "%s",
                   err == ECONNRESET ? "connection reset by peer"
                   : err == EPIPE    ? "connection closed by peer while it was written to"
                                     : strerror(err));
}

void line_settle(struct line *l)
{
    if (l->fault == NULL)
        line_set_errno(l, l->err == 0 ? EPIPE : l->err);
}
