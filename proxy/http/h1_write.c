/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 messages out. The caller made room for all of it, so this is nothing but copying. What is
 * copied came through the strict parser or the check of the configuration: no CR or LF in it. */
#include "http/h1_write.h"

#include <assert.h>

/* Room for what is written besides the fields: start line, Host, framing, Connection, TE. */
enum { HEAD_ROOM = 256 + H1_HOST_MAX };

#define BIT(id) (UINT64_C(1) << (id))

/* Fields of the list that OUT stands for. */
static const uint64_t framing_fields = BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_TRANSFER_ENCODING);
static const uint64_t connection_fields =
    BIT(FIELD_CONNECTION) | BIT(FIELD_KEEP_ALIVE) | BIT(FIELD_PROXY_CONNECTION) | BIT(FIELD_TE);

struct writer {
    char *p; /* next byte */
    const struct h1_out *out;
    bool has_framing; /* it was written */
};

static inline void h1_put(struct writer *w, struct str s)
{
    if (s.len > 0)
        memcpy(w->p, s.p, s.len);
    w->p += s.len;
}

static inline void h1_put_field(struct writer *w, struct str name, struct str value)
{
    h1_put(w, name);
    h1_put(w, STR(": "));
    h1_put(w, value);
    h1_put(w, STR("\r\n"));
}

/* The framing field; OLD (may be NULL) is the one it replaces, whose name keeps its case. */
static void put_framing(struct writer *w, const struct field *old)
{
    enum field_id id = old == NULL ? FIELD_OTHER : old->id;
    if (w->has_framing || w->out->omit_framing)
        return;
    w->has_framing = true;
    if (w->out->framing == H1_FRAMING_LENGTH) {
        h1_put(w, id == FIELD_CONTENT_LENGTH ? old->name : STR("Content-Length"));
        h1_put(w, STR(": "));
        w->p += str_put_u64(w->p, w->out->length);
        h1_put(w, STR("\r\n"));
    } else if (w->out->framing == H1_FRAMING_CHUNKED) {
        h1_put_field(w, id == FIELD_TRANSFER_ENCODING ? old->name : STR("Transfer-Encoding"),
                     STR("chunked"));
    }
}

/* Fields as they are, but those that OUT or HOST (p = NULL: none) stands for. */
static void h1_put_fields(struct writer *w, const struct fields *fields, struct str host)
{
    uint64_t special = connection_fields | framing_fields;
    bool has_host = host.p == NULL;
    if (!has_host)
        special |= BIT(FIELD_HOST);
    for (unsigned i = 0; i < fields->n; i++) {
        const struct field *f = &fields->v[i];
        if (f->name.p == NULL || (BIT(f->id) & connection_fields) != 0)
            continue;
        if ((BIT(f->id) & special) == 0) {
            h1_put_field(w, f->name, f->value);
        } else if (f->id == FIELD_HOST) {
            if (!has_host)
                h1_put_field(w, f->name, host);
            has_host = true;
        } else if (!w->out->omit_framing) {
            put_framing(w, f);
        } else if (f->id == FIELD_CONTENT_LENGTH || !w->out->peer_is_1_0) {
            h1_put_field(w, f->name, f->value);
        }
    }
}

/* Connection with all its options, TE, and the end of the head. */
static void put_end(struct writer *w)
{
    const struct h1_out *out = w->out;
    struct str options[3];
    unsigned n = 0;
    put_framing(w, NULL);
    if (out->is_upgrade)
        options[n++] = STR("upgrade");
    else if (!out->keep_alive)
        options[n++] = STR("close");
    else if (out->peer_is_1_0)
        options[n++] = STR("keep-alive");
    if (out->te_trailers) {
        h1_put(w, STR("TE: trailers\r\n"));
        options[n++] = STR("TE");
    }
    if (n > 0)
        h1_put(w, STR("Connection: "));
    for (unsigned i = 0; i < n; i++) {
        h1_put(w, options[i]);
        h1_put(w, i + 1 < n ? STR(", ") : STR("\r\n"));
    }
    h1_put(w, STR("\r\n"));
}

static size_t fields_size(const struct fields *fields)
{
    size_t size = 0;
    for (unsigned i = 0; i < fields->n; i++)
        size += fields->v[i].name.len + fields->v[i].value.len + sizeof(": \r\n") - 1;
    return size;
}

size_t h1_request_size(struct str method, struct str target, const struct fields *fields)
{
    return method.len + target.len + fields_size(fields) + HEAD_ROOM;
}

size_t h1_response_size(struct str reason, const struct fields *fields)
{
    return reason.len + fields_size(fields) + HEAD_ROOM;
}

size_t h1_write_request(char *dst, const struct h1_start *start, const struct fields *fields,
                        const struct h1_out *out)
{
    struct writer w = {.p = dst, .out = out};
    assert(start->host.len <= H1_HOST_MAX);
    h1_put(&w, start->method);
    h1_put(&w, STR(" "));
    h1_put(&w, start->prefix);
    if (start->prefix.len == 0 || !str_eq(start->target, STR("*")))
        h1_put(&w, start->target);
    h1_put(&w, STR(" HTTP/1.1\r\n"));
    if (start->auth.len > 0)
        h1_put_field(&w, STR("Proxy-Authorization"), start->auth);
    if (fields_find(fields, FIELD_HOST, NULL) == NULL)
        h1_put_field(&w, STR("Host"), start->host);
    h1_put_fields(&w, fields, start->host.p == NULL ? STR("") : start->host);
    put_end(&w);
    return (size_t)(w.p - dst);
}

