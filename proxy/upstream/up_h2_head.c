/* SPDX-License-Identifier: Apache-2.0 */
/* Fields between HTTP/1 and HTTP/2 (RFC 9113 §8). Up: pseudo fields first, nothing about the
 * connection, secrets kept out of HPACK's table. Down: names are written Like-This, as old clients
 * know them. */
#include "upstream/up_h2_head.h"

#include <stdlib.h>

#include "http/chars.h"

enum {
    FIELD_OVERHEAD = 32, /* bytes that a field counts besides name and value, §6.5.2 */
    NAME_SAID = 60,      /* bytes of a field's name in an error */
    REQUEST_PSEUDO = 4,
    REQUEST_EXTRA = 2 /* content-length and te */
};

/* Fields that say something about one connection, or that stand elsewhere. */
static bool is_left_out(enum field_id id)
{
    switch (id) {
    case FIELD_CONNECTION:
    case FIELD_CONTENT_LENGTH:
    case FIELD_HOST:
    case FIELD_HTTP2_SETTINGS:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TE:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE:
        return true;
    default:
        return false;
    }
}

/* NAME is static: nghttp2 needs no copy of it. */
static nghttp2_nv make_nv(struct str name, struct str value)
{
    return (nghttp2_nv){(uint8_t *)name.p, (uint8_t *)value.p, name.len, value.len,
                        NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

/* nghttp2 copies F, and writes its name in lower case. */
static nghttp2_nv field_nv(const struct field *f)
{
    uint8_t flags = field_is_secret(f) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
    return (nghttp2_nv){(uint8_t *)f->name.p, (uint8_t *)f->value.p, f->name.len, f->value.len,
                        flags};
}

/* All that the client says in Cookie fields, as one (§8.2.3 joins them in this way). */
static struct str join_cookies(struct arena *arena, const struct fields *fields)
{
    size_t room = 0;
    const struct field *f = NULL;
    while ((f = fields_find(fields, FIELD_COOKIE, f)) != NULL)
        room += f->value.len + 2;
    char *joined = arena_alloc(arena, room);
    size_t n = 0;
    while ((f = fields_find(fields, FIELD_COOKIE, f)) != NULL) {
        memcpy(joined + n, f->value.p, f->value.len);
        memcpy(joined + n + f->value.len, "; ", 2);
        n += f->value.len + 2;
    }
    return str_make(joined, n - 2);
}

nghttp2_nv *up_h2_head_request(struct arena *arena, const struct up_request *rq, size_t *n)
{
    const struct fields *fields = rq->fields;
    nghttp2_nv *v = arena_alloc(arena, (fields->n + REQUEST_PSEUDO + REQUEST_EXTRA) * sizeof(*v));
    nghttp2_nv *to = v;
    bool has_cookie = false;
    *to++ = make_nv(STR(":method"), rq->method.name);
    *to++ = make_nv(STR(":scheme"), STR("https"));
    *to++ = make_nv(STR(":authority"), rq->host);
    *to++ = make_nv(STR(":path"), rq->target);
    for (unsigned i = 0; i < fields->n; i++) {
        const struct field *f = &fields->v[i];
        if (f->name.p == NULL || is_left_out(f->id) || (f->id == FIELD_COOKIE && has_cookie))
            continue;
        struct field out = *f;
        if (f->id == FIELD_COOKIE)
            out.value = join_cookies(arena, fields);
        has_cookie = has_cookie || f->id == FIELD_COOKIE;
        *to++ = field_nv(&out);
    }
    if (rq->framing == H1_FRAMING_LENGTH)
        *to++ = make_nv(STR("content-length"),
                        arena_printf(arena, "%llu", (unsigned long long)rq->length));
    if (rq->te_trailers)
        *to++ = make_nv(STR("te"), STR("trailers"));
    *n = (size_t)(to - v);
    return v;
}

nghttp2_nv *up_h2_head_trailers(const struct fields *trailers, size_t *n)
{
    size_t room = 0;
    *n = 0;
    for (unsigned i = 0; trailers != NULL && i < trailers->n; i++)
        room += sizeof(nghttp2_nv) + trailers->v[i].name.len + trailers->v[i].value.len;
    if (room == 0)
        return NULL;
    nghttp2_nv *v = xmalloc(room);
    char *text = (char *)(v + trailers->n);
    for (unsigned i = 0; i < trailers->n; i++) {
        const struct field *f = &trailers->v[i];
        if (f->name.p == NULL || is_left_out(f->id))
            continue;
        nghttp2_nv *nv = &v[(*n)++];
        *nv = field_nv(f);
        nv->name = memcpy(text, f->name.p, f->name.len);
        text += f->name.len;
        nv->value = memcpy(text, f->value.p, f->value.len);
        text += f->value.len;
    }
    if (*n > 0)
        return v;
    free(v);
    return NULL;
}

struct up_h2_block *up_h2_block_new(struct slab *slab)
{
    struct up_h2_block *b = slab_get(slab);
    b->slab = slab;
    b->status = 0;
    b->size = 0;
    b->is_end = b->has_pseudo = b->has_field = b->is_of_h1 = false;
    b->why = NULL;
    arena_init(&b->arena, b->first_bytes, sizeof(b->first_bytes));
    fields_init(&b->fields, &b->arena, b->first_fields,
                sizeof(b->first_fields) / sizeof(b->first_fields[0]));
    return b;
}

void up_h2_block_free(struct up_h2_block *b)
{
    if (b == NULL)
        return;
    arena_clear(&b->arena);
    slab_put(b->slab, b);
}

/* Three digits that are a status; else 0. */
static unsigned parse_status(struct str value)
{
    unsigned status = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.len != 3 || value.p[i] < '0' || value.p[i] > '9')
            return 0;
        status = status * 10 + (unsigned)(value.p[i] - '0');
    }
    return status >= 100 ? status : 0;
}

