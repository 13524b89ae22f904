/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of NDJSON: see batch_line.h. */
#include "own/batch_line.h"

#include <stdlib.h>
#include <strings.h>

#include "base/base64.h"
#include "base/mem.h"
#include "own/json_text.h"

static void batch_line_put(struct evbuffer *out, struct str s)
{
    evbuffer_add(out, s.p, s.len);
}

/* ---- fields */

static bool is_utf8(struct str s)
{
    struct utf8 u = {0};
    return utf8_take(&u, s) && utf8_is_whole(&u);
}

/* S as a JSON string; what is no UTF-8 as Latin-1, which any byte is. */
static void put_string(struct evbuffer *out, struct str s)
{
    char *latin = is_utf8(s) ? NULL : xmalloc(2 * s.len);
    size_t n = 0;
    for (size_t i = 0; latin != NULL && i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x80)
            latin[n++] = (char)(0xc0 | c >> 6);
        latin[n++] = (char)(c < 0x80 ? c : 0x80 | (c & 0x3f));
    }
    if (latin != NULL)
        s = str_make(latin, n);
    char *text = xmalloc(JSON_ESCAPED_MAX * s.len + 2);
    text[0] = '"';
    n = 1 + json_escape(text + 1, s);
    text[n++] = '"';
    batch_line_put(out, str_make(text, n));
    free(text);
    free(latin);
}

/* A field, and the next one of its name in the order of arrival. */
struct named {
    const struct field *field;
    const struct named *next;
    bool is_first;
};

static int compare_names(const struct field *a, const struct field *b)
{
    if (a->name.len != b->name.len)
        return a->name.len < b->name.len ? -1 : 1;
    return strncasecmp(a->name.p, b->name.p, a->name.len);
}

/* By name, then as they came. */
static int compare_named(const void *a, const void *b)
{
    const struct named *const *x = a;
    const struct named *const *y = b;
    int d = compare_names((*x)->field, (*y)->field);
    return d != 0 ? d : (*x)->field < (*y)->field ? -1 : 1;
}

/* Links the N of V that have one name; sorted, so that thousands of names cost little more than
 * reading them. */
static void link_names(struct named *v, unsigned n)
{
    struct named **sorted = xcalloc(n, sizeof(struct named *));
    for (unsigned i = 0; i < n; i++)
        sorted[i] = &v[i];
    qsort(sorted, n, sizeof(struct named *), compare_named);
    for (unsigned i = 0; i < n; i++) {
        sorted[i]->is_first = i == 0 || compare_names(sorted[i - 1]->field, sorted[i]->field) != 0;
        if (!sorted[i]->is_first)
            sorted[i - 1]->next = sorted[i];
    }
    free(sorted);
}

static void put_values(struct evbuffer *out, const struct named *first)
{
    bool is_array = first->next != NULL;
    put_string(out, first->field->name);
    batch_line_put(out, is_array ? STR(":[") : STR(":"));
    for (const struct named *f = first; f != NULL; f = f->next) {
        put_string(out, f->field->value);
        if (f->next != NULL)
            batch_line_put(out, STR(","));
    }
    if (is_array)
        batch_line_put(out, STR("]"));
}

static void put_fields(struct evbuffer *out, const struct fields *fields)
{
    struct named *v = xcalloc(fields->n, sizeof *v);
    unsigned n = 0;
    for (unsigned i = 0; i < fields->n; i++)
        if (fields->v[i].name.p != NULL)
            v[n++].field = &fields->v[i];
    link_names(v, n);
    for (unsigned i = 0; i < n; i++) {
        if (!v[i].is_first)
            continue;
        if (i > 0)
            batch_line_put(out, STR(","));
        put_values(out, &v[i]);
    }
    free(v);
}

/* ---- the line */

void batch_line_begin(struct evbuffer *out, unsigned index, const struct batch_want *want,
                      unsigned status, const struct fields *fields)
{
    /* The id is JSON already. */
    evbuffer_add_printf(out, "{\"index\":%u,\"id\":%s,\"status\":%u,\"headers\":{", index,
                        want->id == NULL ? "null" : want->id, status);
    if (fields != NULL)
        put_fields(out, fields);
    batch_line_put(out, STR("},"));
}

void batch_line_begin_body(struct evbuffer *out, bool is_text)
{
    batch_line_put(out, is_text ? STR("\"body\":\"") : STR("\"body_base64\":\""));
}

void batch_line_body(struct evbuffer *out, bool is_text, struct str piece)
{
    char text[JSON_ESCAPED_MAX * BATCH_LINE_PIECE];
    size_t n = is_text ? json_escape(text, piece) : base64_encode(text, piece);
    batch_line_put(out, str_make(text, n));
}

void batch_line_end(struct evbuffer *out, const char *error, int64_t us)
{
    const char *quote = error == NULL ? "" : "\"";
    if (us < 0)
        us = 0;
    evbuffer_add_printf(out, "\",\"error\":%s%s%s,\"ms\":%lld.%03lld}\n", quote,
                        error == NULL ? "null" : error, quote, (long long)(us / 1000),
                        (long long)(us % 1000));
}
