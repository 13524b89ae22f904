/* SPDX-License-Identifier: Apache-2.0 */
/* JSON for the live page, by Jansson. What peers wrote is escaped to ASCII first: it need not be
 * UTF-8. */
#ifndef TLSFAN_SERVICE_JSON_OUT_H
#define TLSFAN_SERVICE_JSON_OUT_H

#include <event2/buffer.h>
#include <jansson.h>

#include "base/str.h"

enum { JSON_OUT_FLAGS = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(16) };

/* Where Jansson puts what it writes: OUT is an evbuffer. */
static inline int on_bytes(const char *p, size_t n, void *out)
{
    return evbuffer_add(out, p, n);
}

/* Takes over ROOT. */
static inline void put_json(struct evbuffer *out, json_t *root)
{
    json_dump_callback(root, on_bytes, out, JSON_OUT_FLAGS);
    json_decref(root);
    evbuffer_add(out, "\n", 1);
}

/* One member of OBJECT; KEY is borrowed until it returns. */
static inline void status_set_number(json_t *object, const char *key, uint64_t n)
{
    json_object_set_new(object, key, json_integer((json_int_t)n));
}

/* US microseconds, as milliseconds with a fraction. */
static inline void set_ms(json_t *object, const char *key, int64_t us)
{
    json_object_set_new(object, key, json_real((double)us / 1000));
}

/* ASCII that lasts: nothing is cut or escaped. */
static inline void set_word(json_t *object, const char *key, const char *word)
{
    json_object_set_new(object, key, json_string(word == NULL ? "" : word));
}

/* What a peer wrote: at most 200 bytes of it. */
static inline void status_set_text(json_t *object, const char *key, struct str text)
{
    char escaped[1024];
    json_object_set_new(object, key, json_string(str_escape(escaped, sizeof escaped, text)));
}

#endif
