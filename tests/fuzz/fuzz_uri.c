/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: request targets, authorities and references. What is taken must be taken again
 * when it is written anew, and mean the same. */
#include <stdlib.h>

#include "http/chars.h"
#include "http/punycode.h"
#include "http/uri.h"
#include "http/userinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_host(const struct uri_host *h, struct arena *arena)
{
    struct uri_host again;
    const char *why;
    must(h->name.len > 0 && h->name.len <= 255 && (!h->is_ip6 || h->is_ip));
    for (size_t i = 0; i < h->name.len; i++)
        must(h->name.p[i] == ':' || chars_is(h->name.p[i], CHAR_HOST));
    struct str text = uri_authority(arena, h->name, h->port, 0);
    must(uri_parse_host(&again, arena, text, &why));
    must(str_eq(again.name, h->name) && again.port == h->port && again.is_ip6 == h->is_ip6);
}

/* A target with user information means the same without it. */
static void check_userinfo(const struct target *t, struct str raw, struct arena *arena)
{
    struct target bare;
    const char *why = NULL;
    struct str without = uri_without_userinfo(arena, raw);
    must(without.len + t->userinfo.len + 1 == raw.len);
    must(uri_parse_target(&bare, arena, without, false, &why) && bare.userinfo.p == NULL);
    must(str_eq(bare.path, t->path) && str_eq(bare.host.name, t->host.name));
    must(bare.host.port == t->host.port && bare.scheme == t->scheme);
    must(userinfo_is_same(arena, t->userinfo, t->userinfo));
    struct str basic = userinfo_basic(arena, t->userinfo);
    must((basic.p == NULL) == (t->userinfo.len == 0));
    for (size_t i = 0; i < basic.len; i++)
        must(chars_is(basic.p[i], CHAR_TARGET) || i == strlen("Basic"));
}

static void check_target(struct str raw, struct arena *arena, bool is_connect)
{
    struct target t;
    const char *why = NULL;
    if (!uri_parse_target(&t, arena, raw, is_connect, &why)) {
        must(why != NULL && strlen(why) < 512);
        for (const char *c = why; *c != '\0'; c++)
            must(*c >= ' ' && *c < 0x7f);
        return;
    }
    for (size_t i = 0; i < raw.len; i++)
        must(chars_is(raw.p[i], CHAR_TARGET));
    if (t.host.name.len > 0)
        check_host(&t.host, arena);
    if (t.scheme != SCHEME_OTHER && t.form == TARGET_ABSOLUTE)
        must(t.host.name.len > 0 && t.path.p[0] == '/');
    must(t.scheme == SCHEME_OTHER || str_find(t.path, '#') == t.path.len);
    if (t.userinfo.p != NULL)
        check_userinfo(&t, raw, arena);
    (void)uri_path_leaves_root(t.path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct uri_host h;
    struct uri_ref r;
    const char *why;
    struct str raw = str_make((const char *)data, size);
    arena_init(&arena, NULL, 0);
    check_target(raw, &arena, false);
    check_target(raw, &arena, true);
    if (uri_parse_host(&h, &arena, raw, &why))
        check_host(&h, &arena);
    if (uri_parse_ref(&r, &arena, raw)) {
        check_host(&r.host, &arena);
        must(r.rest.p + r.rest.len == raw.p + raw.len || r.rest.len == 0);
    }
    (void)uri_path_leaves_root(raw);
    must(uri_without_userinfo(&arena, raw).len <= raw.len);
    for (size_t cap = 0; cap < 40; cap += 13) {
        char *dst = xmalloc(cap + 1);
        (void)punycode_of_host(dst, cap, raw);
        free(dst);
    }
    arena_clear(&arena);
    return 0;
}
