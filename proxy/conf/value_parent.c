/* SPDX-License-Identifier: Apache-2.0 */
/* Values that say through which proxy origins are reached. */
#include "conf/conf.h"
#include "conf/parent.h"
#include "conf/value.h"

bool value_set_parent(const struct assign *a, struct str text)
{
    struct parent **to = a->field;
    struct parent *p = arena_alloc(a->arena, sizeof(*p));
    if (text.len == 0 || str_eq(text, STR("none"))) {
        *to = NULL;
        return true;
    }
    if (!parent_parse(a->arena, text, p, a->err))
        return false;
    *to = p;
    return true;
}

bool value_set_bypass(const struct assign *a, struct str text)
{
    struct bypass *b = a->field;
    const char *host = NULL;
    if (netset_add(&b->nets, text))
        return true;
    if (!value_pattern(a->arena, text, &host, NULL)) /* it may be a URL with a password */
        return value_fail(a->err, "is neither a host, \"*.suffix\" nor a network: write it without "
                                  "scheme, port and path");
    b->hosts.v = arena_grow(a->arena, b->hosts.v, b->hosts.n, sizeof(b->hosts.v[0]));
    b->hosts.v[b->hosts.n++] = host;
    return true;
}
