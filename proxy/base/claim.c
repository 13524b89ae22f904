/* SPDX-License-Identifier: Apache-2.0 */
/* Ends a process that would have given one peer's bytes to another: see claim.h. */
#include "base/claim.h"

#include <stdlib.h>

#include "base/log.h"

_Noreturn void claim_fail(const struct claim *c, const char *what)
{
    log_error("a defect of tlsfan: %s is %s; ending, before bytes of one connection reach another",
              what, c->is_held ? "claimed while it is in use" : "given up but was not claimed");
    abort();
}
