/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a batch call: see batch_read.h. An element becomes the bytes of a request head, which
 * then goes through the same parser as a client's: the checks here only see to it that the bytes
 * say what the element said. */
#include "own/batch_read.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "http/chars.h"
#include "http/uri.h"
#include "own/json_limit.h"

enum {
    STEP = 64 * 1024,   /* bytes of text read at a time */
    ITEM_COSTS = 256,   /* bytes of text that an item counts besides its own */
    ELEMENT_FACTOR = 4, /* what an element may have besides its body, in sizes of a head */
    ELEMENT_ALWAYS = 64 * 1024,
    ID_MAX = 200,           /* bytes */
    TIMEOUT_MAX = 86400000, /* ms */
    PARSE_FACTOR = 4,       /* what parsing may take of memory, in sizes of the text */
    PARSE_ALWAYS = 1024 * 1024
};

static bool wrong(struct batch_want *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static bool wrong(struct batch_want *w, const char *fmt, ...)
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

static struct str text_of(const json_t *string)
{
    return str_make(json_string_value(string), json_string_length(string));
}

static bool is_all(struct str s, unsigned classes)
{
    for (size_t i = 0; i < s.len; i++)
        if (!chars_is(s.p[i], classes))
            return false;
    return true;
}

/* ---- the parts of an element */

/* Fields that frame the message, or that are between tlsfan and the origin. */
static bool is_reserved(struct str name)
{
    static const char *const names[] = {"Host",       "Content-Length", "Transfer-Encoding",
                                        "Connection", "Keep-Alive",     "TE",
                                        "Trailer",    "Upgrade",        "Expect"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_ieq(name, str_from(names[i])))
            return true;
    return str_istarts(name, STR("Proxy-"));
}

static bool put_field(struct batch_want *w, FILE *out, struct str name, const json_t *value)
{
    char shown[160];
    str_escape(shown, sizeof shown, name);
    if (name.len == 0 || !is_all(name, CHAR_TOKEN))
        return wrong(w, "headers: '%s' is no field name", shown);
    if (is_reserved(name))
        return wrong(w, "headers: %s may not be given: the proxy makes it itself", shown);
    if (!json_is_string(value))
        return wrong(w, "headers: the value of %s is no string", shown);
    if (!is_all(text_of(value), CHAR_VALUE))
        return wrong(w, "headers: the value of %s has a control byte in it", shown);
    fprintf(out, "%.*s: ", STR_ARG(name));
    fwrite(json_string_value(value), 1, json_string_length(value), out);
    fputs("\r\n", out);
    return true;
}

/* {"Name": "value"} or {"Name": ["value", ...]}. */
static bool put_object(struct batch_want *w, FILE *out, json_t *headers)
{
    const char *name;
    size_t len, i;
    json_t *value, *one;
    json_object_keylen_foreach (headers, name, len, value) {
        if (!json_is_array(value) && !put_field(w, out, str_make(name, len), value))
            return false;
        json_array_foreach (value, i, one)
            if (!put_field(w, out, str_make(name, len), one))
                return false;
    }
    return true;
}

/* [["Name", "value"], ...]. */
static bool put_pairs(struct batch_want *w, FILE *out, const json_t *headers)
{
    size_t i;
    json_t *pair;
    json_array_foreach (headers, i, pair) {
        const json_t *name = json_array_get(pair, 0);
        if (json_array_size(pair) != 2 || !json_is_string(name))
            return wrong(w, "headers: an element is no [name, value]");
        if (!put_field(w, out, text_of(name), json_array_get(pair, 1)))
            return false;
    }
    return true;
}

static bool put_fields(struct batch_want *w, FILE *out, json_t *headers)
{
    if (headers == NULL || json_is_null(headers))
        return true;
    if (json_is_object(headers))
        return put_object(w, out, headers);
    if (json_is_array(headers))
        return put_pairs(w, out, headers);
    return wrong(w, "headers: neither an object nor an array of [name, value]");
}

/* The request line and Host. METHOD is a token or a fault. */
static bool put_start(struct batch_want *w, FILE *out, struct str method, struct str url)
{
    char memory[1024], shown[160];
    struct arena arena;
    struct target target;
    const char *why = NULL;
    arena_init(&arena, memory, sizeof memory);
    bool ok = uri_parse_target(&target, &arena, url, false, &why);
    if (method.len == 0 || !is_all(method, CHAR_TOKEN))
        ok = wrong(w, "method: '%s' is no method", str_escape(shown, sizeof shown, method));
    else if (str_eq(method, STR("CONNECT")))
        ok = wrong(w, "method: CONNECT makes no sense in a batch");
    else if (!ok)
        ok = wrong(w, "url: %s", why);
    else if (target.form != TARGET_ABSOLUTE || !str_istarts(target.scheme_name, STR("http")) ||
             target.scheme == SCHEME_OTHER)
        ok = wrong(w, "url: it must begin with http:// or https://");
    else if (uri_is_own_name(target.host.name))
        ok = wrong(w, "url: a batch inside a batch is not taken");
    if (ok) {
        struct str host = uri_authority(&arena, target.host.name, target.host.port, 0);
        fprintf(out, "%.*s %.*s HTTP/1.1\r\nHost: %.*s\r\n", STR_ARG(method), STR_ARG(url),
                STR_ARG(host));
    }
    arena_clear(&arena);
    return ok;
}

static const char bad_base64[] = "body_base64: this is no base64";

static bool take_base64(struct batch_want *w, struct str text)
{
    size_t room = base64_decoded(text.len);
    w->body = xmalloc(room);
    return text.len % 4 == 0 && base64_decode(w->body, room, text, &w->body_len)
               ? true
               : wrong(w, "%s", bad_base64);
}

/* A long one has been decoded before: an empty string stands in its place. */
static bool take_body(const struct batch_reader *r, struct batch_want *w, const json_t *element)
{
    const json_t *plain = json_object_get(element, "body");
    const json_t *base64 = json_object_get(element, "body_base64");
    if (plain != NULL && base64 != NULL)
        return wrong(w, "body and body_base64 are both given");
    if (w->body != NULL)
        return r->long_body.is_bad_base64 ? wrong(w, "%s", bad_base64) : true;
    const json_t *given = plain != NULL ? plain : base64;
    if (given == NULL)
        return true;
    if (!json_is_string(given))
        return wrong(w, "%s: no string", plain != NULL ? "body" : "body_base64");
    if (base64 != NULL)
        return take_base64(w, text_of(base64));
    w->body_len = json_string_length(plain);
    w->body = xmalloc(w->body_len + 1);
    memcpy(w->body, json_string_value(plain), w->body_len);
    return true;
}

/* What of TEXT may not stand in a Content-ID goes as %XX. */
static char *make_name(struct str text)
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
static char *write_id(const json_t *id)
{
    for (size_t digits = 15; json_is_real(id) && digits < 17; digits++) {
        char *text = json_dumps(id, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        if (text == NULL || strtod(text, NULL) == json_real_value(id))
            return text;
        json_limit_free(text);
    }
    return json_dumps(id, JSON_ENCODE_ANY);
}

static bool take_id(struct batch_want *w, const json_t *id)
{
    if (id == NULL || json_is_null(id))
        return true;
    if (!json_is_string(id) && !json_is_number(id))
        return wrong(w, "id: neither a string nor a number");
    if (json_is_string(id) && json_string_length(id) > ID_MAX)
        return wrong(w, "id: longer than %d bytes", ID_MAX);
    char *text = write_id(id);
    if (text == NULL)
        return wrong(w, "id: it cannot be written");
    w->id = xstrdup(text);
    w->name = make_name(json_is_string(id) ? text_of(id) : str_from(text));
    json_limit_free(text);
    return true;
}

static bool take_timeout(struct batch_want *w, const json_t *value)
{
    if (value == NULL || json_is_null(value))
        return true;
    json_int_t ms = json_is_integer(value) ? json_integer_value(value) : 0;
    if (ms < 1 || ms > TIMEOUT_MAX)
        return wrong(w, "timeout_ms: no whole number from 1 to %d", TIMEOUT_MAX);
    w->timeout_ms = ms;
    return true;
}

/* A misspelt member must not pass for one that was not given. */
static bool check_members(struct batch_want *w, json_t *element)
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
            return wrong(w, "'%s' is no member of an item",
                         str_escape(shown, sizeof shown, str_make(name, len)));
    }
    return true;
}

