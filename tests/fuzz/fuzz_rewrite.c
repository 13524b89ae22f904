/* SPDX-License-Identifier: Apache-2.0 */
/* forward.c and rewrite.c on any field section. The first byte chooses the listener and
 * direction, the rest are lines "Name: value" ended by LF. No value may gain a CR, LF or NUL,
 * and none may grow out of proportion. */
#include <stdlib.h>

#include "conf/rule_index.h"
#include "http/forward.h"
#include "http/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    IS_REQUEST = 1,
    IS_FORWARD = 2,
    IS_PLAIN_TO = 4,
    HAS_PREFIX = 8,
    HOST_IS_CLIENT = 16,
    IS_1_0 = 32,
    CLIENT_TLS = 64
};

static char star[] = "*", plain[] = "plain.example", host[] = "to.example", path[] = "/v2",
            no_path[] = "";

static struct rule rules[] = {
    {.pattern = star, .host = star, .upgrade = true},
    {.pattern = plain, .host = plain, .index = 1},
};

static struct conf conf = {
    .rewrite = {true, true, true, true, true, true}, .rules = rules, .n_rules = 2};

static void put_lines(struct fields *fields, struct str text)
{
    while (text.len > 0) {
        size_t end = str_find(text, '\n');
        struct str line = str_make(text.p, end);
        size_t colon = str_find(line, ':');
        if (colon > 0 && colon < line.len)
            fields_put(fields, str_make(line.p, colon), str_trim(str_from_byte(line, colon + 1)));
        text = str_from_byte(text, end + 1);
    }
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
            return true;
    return false;
}

static void forward_both(struct h1_head *head, unsigned flags)
{
    static struct forward_id id;
    if (id.via[0] == '\0')
        forward_id_init(&id);
    bool is_loop = forward_is_loop(&head->fields, &id);
    if ((flags & IS_REQUEST) == 0) {
        bool keep_alive;
        forward_response(head, &id, true, &keep_alive);
    } else {
        bool answer_here;
        const char *why;
        struct forward_info info;
        if (!forward_max_forwards(&head->fields, METHOD_TRACE, &answer_here, &why) && why == NULL)
            abort();
        forward_request(head, &id, true, &info);
    }
    if (is_loop || !forward_is_loop(&head->fields, &id))
        abort();
}

static void rewrite_both(struct fields *fields, const struct rewrite *r, unsigned flags)
{
    if ((flags & IS_REQUEST) != 0)
        rewrite_request(fields, r);
    else
        rewrite_response(fields, r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (conf.index == NULL)
        conf.index = rule_index_new(rules, conf.n_rules);
    unsigned flags = data[0];
    struct str text = str_make((const char *)data + 1, size - 1);
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct h1_head head = {.minor = (flags & IS_1_0) == 0, .status = 200};
    head.method = method_lookup(STR("GET"));
    fields_init(&head.fields, &arena, NULL, 0);
    put_lines(&head.fields, text);

    struct forward to = {.host = host, .path = (flags & HAS_PREFIX) != 0 ? path : no_path};
    to.tls = (flags & IS_PLAIN_TO) == 0;
    to.port = to.tls ? 443 : 80;
    to.host_is_client = (flags & HOST_IS_CLIENT) != 0;
    struct rewrite r = {.conf = &conf, .self = STR("self:9001"), .is_upgraded = true};
    if ((flags & IS_FORWARD) != 0) {
        r.forward = &to;
        to.client_tls = (flags & CLIENT_TLS) != 0;
        r.is_upgraded = to.tls && !to.client_tls;
    }
    forward_both(&head, flags);
    rewrite_both(&head.fields, &r, flags);

    bool may_have_control =
        memchr(text.p, '\r', text.len) != NULL || memchr(text.p, '\0', text.len) != NULL;
    size_t total = 0;
    for (unsigned i = 0; i < head.fields.n; i++) {
        const struct field *f = &head.fields.v[i];
        if (f->name.p != NULL && !may_have_control && has_control(f->value))
            abort();
        total += f->value.len;
    }
    /* A URL of `to` grows by the length of the listener's at most, and is longer than that. */
    if (total > size * 4 + 64)
        abort();
    arena_clear(&arena);
    return 0;
}
