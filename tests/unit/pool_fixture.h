/* SPDX-License-Identifier: Apache-2.0 */
/* A pool for each test of a file, with names from a server of the test's own, and an origin's
 * listener on loopback that the test plays. */
#ifndef TLSFAN_TESTS_POOL_FIXTURE_H
#define TLSFAN_TESTS_POOL_FIXTURE_H

#include "upstream_fixture.h"

#include "http/forward.h"
#include "upstream/tally.h"

static struct fixture fix;
static struct fixture_dns server;
static struct pool *pool;
static struct tally tally;
static struct forward_id id;
static int listener;
static uint16_t port;

static inline void pool_fixture_open(void)
{
    fixture_open(&fix);
    fixture_dns_open(&fix, &server);
    fixture_open_dns(&fix);
    forward_id_init(&id);
    pool = pool_new(&fix.loop, fix.dns, &id, NULL, &tally);
    listener = fixture_listen(&port);
}

static inline void pool_fixture_close(void)
{
    pool_close(pool);
    close(listener);
    fixture_dns_close(&server);
    fixture_close(&fix);
}

/* IDLE connections are kept, BUSY ones carry a request. */
static inline void expect_count(unsigned idle, unsigned busy)
{
    unsigned is_idle, is_busy;
    fixture_settle(&fix);
    pool_count(pool, &is_idle, &is_busy);
    assert_int_equal(is_idle, idle);
    assert_int_equal(is_busy, busy);
}

#endif
