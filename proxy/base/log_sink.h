/* SPDX-License-Identifier: Apache-2.0 */
/* Where lines of the logs end. A sink is asked (poll(2), or a send that does not wait) before it
 * gets a piece that it takes whole: at most PIPE_BUF bytes, cut at a line end. O_NONBLOCK is not
 * set on what was given to us, because others share it. Not thread safe: log.c has a lock. */
#ifndef TLSFAN_BASE_LOG_SINK_H
#define TLSFAN_BASE_LOG_SINK_H

#include "base/str.h"

/* How a sink is asked whether it takes more. */
enum sink_kind {
    SINK_NEW,      /* not looked at yet */
    SINK_OFF,      /* takes nothing, and nothing counts as dropped */
    SINK_REGULAR,  /* a file: always takes, or fails at once */
    SINK_SOCKET,   /* a stream socket, as journald's */
    SINK_POLLED,   /* pipe or device */
    SINK_TERMINAL, /* by a descriptor of its own, which does not wait */
    SINK_SYSLOG    /* datagrams to /dev/log, one a line */
};

struct sink {
    enum sink_kind kind;
    int fd;          /* borrowed, but of SINK_SYSLOG */
    int own;         /* of SINK_TERMINAL; 0: none */
    bool is_torn;    /* the last line was cut; the next one begins with a line feed */
    bool is_journal; /* of systemd: it wants priorities, and stamps lines itself */
};

/* Finds out what is behind S->fd, where the kind is SINK_NEW. */
void sink_look(struct sink *s);
/* Closes what S has opened, and FD, too, where that is owned. It is SINK_OFF then. */
void sink_close(struct sink *s, bool is_owned);

/* Whole lines, which are dropped where S does not take them. Gives how many were; WHY gets errno
 * then, 0 where S takes no more for the moment. */
unsigned sink_write(struct sink *s, const char *p, size_t n, int *why);

/* Of a terminal, as it is now; 0: not known, or it is none. FD may be any. */
unsigned sink_columns(int fd);

#endif
