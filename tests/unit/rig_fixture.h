/* SPDX-License-Identifier: Apache-2.0 */
/* One rig for each test of a file, and one exchange on it: what most tests of exchange/ and client/
 * begin and end with. */
#ifndef TLSFAN_TESTS_RIG_FIXTURE_H
#define TLSFAN_TESTS_RIG_FIXTURE_H

#include "exchange_fixture.h"

/* A request to the origin. */
#define GET(path) "GET http://%P" path " HTTP/1.1\r\nHost: h\r\n\r\n"

static struct rig rig;
static struct probe p;

static inline int set_up(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

/* Turns until P has been told its end, or TEXT. */
static inline void until(const char *text)
{
    int64_t end = loop_now() + 10000000;
    while (text == NULL ? !p.over : strstr(p.told, text) == NULL) {
        if (loop_now() > end)
            fail_msg("only this was told: %s", p.told);
        loop_turn(&rig.f.loop, false);
    }
}

#endif
