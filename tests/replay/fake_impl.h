/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the fake share. */
#ifndef TLSFAN_TESTS_FAKE_IMPL_H
#define TLSFAN_TESTS_FAKE_IMPL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <sys/types.h>

#include "fake.h"
#include "base/mem.h"

/* The function that stands in for NAME, and NAME itself. Named by the linker. */
#define WRAP(type, name, args) \
    type __wrap_##name args;   \
    type __real_##name args;   \
    type __wrap_##name args

/* Which of EV_READ and EV_WRITE in WHAT are true of FD. */
short fake_ready(int fd, short what);
uint64_t fake_touched(int fd);

void fake_clear_names(void);

/* Something was called back from outside of the loop: its turn is not over. */
extern bool fake_is_stirred;

/* V with room for one more than N, which may have been more. */
static inline void *fake_grow(void *v, unsigned n, size_t size)
{
    return n % 64 == 0 ? xrealloc(v, (n + 64) * size) : v;
}

#endif
