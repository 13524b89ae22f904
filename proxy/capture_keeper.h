/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: a process that makes COMMAND's network and stays in it, opens sockets there for
 * tlsfan, and kills whoever lives there when tlsfan has died without a word, and removes the files
 * that it has left. */
#ifndef TLSFAN_CAPTURE_KEEPER_H
#define TLSFAN_CAPTURE_KEEPER_H

#include "base/addr.h"
#include "capture_net.h"

enum {
    CAPTURE_FDS_MAX = 2,    /* descriptors that come with one answer */
    CAPTURE_PATH_MAX = 512, /* bytes of a path, with the NUL */
    CAPTURE_PATHS_MAX = 4   /* further ones are forgotten */
};

/* tlsfan asks for a socket, or says what it would leave behind. A message each. */
struct capture_request {
    int socket; /* SOCK_STREAM: one that listens; SOCK_DGRAM */
    struct addr addr;
    char path[CAPTURE_PATH_MAX]; /* not empty: this one, and there is neither socket nor answer */
};

/* And is answered. The first answer comes unasked, with the descriptors of the network namespace
 * and, if it has one, the user namespace; the others with that of the socket. */
struct capture_answer {
    enum capture_step step; /* of the first one */
    int cause;              /* 0 or an errno: there is no descriptor */
    struct capture_net net;
};

/* The life of the keeper, in a new process of one thread; SOCK is its end of a socketpair of
 * SOCK_SEQPACKET. */
_Noreturn void capture_keeper(int sock);

/* Sends or receives one message, with up to CAPTURE_FDS_MAX descriptors, in FDS and -1 where
 * there are less; who receives owns them. False with errno, which is EPIPE when the other side is
 * gone. */
MUST_CHECK bool capture_send(int sock, const struct capture_answer *a, const int *fds);
MUST_CHECK bool capture_receive(int sock, struct capture_answer *a, int *fds);

#endif
