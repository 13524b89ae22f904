/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a TCP connection on loopback. */
#ifndef TLSFAN_TESTS_LOOPBACK_FIXTURE_H
#define TLSFAN_TESTS_LOOPBACK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "net/sock.h"

/* Gives the end that connected to *BOUND; *ACCEPTED is the other one. The caller closes both. */
static inline int connect_pair(struct addr *bound, int *accepted)
{
    struct addr any, peer;
    assert_true(addr_parse_ip(&any, STR("127.0.0.1"), 0));
    int listener = sock_listen(&any, false);
    assert_true(sock_local(listener, bound));
    int fd = sock_connect(bound, NULL);
    assert_true(fd >= 0);
    do
        *accepted = sock_accept(listener, &peer);
    while (*accepted < 0);
    close(listener);
    return fd;
}

#endif