/* ---- an element */

static bool needs_length(const struct batch_want *w, struct str method)
{
    return w->body != NULL || str_eq(method, STR("POST")) || str_eq(method, STR("PUT")) ||
           str_eq(method, STR("PATCH"));
}

static bool put_head(struct batch_want *w, FILE *out, struct str method, json_t *element)
{
    const json_t *url = json_object_get(element, "url");
    if (!json_is_string(url))
        return wrong(w, "url: %s", url == NULL ? "not given" : "no string");
    if (!put_start(w, out, method, text_of(url)) ||
        !put_fields(w, out, json_object_get(element, "headers")))
        return false;
    if (needs_length(w, method))
        fprintf(out, "Content-Length: %zu\r\n", w->body_len);
    fputs("\r\n", out);
    return true;
}

/* A stream to what becomes the head of W. */
static FILE *open_head(struct batch_want *w)
{
    FILE *out = open_memstream(&w->head, &w->head_len);
    if (out == NULL)
        abort();
    return out;
}

static void close_head(struct batch_want *w, FILE *out, bool ok)
{
    fclose(out);
    if (ok)
        return;
    free(w->head);
    w->head = NULL;
}

static void take_element(const struct batch_reader *r, struct batch_want *w, json_t *element)
{
    struct str method = STR("GET");
    const json_t *given = json_object_get(element, "method");
    if (!json_is_object(element)) {
        wrong(w, "an item is an object with a url");
        return;
    }
    /* The id first: an error is to carry it. */
    if (!take_id(w, json_object_get(element, "id")) || !check_members(w, element))
        return;
    if (given != NULL && !json_is_string(given)) {
        wrong(w, "method: no string");
        return;
    }
    if (given != NULL)
        method = text_of(given);
    if (!take_timeout(w, json_object_get(element, "timeout_ms")) || !take_body(r, w, element))
        return;
    FILE *out = open_head(w);
    close_head(w, out, put_head(w, out, method, element));
}

