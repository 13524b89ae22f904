/* SPDX-License-Identifier: Apache-2.0 */
/* base/state.c: a move is written at level debug, and one that the table does not have ends the
 * process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "abort_fixture.h"
#include "base/log.h"
#include "base/state.h"

enum { DOOR_OPEN, DOOR_SHUT, DOOR_GONE };

static const struct state_row doors[] = {
    [DOOR_OPEN] = {"OPEN", STATE_BIT(DOOR_SHUT)},
    [DOOR_SHUT] = {"SHUT", STATE_BIT(DOOR_OPEN) | STATE_BIT(DOOR_GONE)},
    [DOOR_GONE] = {"GONE", 0},
};

static void walk(void)
{
    char err[64];
    if (!log_open(LOG_LEVEL_DEBUG, "off", err, sizeof err))
        return;
    state_trace("door", 0x1f, doors, DOOR_OPEN, DOOR_SHUT);
    state_trace("door", 0x1f, doors, DOOR_SHUT, DOOR_GONE);
}

static void slam(void)
{
    state_trace("door", 0x1f, doors, DOOR_GONE, DOOR_OPEN);
}

static void moves(void **state)
{
    char text[512];
    (void)state;
    assert_false(aborts(walk, text, sizeof text));
    assert_non_null(strstr(text, "door 1f: OPEN -> SHUT\n"));
    assert_non_null(strstr(text, "door 1f: SHUT -> GONE\n"));
    assert_true(aborts(slam, text, sizeof text));
    assert_non_null(strstr(text, "door 1f may not go from GONE to OPEN"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(moves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
