/* SPDX-License-Identifier: Apache-2.0 */
/* Jansson's allocator with a bound for each thread: see json_limit.h. */
#include "own/json_limit.h"

#include <jansson.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/claim.h"
#include "base/mem.h"

static _Thread_local int64_t left = INT64_MAX; /* bytes */
static _Thread_local struct claim bounded;     /* guards `left` */
static const char bound[] = "the bound on what Jansson takes";

static void *take(size_t n)
{
    if ((int64_t)n < 0 || (int64_t)n > left)
        return NULL;
    void *p = xmalloc(n);
    if (left != INT64_MAX)
        left -= (int64_t)malloc_usable_size(p);
    return p;
}

static void json_limit_give(void *p)
{
    if (left != INT64_MAX && p != NULL)
        left += (int64_t)malloc_usable_size(p);
    free(p);
}

void json_limit_install(void)
{
    json_set_alloc_funcs(take, json_limit_give);
}

void json_limit_set(size_t bytes)
{
    claim_take(&bounded, bound);
    left = (int64_t)bytes;
}

void json_limit_clear(void)
{
    left = INT64_MAX;
    claim_give(&bounded, bound);
}

void json_limit_free(char *text)
{
    json_limit_give(text);
}
