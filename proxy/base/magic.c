/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a process in which a callback got something else than its object: see magic.h. */
#include "base/magic.h"

#include <stdlib.h>

#include "base/log.h"

_Noreturn void magic_fail(const char *type)
{
    log_error("a defect of tlsfan: a callback got something that is no %s, or none any more", type);
    abort();
}
