/* SPDX-License-Identifier: Apache-2.0 */
/* What our codec sees in a connection, as one canonical line a case, to compare with llhttp.js.
 *
 * In:  KIND PIECE HEX    KIND is request, response, head or connect (a response to that method);
 * PIECE is the bytes that arrive at once, 0 for all Out: {MESSAGE} END     END is E (refused), ~
 * (cut short), C (closes), U (no longer HTTP), . (more may come) MESSAGE is "M method target minor"
 * or "S status reason minor", then " F name value"..., " B body", " T name value"..., " K" when the
 * connection goes on, ";"; bytes but letters and digits are %XX. */
#include <stdio.h>
#include <stdlib.h>

#include "http/h1_body.h"

struct reader {
    const char *p; /* the connection */
    size_t n, at, have, piece;
    bool is_response;
    enum method_id method;
    struct arena arena;
    struct h1_head head;
    struct h1_body body;
    char *data;
    size_t len;
};

static void show(struct str s)
{
    putchar(' ');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        printf(is_plain ? "%c" : "%%%02X", c);
    }
}

static void show_fields(const char *letter, const struct fields *f)
{
    for (unsigned i = 0; i < f->n; i++) {
        printf(" %s", letter);
        show(f->v[i].name);
        show(f->v[i].value);
    }
}

static bool has_option(const struct reader *r, struct str option)
{
    const struct field *f = NULL;
    while ((f = fields_find(&r->head.fields, FIELD_CONNECTION, f)) != NULL)
        if (str_has_token(f->value, option))
            return true;
    return false;
}

/* Connection as a client or server of the version understands it (RFC 9112 §9.3). */
static bool goes_on(const struct reader *r)
{
    if (r->body.framing == H1_FRAMING_CLOSE || has_option(r, STR("close")))
        return false;
    return r->head.minor == 1 || has_option(r, STR("keep-alive"));
}

static void show_message(struct reader *r)
{
    struct fields trailers;
    struct h1_error e;
    fields_init(&trailers, &r->arena, NULL, 0);
    if (r->body.trailer_len > 0 &&
        !h1_parse_fields(&trailers, r->body.trailer, r->body.trailer_len, false, &e))
        abort();
    printf(r->is_response ? "S %u" : "M", r->head.status);
    show(r->is_response ? r->head.reason : r->head.method.name);
    if (!r->is_response)
        show(r->head.target);
    printf(" %u", r->head.minor);
    show_fields("F", &r->head.fields);
    printf(" B");
    show(str_make(r->data, r->len));
    show_fields("T", &trailers);
    printf("%s; ", goes_on(r) ? " K" : "");
}

/* Lets the next piece arrive; false at the end. */
static bool arrive(struct reader *r)
{
    if (r->have == r->n)
        return false;
    r->have = r->piece == 0 || r->n - r->have < r->piece ? r->n : r->have + r->piece;
    return true;
}

/* The one empty line that may be before a request (RFC 9112 §2.2). */
static void skip_empty_line(struct reader *r)
{
    while (r->have - r->at < 2 && (r->have == r->at || r->p[r->at] == '\r')) {
        if (!arrive(r))
            return;
    }
    if (!r->is_response && memcmp(r->p + r->at, "\r\n", 2) == 0)
        r->at += 2;
}

/* A whole head: '.', or what ends the connection. */
static char read_head(struct reader *r)
{
    struct h1_error e;
    size_t scanned = 0, end;
    skip_empty_line(r);
    while ((end = h1_head_end(r->p + r->at, r->have - r->at, &scanned, false)) == 0) {
        if (!arrive(r))
            return r->at == r->n ? '.' : '~';
    }
    r->head = (struct h1_head){.status = 0};
    fields_init(&r->head.fields, &r->arena, NULL, 0);
    const char *p = r->p + r->at;
    r->at += end;
    if (r->is_response)
        return h1_parse_response(&r->head, p, end, false, &e) &&
                       h1_body_of_response(&r->body, &r->head, r->method, false, &e)
                   ? 'H'
                   : 'E';
    return h1_parse_request(&r->head, p, end, false, &e) &&
                   h1_body_of_request(&r->body, &r->head, &e)
               ? 'H'
               : 'E';
}

/* '.' when it is complete. */
static char read_body(struct reader *r)
{
    r->len = 0;
    while (!h1_body_is_done(&r->body)) {
        if (r->at == r->have && !arrive(r))
            return h1_body_at_close(&r->body) ? '.' : '~';
        struct str data;
        ssize_t used = h1_body_feed(&r->body, r->p + r->at, r->have - r->at, &data);
        if (used < 0)
            return 'E';
        memcpy(r->data + r->len, data.p, data.len);
        r->len += data.len;
        r->at += (size_t)used;
    }
    return '.';
}

/* One message: '.' when another may follow, else what ends the connection. */
static char read_message(struct reader *r)
{
    char end = read_head(r);
    if (end != 'H')
        return end == '.' ? '!' : end;
    end = read_body(r);
    bool is_tunnel = r->is_response ? r->head.status == 101 ||
                                          (r->method == METHOD_CONNECT && r->head.status / 100 == 2)
                                    : r->head.method.id == METHOD_CONNECT;
    if (end == '.') {
        show_message(r);
        end = is_tunnel ? 'U' : goes_on(r) ? '.' : 'C';
    }
    h1_body_clear(&r->body);
    return end;
}

static void read_connection(struct reader *r)
{
    char end;
    arena_init(&r->arena, NULL, 0);
    r->data = xmalloc(r->n + 1);
    do
        end = read_message(r);
    while (end == '.');
    printf("%c\n", end == '!' ? '.' : end);
    free(r->data);
    arena_clear(&r->arena);
}

int main(void)
{
    static char kind[16], hex[1 << 20];
    size_t piece;
    while (scanf("%15s %zu %1048575s", kind, &piece, hex) == 3) {
        size_t n = strlen(hex) / 2;
        char *bytes = xmalloc(n + 1);
        for (size_t i = 0; i < n; i++) {
            char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
            bytes[i] = (char)strtoul(digits, NULL, 16);
        }
        bytes[n] = '\0';
        struct reader r = {.p = bytes, .n = n, .piece = piece};
        r.is_response = strcmp(kind, "request") != 0;
        r.method = strcmp(kind, "head") == 0      ? METHOD_HEAD
                   : strcmp(kind, "connect") == 0 ? METHOD_CONNECT
                                                  : METHOD_GET;
        read_connection(&r);
        free(bytes);
    }
    return 0;
}
