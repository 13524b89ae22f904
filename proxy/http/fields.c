/* SPDX-License-Identifier: Apache-2.0 */
/* Field lists: an array in order of arrival. A removed field stays as a hole (name.p NULL), so that
 * the others keep their places and pointers into the array stay good. */
#include "http/fields.h"

struct known {
    const char *name; /* lower case */
    enum field_id id;
};

/* The index is the length of the name; a row ends with a NULL name. */
static const struct known known_fields[][6] = {
    [2] = {{"te", FIELD_TE}, {"if", FIELD_IF}},
    [3] = {{"via", FIELD_VIA}},
    [4] = {{"host", FIELD_HOST}, {"date", FIELD_DATE}, {"link", FIELD_LINK}},
    [6] = {{"cookie", FIELD_COOKIE}, {"origin", FIELD_ORIGIN}, {"expect", FIELD_EXPECT}},
    [7] = {{"referer", FIELD_REFERER},
           {"upgrade", FIELD_UPGRADE},
           {"refresh", FIELD_REFRESH},
           {"trailer", FIELD_TRAILER},
           {"alt-svc", FIELD_ALT_SVC}},
    [8] = {{"location", FIELD_LOCATION}},
    [10] = {{"connection", FIELD_CONNECTION},
            {"keep-alive", FIELD_KEEP_ALIVE},
            {"set-cookie", FIELD_SET_COOKIE}},
    [11] = {{"destination", FIELD_DESTINATION}, {"retry-after", FIELD_RETRY_AFTER}},
    [12] = {{"content-type", FIELD_CONTENT_TYPE}, {"max-forwards", FIELD_MAX_FORWARDS}},
    [13] = {{"authorization", FIELD_AUTHORIZATION}},
    [14] = {{"content-length", FIELD_CONTENT_LENGTH},
            {"sec-fetch-site", FIELD_SEC_FETCH_SITE},
            {"http2-settings", FIELD_HTTP2_SETTINGS}},
    [16] = {{"proxy-connection", FIELD_PROXY_CONNECTION},
            {"content-location", FIELD_CONTENT_LOCATION},
            {"www-authenticate", FIELD_WWW_AUTHENTICATE}},
    [17] = {{"transfer-encoding", FIELD_TRANSFER_ENCODING},
            {"x-forwarded-proto", FIELD_X_FORWARDED_PROTO}},
    [18] = {{"proxy-authenticate", FIELD_PROXY_AUTHENTICATE}},
    [19] = {{"proxy-authorization", FIELD_PROXY_AUTHORIZATION}},
    [23] = {{"content-security-policy", FIELD_CONTENT_SECURITY_POLICY}},
    [25] = {{"strict-transport-security", FIELD_STRICT_TRANSPORT_SECURITY}},
    [27] = {{"access-control-allow-origin", FIELD_ACCESS_CONTROL_ALLOW_ORIGIN}},
};

void fields_init(struct fields *f, struct arena *arena, struct field *first, unsigned cap)
{
    *f = (struct fields){.v = first, .cap = cap, .arena = arena};
}

static void fields_grow(struct fields *f)
{
    unsigned cap = f->cap < 16 ? 32 : f->cap * 2;
    struct field *v = arena_alloc(f->arena, cap * sizeof(*v));
    if (f->n > 0)
        memcpy(v, f->v, f->n * sizeof(*v));
    f->v = v;
    f->cap = cap;
}

void fields_add(struct fields *f, struct field field)
{
    if (f->n == f->cap)
        fields_grow(f);
    f->v[f->n++] = field;
    f->present |= UINT64_C(1) << field.id;
}

/* Into its place, for each field of each head comes here. */
void fields_put(struct fields *f, struct str name, struct str value)
{
    if (f->n == f->cap)
        fields_grow(f);
    struct field *field = &f->v[f->n++];
    field->name = name;
    field->value = value;
    field->id = field_lookup(name);
    field->is_secret = false;
    f->present |= UINT64_C(1) << field->id;
}

struct field *fields_find(const struct fields *f, enum field_id id, const struct field *after)
{
    if (!fields_has(f, id))
        return NULL;
    for (unsigned i = after == NULL ? 0 : (unsigned)(after - f->v) + 1; i < f->n; i++) {
        if (f->v[i].id == id && f->v[i].name.p != NULL)
            return &f->v[i];
    }
    return NULL;
}

/* Makes a hole. */
static void fields_drop(struct field *field)
{
    *field = (struct field){.id = FIELD_OTHER};
}

void fields_remove(struct fields *f, enum field_id id)
{
    struct field *x = NULL;
    while ((x = fields_find(f, id, x)) != NULL)
        fields_drop(x);
    f->present &= ~(UINT64_C(1) << id);
}

/* One walk: a peer decides how many fields there are, and of how many names. */
void fields_remove_known(struct fields *f)
{
    for (unsigned i = 0; i < f->n; i++)
        if (f->v[i].id != FIELD_OTHER)
            fields_drop(&f->v[i]);
    f->present &= UINT64_C(1) << FIELD_OTHER;
}

void fields_remove_name(struct fields *f, struct str name)
{
    enum field_id id = field_lookup(name);
    if (id != FIELD_OTHER) {
        fields_remove(f, id);
        return;
    }
    for (unsigned i = 0; i < f->n; i++) {
        if (f->v[i].name.p != NULL && str_ieq(f->v[i].name, name))
            fields_drop(&f->v[i]);
    }
}

void fields_set(struct fields *f, enum field_id id, struct str name, struct str value)
{
    struct field *first = fields_find(f, id, NULL);
    if (first == NULL) {
        fields_add(f, (struct field){.name = name, .value = value, .id = id});
        return;
    }
    first->value = value;
    struct field *x = first;
    while ((x = fields_find(f, id, x)) != NULL)
        fields_drop(x);
}