size_t h1_write_response(char *dst, unsigned status, struct str reason, const struct fields *fields,
                         const struct h1_out *out)
{
    struct writer w = {.p = dst, .out = out};
    h1_put(&w, STR("HTTP/1.1 "));
    *w.p++ = (char)('0' + status / 100 % 10);
    *w.p++ = (char)('0' + status / 10 % 10);
    *w.p++ = (char)('0' + status % 10);
    *w.p++ = ' ';
    h1_put(&w, reason);
    h1_put(&w, STR("\r\n"));
    h1_put_fields(&w, fields, str_make(NULL, 0));
    put_end(&w);
    return (size_t)(w.p - dst);
}

size_t h1_write_chunk_head(char *dst, uint64_t n)
{
    size_t len = str_put_hex(dst, n);
    memcpy(dst + len, "\r\n", 2);
    return len + 2;
}

size_t h1_trailers_size(const struct fields *trailers)
{
    return sizeof("0\r\n\r\n") - 1 + (trailers == NULL ? 0 : fields_size(trailers));
}

size_t h1_write_trailers(char *dst, const struct fields *trailers)
{
    struct writer w = {.p = dst};
    h1_put(&w, STR("0\r\n"));
    for (unsigned i = 0; trailers != NULL && i < trailers->n; i++) {
        if (trailers->v[i].name.p != NULL)
            h1_put_field(&w, trailers->v[i].name, trailers->v[i].value);
    }
    h1_put(&w, STR("\r\n"));
    return (size_t)(w.p - dst);
}

/* The IANA registry of status codes. */
static const struct str reasons[] = {
    [100] = STR_INIT("Continue"),
    [101] = STR_INIT("Switching Protocols"),
    [102] = STR_INIT("Processing"),
    [103] = STR_INIT("Early Hints"),
    [200] = STR_INIT("OK"),
    [201] = STR_INIT("Created"),
    [202] = STR_INIT("Accepted"),
    [203] = STR_INIT("Non-Authoritative Information"),
    [204] = STR_INIT("No Content"),
    [205] = STR_INIT("Reset Content"),
    [206] = STR_INIT("Partial Content"),
    [207] = STR_INIT("Multi-Status"),
    [208] = STR_INIT("Already Reported"),
    [226] = STR_INIT("IM Used"),
    [300] = STR_INIT("Multiple Choices"),
    [301] = STR_INIT("Moved Permanently"),
    [302] = STR_INIT("Found"),
    [303] = STR_INIT("See Other"),
    [304] = STR_INIT("Not Modified"),
    [305] = STR_INIT("Use Proxy"),
    [307] = STR_INIT("Temporary Redirect"),
    [308] = STR_INIT("Permanent Redirect"),
    [400] = STR_INIT("Bad Request"),
    [401] = STR_INIT("Unauthorized"),
    [402] = STR_INIT("Payment Required"),
    [403] = STR_INIT("Forbidden"),
    [404] = STR_INIT("Not Found"),
    [405] = STR_INIT("Method Not Allowed"),
    [406] = STR_INIT("Not Acceptable"),
    [407] = STR_INIT("Proxy Authentication Required"),
    [408] = STR_INIT("Request Timeout"),
    [409] = STR_INIT("Conflict"),
    [410] = STR_INIT("Gone"),
    [411] = STR_INIT("Length Required"),
    [412] = STR_INIT("Precondition Failed"),
    [413] = STR_INIT("Content Too Large"),
    [414] = STR_INIT("URI Too Long"),
    [415] = STR_INIT("Unsupported Media Type"),
    [416] = STR_INIT("Range Not Satisfiable"),
    [417] = STR_INIT("Expectation Failed"),
    [418] = STR_INIT("I'm a teapot"),
    [421] = STR_INIT("Misdirected Request"),
    [422] = STR_INIT("Unprocessable Content"),
    [423] = STR_INIT("Locked"),
    [424] = STR_INIT("Failed Dependency"),
    [425] = STR_INIT("Too Early"),
    [426] = STR_INIT("Upgrade Required"),
    [428] = STR_INIT("Precondition Required"),
    [429] = STR_INIT("Too Many Requests"),
    [431] = STR_INIT("Request Header Fields Too Large"),
    [451] = STR_INIT("Unavailable For Legal Reasons"),
    [500] = STR_INIT("Internal Server Error"),
    [501] = STR_INIT("Not Implemented"),
    [502] = STR_INIT("Bad Gateway"),
    [503] = STR_INIT("Service Unavailable"),
    [504] = STR_INIT("Gateway Timeout"),
    [505] = STR_INIT("HTTP Version Not Supported"),
    [506] = STR_INIT("Variant Also Negotiates"),
    [507] = STR_INIT("Insufficient Storage"),
    [508] = STR_INIT("Loop Detected"),
    [510] = STR_INIT("Not Extended"),
    [511] = STR_INIT("Network Authentication Required"),
};

struct str h1_reason(unsigned status)
{
    if (status >= sizeof(reasons) / sizeof(reasons[0]) || reasons[status].p == NULL)
        return STR("");
    return reasons[status];
}
