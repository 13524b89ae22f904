/* SPDX-License-Identifier: Apache-2.0 */
/* One request of a batch: see batch_want.h. The checks here only see to it that the bytes of the
 * head say what the element said: all else is for the parser that reads a client's. */
#include "own/batch_want.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/fault.h"
#include "http/chars.h"
#include "http/uri.h"
#include "own/json_limit.h"

enum {
    ID_MAX = 200,          /* bytes */
    TIMEOUT_MAX = 86400000 /* ms */
};

static bool want_wrong(struct batch_want *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static bool want_wrong(struct batch_want *w, const char *fmt, ...)
{
    struct fault f;
    va_list args;
    va_start(args, fmt);
    fault_vset(&f, FAULT_BAD_REQUEST, fmt, args);
    va_end(args);
    free(w->wrong);
    w->wrong = xstrdup(f.text);
    return false;
}

static struct str want_text(const json_t *string)
{
    return str_make(json_string_value(string), json_string_length(string));
}

static bool want_is_all(struct str s, unsigned classes)
{
    for (size_t i = 0; i < s.len; i++)
        if (!chars_is(s.p[i], classes))
            return false;
    return true;
}

/* ---- the parts of an element */

/* Fields that frame the message, or that are between tlsfan and the origin. */
static bool want_is_reserved(struct str name)
{
    static const char *const names[] = {"Host",       "Content-Length", "Transfer-Encoding",
                                        "Connection", "Keep-Alive",     "TE",
                                        "Trailer",    "Upgrade",        "Expect"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_ieq(name, str_from(names[i])))
            return true;
    return str_istarts(name, STR("Proxy-"));
}

static bool want_put_field(struct batch_want *w, FILE *out, struct str name, const json_t *value)
{
    char shown[160];
    str_escape(shown, sizeof shown, name);
    if (name.len == 0 || !want_is_all(name, CHAR_TOKEN))
        return want_wrong(w, "headers: '%s' is no field name", shown);
    if (want_is_reserved(name))
        return want_wrong(w, "headers: %s may not be given: the proxy makes it itself", shown);
    if (!json_is_string(value))
        return want_wrong(w, "headers: the value of %s is no string", shown);
    if (!want_is_all(want_text(value), CHAR_VALUE))
        return want_wrong(w, "headers: the value of %s has a control byte in it", shown);
    fprintf(out, "%.*s: ", STR_ARG(name));
    fwrite(json_string_value(value), 1, json_string_length(value), out);
    fputs("\r\n", out);
    return true;
}

/* {"Name": "value"} or {"Name": ["value", ...]}. */
static bool want_put_object(struct batch_want *w, FILE *out, json_t *headers)
{
    const char *name;
    size_t len, i;
    json_t *value, *one;
    json_object_keylen_foreach (headers, name, len, value) {
        if (!json_is_array(value) && !want_put_field(w, out, str_make(name, len), value))
            return false;
        json_array_foreach (value, i, one)
            if (!want_put_field(w, out, str_make(name, len), one))
                return false;
    }
    return true;
}

/* [["Name", "value"], ...]. */
static bool want_put_pairs(struct batch_want *w, FILE *out, const json_t *headers)
{
    size_t i;
    json_t *pair;
    json_array_foreach (headers, i, pair) {
        const json_t *name = json_array_get(pair, 0);
        if (json_array_size(pair) != 2 || !json_is_string(name))
            return want_wrong(w, "headers: an element is no [name, value]");
        if (!want_put_field(w, out, want_text(name), json_array_get(pair, 1)))
            return false;
    }
    return true;
}

static bool want_put_fields(struct batch_want *w, FILE *out, json_t *headers)
{
    if (headers == NULL || json_is_null(headers))
        return true;
    if (json_is_object(headers))
        return want_put_object(w, out, headers);
    if (json_is_array(headers))
        return want_put_pairs(w, out, headers);
    return want_wrong(w, "headers: neither an object nor an array of [name, value]");
}

/* The request line and Host. METHOD is a token or a fault. */
static bool want_put_start(struct batch_want *w, FILE *out, struct str method, struct str url)
{
    char memory[1024], shown[160];
    struct arena arena;
    struct target target;
    const char *why = NULL;
    arena_init(&arena, memory, sizeof memory);
    bool ok = uri_parse_target(&target, &arena, url, false, &why);
    if (method.len == 0 || !want_is_all(method, CHAR_TOKEN))
        ok = want_wrong(w, "method: '%s' is no method", str_escape(shown, sizeof shown, method));
    else if (str_eq(method, STR("CONNECT")))
        ok = want_wrong(w, "method: CONNECT makes no sense in a batch");
    else if (!ok)
        ok = want_wrong(w, "url: %s", why);
    else if (target.form != TARGET_ABSOLUTE || !str_istarts(target.scheme_name, STR("http")) ||
             target.scheme == SCHEME_OTHER)
        ok = want_wrong(w, "url: it must begin with http:// or https://");
    else if (uri_is_own_name(target.host.name))
        ok = want_wrong(w, "url: a batch inside a batch is not taken");
    if (ok) {
        struct str host = uri_authority(&arena, target.host.name, target.host.port, 0);
        fprintf(out, "%.*s %.*s HTTP/1.1\r\nHost: %.*s\r\n", STR_ARG(method), STR_ARG(url),
                STR_ARG(host));
    }
    arena_clear(&arena);
    return ok;
}

static const char bad_base64[] = "body_base64: this is no base64";

static bool want_take_base64(struct batch_want *w, struct str text)
{
    size_t room = base64_decoded(text.len);
    w->body = xmalloc(room);
    return text.len % 4 == 0 && base64_decode(w->body, room, text, &w->body_len)
               ? true
               : want_wrong(w, "%s", bad_base64);
}

/* A long one has been decoded before: an empty string stands in its place. */
static bool want_take_body(struct batch_want *w, const json_t *element, bool is_bad_base64)
{
    const json_t *plain = json_object_get(element, "body");
    const json_t *base64 = json_object_get(element, "body_base64");
    if (plain != NULL && base64 != NULL)
        return want_wrong(w, "body and body_base64 are both given");
    if (w->body != NULL)
        return is_bad_base64 ? want_wrong(w, "%s", bad_base64) : true;
    const json_t *given = plain != NULL ? plain : base64;
    if (given == NULL)
        return true;
    if (!json_is_string(given))
        return want_wrong(w, "%s: no string", plain != NULL ? "body" : "body_base64");
    if (base64 != NULL)
        return want_take_base64(w, want_text(base64));
    w->body_len = json_string_length(plain);
    w->body = xmalloc(w->body_len + 1);
    memcpy(w->body, json_string_value(plain), w->body_len);
    return true;
}

/* What of TEXT may not stand in a Content-ID goes as %XX. */
static char *want_make_name(struct str text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *name = xmalloc(3 * text.len + 1), *to = name;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (chars_is(text.p[i], CHAR_TOKEN) && c != '%') {
            *to++ = (char)c;
            continue;
        }
        *to++ = '%';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    *to = '\0';
    return name;
}

/* ID as JSON, a number with the fewest digits that are still it: 0.1 stays 0.1. NULL: out of
 * memory. */
static char *want_write_id(const json_t *id)
{
    for (size_t digits = 15; json_is_real(id) && digits < 17; digits++) {
        char *text = json_dumps(id, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        if (text == NULL || strtod(text, NULL) == json_real_value(id))
            return text;
        json_limit_free(text);
    }
    return json_dumps(id, JSON_ENCODE_ANY);
}

static bool want_take_id(struct batch_want *w, const json_t *id)
{
    if (id == NULL || json_is_null(id))
        return true;
    if (!json_is_string(id) && !json_is_number(id))
        return want_wrong(w, "id: neither a string nor a number");
    if (json_is_string(id) && json_string_length(id) > ID_MAX)
        return want_wrong(w, "id: longer than %d bytes", ID_MAX);
    char *text = want_write_id(id);
    if (text == NULL)
        return want_wrong(w, "id: it cannot be written");
    w->id = xstrdup(text);
    w->name = want_make_name(json_is_string(id) ? want_text(id) : str_from(text));
    json_limit_free(text);
    return true;
}

static bool want_take_timeout(struct batch_want *w, const json_t *value)
{
    if (value == NULL || json_is_null(value))
        return true;
    json_int_t ms = json_is_integer(value) ? json_integer_value(value) : 0;
    if (ms < 1 || ms > TIMEOUT_MAX)
        return want_wrong(w, "timeout_ms: no whole number from 1 to %d", TIMEOUT_MAX);
    w->timeout_ms = ms;
    return true;
}

/* A misspelt member must not pass for one that was not given. */
static bool want_check_members(struct batch_want *w, json_t *element)
{
    static const char *const known[] = {"url", "method",      "headers",   "body",
                                        "id",  "body_base64", "timeout_ms"};
    const char *name;
    size_t len;
    json_t *value;
    json_object_keylen_foreach (element, name, len, value) {
        bool is_known = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            is_known = is_known || str_eq(str_make(name, len), str_from(known[i]));
        char shown[160];
        if (!is_known)
            return want_wrong(w, "'%s' is no member of an item",
                              str_escape(shown, sizeof shown, str_make(name, len)));
    }
    return true;
}

/* ---- an element */

static bool want_needs_length(const struct batch_want *w, struct str method)
{
    return w->body != NULL || str_eq(method, STR("POST")) || str_eq(method, STR("PUT")) ||
           str_eq(method, STR("PATCH"));
}

static bool want_put_head(struct batch_want *w, FILE *out, struct str method, json_t *element)
{
    const json_t *url = json_object_get(element, "url");
    if (!json_is_string(url))
        return want_wrong(w, "url: %s", url == NULL ? "not given" : "no string");
    if (!want_put_start(w, out, method, want_text(url)) ||
        !want_put_fields(w, out, json_object_get(element, "headers")))
        return false;
    if (want_needs_length(w, method))
        fprintf(out, "Content-Length: %zu\r\n", w->body_len);
    fputs("\r\n", out);
    return true;
}

/* A stream to what becomes the head of W. */
static FILE *want_open_head(struct batch_want *w)
{
    FILE *out = open_memstream(&w->head, &w->head_len);
    if (out == NULL)
        abort();
    return out;
}

static void want_close_head(struct batch_want *w, FILE *out, bool ok)
{
    fclose(out);
    if (ok)
        return;
    free(w->head);
    w->head = NULL;
}

static void want_take_element(struct batch_want *w, json_t *element, bool is_bad_base64)
{
    struct str method = STR("GET");
    const json_t *given = json_object_get(element, "method");
    if (!json_is_object(element)) {
        want_wrong(w, "an item is an object with a url");
        return;
    }
    /* The id first: an error is to carry it. */
    if (!want_take_id(w, json_object_get(element, "id")) || !want_check_members(w, element))
        return;
    if (given != NULL && !json_is_string(given)) {
        want_wrong(w, "method: no string");
        return;
    }
    if (given != NULL)
        method = want_text(given);
    if (!want_take_timeout(w, json_object_get(element, "timeout_ms")) ||
        !want_take_body(w, element, is_bad_base64))
        return;
    FILE *out = want_open_head(w);
    want_close_head(w, out, want_put_head(w, out, method, element));
}

bool batch_want_element(struct batch_want *w, struct batch_element *e)
{
    json_error_t error;
    json_limit_set(e->memory);
    json_t *element = json_loadb(e->text.p, e->text.len,
                                 JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (element != NULL) {
        want_take_element(w, element, e->is_bad_base64);
        json_decref(element);
    } else {
        e->wrong_at = (size_t)error.position;
        snprintf(e->why, sizeof e->why, "%s",
                 error.text[0] != '\0' ? error.text : "it takes too much memory");
    }
    json_limit_clear();
    return element != NULL;
}

void batch_want_line(struct batch_want *w, struct str url, size_t max)
{
    if (url.len > max) {
        want_wrong(w, "url: longer than %zu bytes", max);
        return;
    }
    FILE *out = want_open_head(w);
    bool ok = want_put_start(w, out, STR("GET"), url);
    if (ok)
        fputs("\r\n", out);
    want_close_head(w, out, ok);
}

void batch_want_clear(struct batch_want *w)
{
    free(w->head);
    free(w->body);
    free(w->id);
    free(w->name);
    free(w->wrong);
    *w = (struct batch_want){0};
}