void fields_copy(struct arena *arena, struct fields *dst, const struct fields *src)
{
    fields_init(dst, arena, NULL, 0);
    for (unsigned i = 0; i < src->n; i++) {
        struct field field = src->v[i];
        if (field.name.p == NULL)
            continue;
        field.name = arena_dup(arena, field.name);
        field.value = arena_dup(arena, field.value);
        fields_add(dst, field);
    }
}

/* True when N letters at P are those of LOWER. 0x20 folds letters and leaves the '-' and '2' of our
 * names alone. Long names begin alike, so they are compared by words, of which the last may overlap
 * the one before. */
static bool field_is_named(const char *p, const char *lower, size_t n)
{
    enum { WORD = sizeof(uint64_t) };
    uint64_t a, b;
    size_t i = 0;
    if (n < WORD) {
        while (i < n && (p[i] | 0x20) == lower[i])
            i++;
        return i == n;
    }
    for (; i < n; i += WORD) {
        size_t at = i + WORD <= n ? i : n - WORD;
        memcpy(&a, p + at, WORD);
        memcpy(&b, lower + at, WORD);
        if ((a | UINT64_C(0x2020202020202020)) != b)
            return false;
    }
    return true;
}

enum field_id field_lookup(struct str name)
{
    if (name.len >= sizeof(known_fields) / sizeof(known_fields[0]))
        return FIELD_OTHER;
    for (const struct known *k = known_fields[name.len]; k->name != NULL; k++) {
        if (field_is_named(name.p, k->name, name.len))
            return k->id;
    }
    return FIELD_OTHER;
}

struct str media_type(struct str value)
{
    return str_trim(str_make(value.p, str_find(value, ';')));
}

bool fields_accept(const struct fields *f, struct str type)
{
    struct str item;
    for (unsigned i = 0; i < f->n; i++) {
        struct str rest = f->v[i].value;
        if (f->v[i].name.p == NULL || !str_ieq(f->v[i].name, STR("Accept")))
            continue;
        while (str_next_item(&rest, &item)) {
            if (str_ieq(media_type(item), type))
                return true;
        }
    }
    return false;
}

static const struct method known_methods[] = {
    {STR_INIT("GET"), METHOD_GET, true, true},
    {STR_INIT("POST"), METHOD_POST, false, false},
    {STR_INIT("HEAD"), METHOD_HEAD, true, true},
    {STR_INIT("PUT"), METHOD_PUT, false, true},
    {STR_INIT("DELETE"), METHOD_DELETE, false, true},
    {STR_INIT("CONNECT"), METHOD_CONNECT, false, false},
    {STR_INIT("OPTIONS"), METHOD_OPTIONS, true, true},
    {STR_INIT("TRACE"), METHOD_TRACE, true, true},
    /* The rest of the IANA registry that is safe or idempotent. */
    {STR_INIT("PROPFIND"), METHOD_OTHER, true, true},
    {STR_INIT("REPORT"), METHOD_OTHER, true, true},
    {STR_INIT("SEARCH"), METHOD_OTHER, true, true},
    {STR_INIT("QUERY"), METHOD_OTHER, true, true},
    {STR_INIT("PRI"), METHOD_OTHER, true, true},
    {STR_INIT("ACL"), METHOD_OTHER, false, true},
    {STR_INIT("BASELINE-CONTROL"), METHOD_OTHER, false, true},
    {STR_INIT("BIND"), METHOD_OTHER, false, true},
    {STR_INIT("CHECKIN"), METHOD_OTHER, false, true},
    {STR_INIT("CHECKOUT"), METHOD_OTHER, false, true},
    {STR_INIT("COPY"), METHOD_OTHER, false, true},
    {STR_INIT("LABEL"), METHOD_OTHER, false, true},
    {STR_INIT("LINK"), METHOD_OTHER, false, true},
    {STR_INIT("MERGE"), METHOD_OTHER, false, true},
    {STR_INIT("MKACTIVITY"), METHOD_OTHER, false, true},
    {STR_INIT("MKCALENDAR"), METHOD_OTHER, false, true},
    {STR_INIT("MKCOL"), METHOD_OTHER, false, true},
    {STR_INIT("MKREDIRECTREF"), METHOD_OTHER, false, true},
    {STR_INIT("MKWORKSPACE"), METHOD_OTHER, false, true},
    {STR_INIT("MOVE"), METHOD_OTHER, false, true},
    {STR_INIT("ORDERPATCH"), METHOD_OTHER, false, true},
    {STR_INIT("PROPPATCH"), METHOD_OTHER, false, true},
    {STR_INIT("REBIND"), METHOD_OTHER, false, true},
    {STR_INIT("UNBIND"), METHOD_OTHER, false, true},
    {STR_INIT("UNCHECKOUT"), METHOD_OTHER, false, true},
    {STR_INIT("UNLINK"), METHOD_OTHER, false, true},
    {STR_INIT("UPDATE"), METHOD_OTHER, false, true},
    {STR_INIT("UPDATEREDIRECTREF"), METHOD_OTHER, false, true},
    {STR_INIT("VERSION-CONTROL"), METHOD_OTHER, false, true},
};

struct method method_lookup(struct str name)
{
    for (size_t i = 0; i < sizeof(known_methods) / sizeof(known_methods[0]); i++) {
        if (str_eq(name, known_methods[i].name))
            return (struct method){name, known_methods[i].id, known_methods[i].is_safe,
                                   known_methods[i].is_idempotent};
    }
    return (struct method){.name = name, .id = METHOD_OTHER};
}