static void take_line(const struct batch_reader *r, struct batch_want *w, struct str url)
{
    if (url.len > r->max_element) {
        wrong(w, "url: longer than %zu bytes", r->max_element);
        return;
    }
    FILE *out = open_head(w);
    bool ok = put_start(w, out, STR("GET"), url);
    if (ok)
        fputs("\r\n", out);
    close_head(w, out, ok);
}

/* ---- the whole */

static enum batch_read_result bad(struct batch_reader *r, enum fault_code code, const char *text)
{
    fault_say(&r->fault, code, text);
    return BATCH_READ_BAD;
}

/* Room for one more; NULL with the fault when there are too many. */
static struct batch_want *reader_add(struct batch_reader *r)
{
    if (r->n == r->max_items) {
        fault_set(&r->fault, FAULT_TOO_LARGE, "the batch has more than %u items (batch.max_items)",
                  r->max_items);
        return NULL;
    }
    if (r->n == r->cap) {
        r->cap = r->cap == 0 ? 16 : 2 * r->cap;
        r->v = xrealloc(r->v, r->cap * sizeof r->v[0]);
    }
    r->v[r->n] = (struct batch_want){0};
    return &r->v[r->n++];
}

static void spend(struct batch_reader *r, size_t n)
{
    r->left -= n < r->left ? n : r->left;
}

/* False when it goes on beyond what this step may look at. */
static bool skip_space(struct batch_reader *r)
{
    size_t from = r->at, left = r->body.len - from;
    size_t until = from + (left < r->left ? left : r->left);
    while (r->at < until && (r->body.p[r->at] == ' ' || r->body.p[r->at] == '\t' ||
                             r->body.p[r->at] == '\r' || r->body.p[r->at] == '\n'))
        r->at++;
    spend(r, r->at - from);
    return r->left > 0;
}

static bool take_byte(struct batch_reader *r, char c)
{
    if (r->at == r->body.len || r->body.p[r->at] != c)
        return false;
    r->at++;
    return true;
}

/* AT counts from the beginning of the body. */
static enum batch_read_result not_json(struct batch_reader *r, size_t at, const char *why)
{
    char shown[200];
    fault_set(&r->fault, FAULT_BAD_REQUEST, "the body is not JSON: item %u, byte %zu: %s", r->n - 1,
              at, str_escape(shown, sizeof shown, str_from(why)));
    r->fault.phrase = "The body is not JSON";
    return BATCH_READ_BAD;
}

