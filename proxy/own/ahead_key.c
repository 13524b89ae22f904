/* SPDX-License-Identifier: Apache-2.0 */
/* Keys: see ahead_key.h. Each part has its length before it, so that no two lists of parts make the
 * same key. */
#include "own/ahead_key.h"

struct key_pen {
    char *p;
    size_t n, cap;
};

static void key_part(struct key_pen *w, struct str s)
{
    uint32_t len = (uint32_t)s.len;
    if (w->n + sizeof len + s.len > w->cap) {
        w->n = w->cap + 1;
        return;
    }
    memcpy(w->p + w->n, &len, sizeof len);
    if (s.len > 0)
        memcpy(w->p + w->n + sizeof len, s.p, s.len);
    w->n += sizeof len + s.len;
}

static void key_who(struct key_pen *w, const struct exchange *x)
{
    const struct addr *peer = &x->from->peer;
    int family = addr_family(peer);
    key_part(w, str_make((const char *)&family, sizeof family));
    if (family == AF_INET)
        key_part(w, str_make((const char *)&peer->in4.sin_addr, sizeof peer->in4.sin_addr));
    else if (family == AF_INET6) {
        key_part(w, str_make((const char *)&peer->in6.sin6_addr, sizeof peer->in6.sin6_addr));
        key_part(w,
                 str_make((const char *)&peer->in6.sin6_scope_id, sizeof peer->in6.sin6_scope_id));
    }
}

/* What one origin is for everybody. */
static void key_origin(struct key_pen *w, const struct fetch_like *like)
{
    const uint32_t numbers[] = {like->where.port, like->where.tls};
    key_part(w, str_make((const char *)numbers, sizeof numbers));
    key_part(w, like->where.host);
}

static void key_how(struct key_pen *w, const struct exchange *x, const struct fetch_like *like)
{
    const struct up_where *to = &like->where;
    const uint32_t numbers[] = {
        like->use->conf->generation, to->rule->index,      to->rule_port, to->is_rooted, to->exempt,
        x->from->is_local,           like->rq.te_trailers,
    };
    key_part(w, x->credentials);
    key_part(w, x->from->user);
    key_part(w, str_make((const char *)numbers, sizeof numbers));
    key_part(w, like->rq.host);
}

struct str ahead_key(struct exchange *x, const struct fetch_like *like, struct str last)
{
    char text[AHEAD_KEY_MAX];
    struct key_pen w = {text, 0, sizeof text};
    const struct fields *fields = like->rq.fields;
    key_who(&w, x);
    key_origin(&w, like);
    key_how(&w, x, like);
    for (unsigned i = 0; i < fields->n && w.n <= w.cap; i++) {
        const struct field *f = &fields->v[i];
        if (f->name.p == NULL || f->id == FIELD_VIA || f->id == FIELD_HOST) /* rq.host is sent */
            continue;
        key_part(&w, f->name);
        key_part(&w, f->value);
    }
    if (w.n <= w.cap)
        key_part(&w, last);
    return w.n > w.cap ? str_make(NULL, 0) : arena_dup(&x->arena, str_make(text, w.n));
}

struct str ahead_key_begin(struct exchange *x, const struct fetch_like *like)
{
    char text[AHEAD_KEY_MAX];
    struct key_pen w = {text, 0, sizeof text};
    key_who(&w, x);
    key_origin(&w, like);
    return w.n > w.cap ? str_make(NULL, 0) : arena_dup(&x->arena, str_make(text, w.n));
}

size_t ahead_key_with(char *dst, struct str key, size_t old, struct str last)
{
    size_t n = key.len - old - sizeof(uint32_t);
    struct key_pen w = {dst, n, key.len + last.len};
    memcpy(dst, key.p, n);
    key_part(&w, last);
    return w.n;
}

struct fetch_like ahead_like(const struct exchange *x)
{
    return (struct fetch_like){x->use, x->where, x->rq, x->how.person, x->from->id};
}

/* A field that asks for a part, for a change, or for an answer nobody has kept. */
static bool field_forbids(const struct field *f)
{
    struct str n = f->name;
    if (str_ieq(n, STR("Range")) || (n.len > 2 && str_istarts(n, STR("If-"))) || f->id == FIELD_IF)
        return true;
    if (str_ieq(n, STR("Cache-Control")))
        return str_has_token(f->value, STR("no-cache")) ||
               str_has_token(f->value, STR("no-store")) ||
               str_has_token(f->value, STR("max-age=0"));
    return str_ieq(n, STR("Pragma")) && str_has_token(f->value, STR("no-cache"));
}

bool ahead_may(const struct exchange *x)
{
    const struct fields *fields = &x->head.fields;
    if (x->head.method.id != METHOD_GET || x->req != HALF_DONE || x->trailers != NULL ||
        x->body.framing != H1_FRAMING_NONE || x->rq.is_upgrade || x->expects_continue ||
        x->rq.target.len == 0 || x->rq.target.p[0] != '/')
        return false;
    for (unsigned i = 0; i < fields->n; i++) {
        if (fields->v[i].name.p != NULL && field_forbids(&fields->v[i]))
            return false;
    }
    return true;
}