/* NAME, which must be a token without capital letters (§8.2.1), to P, with a capital letter at the
 * beginning and behind every hyphen. False: it is none. */
static bool write_known(char *p, struct str name)
{
    char capital = 'a' - 'A';
    for (size_t i = 0; i < name.len; i++) {
        char c = name.p[i];
        if (!chars_is(c, CHAR_TOKEN) || (c >= 'A' && c <= 'Z'))
            return false;
        p[i] = c >= 'a' && c <= 'z' ? (char)(c - capital) : c;
        capital = c == '-' ? 'a' - 'A' : 0;
    }
    return name.len > 0;
}

/* What a value may hold, though not HTAB, is no less than SP in each of the eight bytes at P, and
 * is not DEL. */
static bool is_plain(const char *p)
{
    const uint64_t ones = UINT64_MAX / UINT8_MAX;
    uint64_t w;
    memcpy(&w, p, sizeof(w));
    uint64_t del = w ^ ones * 0x7f;
    uint64_t bad = ((w - ones * ' ') & ~w) | ((del - ones) & ~del);
    return (bad & ones * 0x80) == 0;
}

static bool is_value(struct str value)
{
    size_t i = 0;
    while (i + sizeof(uint64_t) <= value.len && is_plain(value.p + i))
        i += sizeof(uint64_t);
    while (i < value.len && chars_is(value.p[i], CHAR_VALUE))
        i++;
    return i == value.len;
}

/* §8.2.2: a field of one HTTP/1 connection. */
static bool is_of_connection(enum field_id id, struct str value)
{
    switch (id) {
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE:
        return true;
    case FIELD_TE:
        return !str_ieq(value, STR("trailers"));
    default:
        return false;
    }
}

/* §8.3: once, before the others. */
static void add_pseudo(struct up_h2_block *b, struct str name, struct str value)
{
    if (!str_eq(name, STR(":status")))
        b->why = "a pseudo field that is none of a response";
    else if (b->has_pseudo)
        b->why = ":status twice";
    else if (b->has_field)
        b->why = ":status behind other fields";
    else
        b->status = parse_status(value);
    b->has_pseudo = true;
}

static int said(struct str name)
{
    return (int)(name.len < NAME_SAID ? name.len : NAME_SAID);
}

static void add_field(struct up_h2_block *b, struct str name, struct str value)
{
    char *known = arena_alloc(&b->arena, name.len);
    b->has_field = true;
    if (!write_known(known, name)) {
        b->why = "a field name that HTTP/2 does not allow";
        return;
    }
    if (!is_value(value)) {
        b->why = arena_printf(&b->arena, "a byte that HTTP does not allow in the field %.*s",
                              said(name), name.p)
                     .p;
        return;
    }
    struct field f = {.name = str_make(known, name.len),
                      .value = arena_dup(&b->arena, str_trim(value)),
                      .id = field_lookup(name)};
    b->is_of_h1 = is_of_connection(f.id, f.value);
    if (b->is_of_h1)
        b->why = arena_printf(&b->arena,
                              "its response has the field %.*s, which belongs to HTTP/1.1; "
                              "\"http2 = off\" in a rule for this host makes it one by HTTP/1.1",
                              said(f.name), f.name.p)
                     .p;
    else
        fields_add(&b->fields, f);
}

void up_h2_block_add(struct up_h2_block *b, struct str name, struct str value, size_t max)
{
    b->size += name.len + value.len + FIELD_OVERHEAD;
    if (b->size > max || b->fields.n >= H1_MAX_FIELDS)
        b->size = b->size > max ? b->size : max + 1;
    else if (b->why == NULL && name.len > 0 && name.p[0] == ':')
        add_pseudo(b, name, value);
    else if (b->why == NULL)
        add_field(b, name, value);
}