/* TEXT is the whole element but for a long body. */
static enum batch_read_result parse_element(struct batch_reader *r, struct str text)
{
    json_error_t error;
    struct batch_want *w = &r->v[r->n - 1];
    json_limit_set(PARSE_FACTOR * r->body.len + PARSE_ALWAYS);
    json_t *element = json_loadb(text.p, text.len,
                                 JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (element != NULL) {
        w->body = r->long_body.bytes;
        w->body_len = r->long_body.len;
        r->long_body.bytes = NULL;
        take_element(r, w, element);
        json_decref(element);
    }
    json_limit_clear();
    if (element != NULL)
        return BATCH_READ_DONE;
    return not_json(r, batch_rest_place(&r->scan, (size_t)error.position),
                    error.text[0] != '\0' ? error.text : "it takes too much memory");
}

/* Some of an element: first its end is looked for, then a long body is decoded, then the parser
 * reads the rest. */
static enum batch_read_result read_element(struct batch_reader *r)
{
    size_t before = r->scan.at;
    if (!r->is_found)
        r->is_found = batch_scan_step(&r->scan, r->body, r->left);
    spend(r, r->scan.at - before);
    if (!r->is_found || !batch_body_step(&r->long_body, &r->scan, r->body, &r->left))
        return BATCH_READ_MORE;
    if (r->long_body.text.wrong != NULL)
        return not_json(r, r->long_body.wrong_at, r->long_body.text.wrong);
    size_t n = batch_rest_size(&r->scan);
    if (n > r->max_element) {
        fault_set(&r->fault, FAULT_TOO_LARGE, "item %u has more than %zu bytes besides its body",
                  r->n - 1, r->max_element);
        return BATCH_READ_BAD;
    }
    spend(r, n + ITEM_COSTS);
    r->at = r->scan.at;
    r->place = BATCH_BEHIND;
    if (r->long_body.bytes == NULL)
        return parse_element(r, str_make(r->body.p + r->scan.begin, n));
    char *rest = batch_rest(&r->scan, r->body);
    enum batch_read_result result = parse_element(r, str_make(rest, n));
    free(rest);
    return result;
}

static enum batch_read_result begin_element(struct batch_reader *r)
{
    if (reader_add(r) == NULL)
        return BATCH_READ_BAD;
    batch_scan_init(&r->scan, r->at);
    free(r->long_body.bytes);
    memset(&r->long_body, 0, sizeof r->long_body);
    r->is_found = false;
    r->place = BATCH_INSIDE;
    return BATCH_READ_MORE;
}

/* One thing of the array. MORE: go on. */
static enum batch_read_result step_place(struct batch_reader *r)
{
    switch (r->place) {
    case BATCH_AT_START:
        r->place = BATCH_AT_FIRST;
        return take_byte(r, '[') ? BATCH_READ_MORE
                                 : bad(r, FAULT_BAD_REQUEST, "the body is no JSON array");
    case BATCH_AT_FIRST:
        r->place = BATCH_AT_ELEMENT;
        return take_byte(r, ']') ? bad(r, FAULT_BAD_REQUEST, "the batch is empty")
                                 : BATCH_READ_MORE;
    case BATCH_AT_ELEMENT:
        return begin_element(r);
    case BATCH_INSIDE:
        return read_element(r) == BATCH_READ_BAD ? BATCH_READ_BAD : BATCH_READ_MORE;
    case BATCH_BEHIND:
        r->place = take_byte(r, ',') ? BATCH_AT_ELEMENT : BATCH_AT_END;
        return r->place == BATCH_AT_ELEMENT || take_byte(r, ']')
                   ? BATCH_READ_MORE
                   : bad(r, FAULT_BAD_REQUEST,
                         "the body is not JSON: an item is followed by neither a comma nor ]");
    case BATCH_AT_END:
        break;
    }
    if (r->at < r->body.len)
        return bad(r, FAULT_BAD_REQUEST, "the body is not JSON: something follows the array");
    return BATCH_READ_DONE;
}

static enum batch_read_result step_json(struct batch_reader *r)
{
    enum batch_read_result result = BATCH_READ_MORE;
    while (result == BATCH_READ_MORE && r->left > 0) {
        if (r->place == BATCH_INSIDE || skip_space(r))
            result = step_place(r);
    }
    return result;
}

/* The line at r->at, without its end. */
static struct str take_text(struct batch_reader *r)
{
    struct str rest = str_from_byte(r->body, r->at);
    struct str line = str_make(rest.p, str_find(rest, '\n'));
    size_t n = line.len + (line.len < rest.len);
    r->at += n;
    spend(r, n);
    if (line.len > 0 && line.p[line.len - 1] == '\r')
        line.len--;
    return line.len <= r->max_element ? str_trim(line) : line; /* longer, it is no URL anyway */
}

static enum batch_read_result step_text(struct batch_reader *r)
{
    while (r->at < r->body.len && r->left > 0) {
        struct str line = take_text(r);
        if (line.len == 0)
            continue;
        struct batch_want *w = reader_add(r);
        if (w == NULL)
            return BATCH_READ_BAD;
        take_line(r, w, line);
        spend(r, ITEM_COSTS);
    }
    if (r->at < r->body.len)
        return BATCH_READ_MORE;
    if (r->n == 0)
        return bad(r, FAULT_BAD_REQUEST, "the batch is empty");
    return BATCH_READ_DONE;
}

void batch_read_init(struct batch_reader *r, struct str body, bool is_json, unsigned max_items,
                     size_t max_head)
{
    *r = (struct batch_reader){.body = body,
                               .is_json = is_json,
                               .max_items = max_items,
                               .max_element = ELEMENT_FACTOR * max_head + ELEMENT_ALWAYS};
}

enum batch_read_result batch_read_step(struct batch_reader *r)
{
    r->left = STEP;
    return r->is_json ? step_json(r) : step_text(r);
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

void batch_read_clear(struct batch_reader *r)
{
    for (unsigned i = 0; i < r->n; i++)
        batch_want_clear(&r->v[i]);
    free(r->v);
    free(r->long_body.bytes);
    *r = (struct batch_reader){0};
}
