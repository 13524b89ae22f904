/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the answer to a batch call: see batch_write.h. */
#include "service/batch_write.h"

#include <jansson.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/base64.h"

void batch_boundary(char *dst)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bits[(BATCH_BOUNDARY - 1) / 2];
    if (getrandom(bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        abort(); /* as many come always, since the system has started */
    for (size_t i = 0; i < sizeof bits; i++) {
        dst[2 * i] = hex[bits[i] >> 4];
        dst[2 * i + 1] = hex[bits[i] & 15];
    }
    dst[2 * sizeof bits] = '\0';
}

void batch_put_part(struct evbuffer *out, const char *boundary, unsigned index,
                    const struct batch_want *want)
{
    evbuffer_add_printf(out, "%s--%s\r\nContent-Type: application/http; msgtype=response\r\n",
                        index == 0 ? "" : "\r\n", boundary);
    if (want->name != NULL)
        evbuffer_add_printf(out, "Content-ID: <%s>\r\n\r\n", want->name);
    else
        evbuffer_add_printf(out, "Content-ID: <%u>\r\n\r\n", index);
}

void batch_put_close(struct evbuffer *out, const char *boundary)
{
    evbuffer_add_printf(out, "\r\n--%s--\r\n", boundary);
}

void batch_put_head(struct evbuffer *out, const struct h1_head *head, const struct h1_out *framing)
{
    size_t size = h1_response_size(head->reason, &head->fields);
    char *text = xmalloc(size);
    evbuffer_add(out, text,
                 h1_write_response(text, head->status, head->reason, &head->fields, framing));
    free(text);
}

void batch_put_chunk(struct evbuffer *out, const char *p, size_t n)
{
    char line[H1_CHUNK_HEAD_MAX];
    evbuffer_add(out, line, h1_write_chunk_head(line, n));
    evbuffer_add(out, p, n);
    evbuffer_add(out, "\r\n", 2);
}

void batch_put_last_chunk(struct evbuffer *out, const struct fields *trailers)
{
    char *text = xmalloc(h1_trailers_size(trailers));
    evbuffer_add(out, text, h1_write_trailers(text, trailers));
    free(text);
}

/* ---- NDJSON */

/* What is not UTF-8 in a field value is taken for Latin-1, which any byte is. */
static json_t *json_of(struct str s)
{
    json_t *text = json_stringn(s.p == NULL ? "" : s.p, s.len);
    if (text != NULL)
        return text;
    char *utf8 = xmalloc(2 * s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x80)
            utf8[n++] = (char)(0xc0 | c >> 6);
        utf8[n++] = (char)(c < 0x80 ? c : 0x80 | (c & 0x3f));
    }
    text = json_stringn(utf8, n);
    free(utf8);
    return text;
}

/* Names that differ in case are one: the first spelling stays. */
static const char *spelling(json_t *fields, struct str name)
{
    const char *key;
    json_t *value;
    json_object_foreach (fields, key, value)
        if (str_ieq(str_from(key), name))
            return key;
    return NULL;
}

static void add_value(json_t *fields, const char *key, json_t *value)
{
    json_t *old = json_object_get(fields, key);
    if (json_is_array(old)) {
        json_array_append_new(old, value);
        return;
    }
    json_t *all = json_array();
    json_array_append(all, old);
    json_array_append_new(all, value);
    json_object_set_new(fields, key, all);
}

struct json_t *batch_fields_new(const struct fields *fields)
{
    json_t *object = json_object();
    for (unsigned i = 0; i < fields->n; i++) {
        const struct field *f = &fields->v[i];
        if (f->name.p == NULL)
            continue;
        const char *key = spelling(object, f->name);
        if (key != NULL)
            add_value(object, key, json_of(f->value));
        else
            json_object_setn_new(object, f->name.p, f->name.len, json_of(f->value));
    }
    return object;
}

void batch_fields_free(struct json_t *fields)
{
    json_decref(fields);
}

static json_t *json_base64(struct str s)
{
    size_t n = base64_encoded(s.len);
    char *text = xmalloc(n + 1);
    base64_encode(text, s);
    json_t *value = json_stringn_nocheck(text, n);
    free(text);
    return value;
}

/* Text where it is text, else base64: JSON has no bytes. */
static void put_body(json_t *object, struct str body)
{
    json_t *text = json_stringn(body.p == NULL ? "" : body.p, body.len);
    if (text != NULL)
        json_object_set_new(object, "body", text);
    else
        json_object_set_new(object, "body_base64", json_base64(body));
}

static int on_dump(const char *p, size_t n, void *out)
{
    return evbuffer_add(out, p, n);
}

void batch_put_line(struct evbuffer *out, const struct batch_line *line)
{
    json_t *object = json_object();
    const char *id = line->want->id;
    json_object_set_new(object, "status", json_integer(line->status));
    json_object_set_new(object, "headers", line->fields != NULL ? line->fields : json_object());
    put_body(object, line->body);
    json_object_set_new(object, "error",
                        line->error == NULL ? json_null() : json_string(line->error));
    json_object_set_new(object, "ms", json_real((double)line->us / 1000));
    /* The id is JSON already, and must not lose digits to the precision of times. */
    evbuffer_add_printf(out, "{\"index\":%u,\"id\":%s,", line->index, id == NULL ? "null" : id);
    json_dump_callback(object, on_dump, out, JSON_COMPACT | JSON_EMBED | JSON_REAL_PRECISION(12));
    evbuffer_add(out, "}\n", 2);
    json_decref(object);
}
