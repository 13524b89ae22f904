/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors as a budget, made once at start from the limit of this process.
 *
 *     0 .................. mark .......................... limit
 *       clients, origins        the service listener, connections that linger,
 *                               names, logs, a reload
 *
 * The kernel gives the lowest number that is free: a new descriptor of number N shows that N others
 * are open. So whoever may not use what is kept for others looks at the number of what it has just
 * got, and nothing has to be counted. Of what is below the mark, clients may have two thirds; the
 * rest is for connections to origins, which also have whatever clients leave. */
#ifndef TLSFAN_BASE_FDS_H
#define TLSFAN_BASE_FDS_H

#include <stdbool.h>
#include <stddef.h>

struct fds {
    unsigned limit;     /* descriptors of the process */
    unsigned mark;      /* what has this number or a higher one is kept, as said above */
    unsigned clients;   /* connections of clients at once */
    unsigned idle;      /* connections to origins that carry nothing, of all workers */
    unsigned lingering; /* connections that linger, of one worker */
    unsigned service;   /* connections to the service listener, with FDS_GUESTS beside them */
};

enum { FDS_GUESTS = 16 }; /* connections to the service listener for health checks alone */

/* What a person can do where descriptors are used up. */
#define FDS_ADVICE \
    "raise the limit: LimitNOFILE= of a systemd unit, ulimit -n of a shell, nofile of a container"

/* Shares LIMIT out among WORKERS threads, each with a socket of LISTENERS, and the service's. */
void fds_plan(struct fds *f, unsigned limit, unsigned workers, unsigned listeners);
/* A limit with which fds_plan() gives CLIENTS; the least one but for a few. */
unsigned fds_need(unsigned clients, unsigned workers, unsigned listeners);

/* Raises the soft limit to the hard one, and makes its plan the one in force. Before there is a
 * second thread. Without it nothing is short. */
void fds_init(unsigned workers, unsigned listeners);
/* The plan in force. */
const struct fds *fds_budget(void);

/* How many clients there may be of MAX that are wanted. */
static inline unsigned fds_clients(unsigned max)
{
    return max < fds_budget()->clients ? max : fds_budget()->clients;
}

/* True for a descriptor that clients and connections to origins must not have. */
bool fds_is_kept(int fd);
/* True for those, and for the last ones below the mark: room should be made for the next. */
bool fds_is_near(int fd);
/* How many there are below the mark, as far as the lowest free one shows. */
unsigned fds_left(void);
/* True for EMFILE and ENFILE. */
bool fds_is_short(int err);
/* Puts into DST of N bytes which limit ERR (of accept() or socket()) means, and what to do: a
 * clause. Gives DST. */
const char *fds_explain(char *dst, size_t n, int err);

#endif
