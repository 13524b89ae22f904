/* SPDX-License-Identifier: Apache-2.0 */
/* What the two codec targets share: a message is decoded whole and in pieces, which must agree,
 * then written and decoded again, which must give the same message and the same bytes. */
#ifndef TLSFAN_FUZZ_H1_H
#define TLSFAN_FUZZ_H1_H

#include <stdlib.h>

#include "http/h1_write.h"

enum { FUZZ_MAX = 64 * 1024 }; /* bytes of an input that is looked at */

/* A decoded message. */
struct message {
    enum fault_code fault; /* FAULT_NONE: taken */
    bool lenient_takes;    /* as the fault has it */
    bool is_done;          /* all of it was there */
    size_t used;           /* bytes of it */
    char *raw;             /* the head: memory of just its size */
    char *data;
    size_t len;
    struct h1_head head;
    struct h1_body body;
    struct fields trailers;
    struct arena arena;
};

/* How a target reads its messages. */
struct reader {
    bool is_response;
    bool lenient;
    enum method_id method; /* of the request that a response answers */
    size_t piece;          /* bytes that arrive at once */
};

static inline void must(bool holds)
{
    if (!holds)
        abort();
}

static inline bool message_head(struct message *m, const struct reader *r, size_t n)
{
    struct h1_error e = {.code = FAULT_NONE};
    bool ok;
    if (r->is_response)
        ok = h1_parse_response(&m->head, m->raw, n, r->lenient, &e) &&
             h1_body_of_response(&m->body, &m->head, r->method, r->lenient, &e);
    else
        ok = h1_parse_request(&m->head, m->raw, n, r->lenient, &e) &&
             h1_body_of_request(&m->body, &m->head, &e);
    m->fault = e.code;
    m->lenient_takes = e.lenient_takes;
    must(ok == (e.code == FAULT_NONE) && (ok || (e.reason != NULL && e.pos <= n)));
    return ok;
}

static inline void message_body(struct message *m, const struct reader *r, const char *p, size_t n)
{
    while (m->used < n && !h1_body_is_done(&m->body)) {
        size_t piece = n - m->used < r->piece ? n - m->used : r->piece;
        char *copy = xmalloc(piece);
        struct str data;
        memcpy(copy, p + m->used, piece);
        ssize_t used = h1_body_feed(&m->body, copy, piece, &data);
        must(used == -1 || (used > 0 && (size_t)used <= piece));
        if (used > 0) {
            must(data.p >= copy && data.p + data.len <= copy + used);
            memcpy(m->data + m->len, data.p, data.len);
            m->len += data.len;
            m->used += (size_t)used;
        }
        free(copy);
        if (used < 0) {
            must(m->body.error.reason != NULL && m->body.error.pos < piece);
            m->fault = m->body.error.code;
            m->lenient_takes = m->body.error.lenient_takes;
            return;
        }
    }
    m->is_done = h1_body_at_close(&m->body);
    if (m->is_done)
        must(h1_body_trailers(&m->body, &m->trailers));
}

static inline void message_read(struct message *m, const struct reader *r, const char *p, size_t n)
{
    size_t scanned = 0, end = 0;
    *m = (struct message){.fault = FAULT_NONE};
    arena_init(&m->arena, NULL, 0);
    fields_init(&m->head.fields, &m->arena, NULL, 0);
    fields_init(&m->trailers, &m->arena, NULL, 0);
    m->data = xmalloc(n + 1);
    for (size_t have = 0; end == 0 && have < n;) {
        have = n - have < r->piece ? n : have + r->piece;
        end = h1_head_end(p, have, &scanned, r->lenient);
        must(end <= have);
    }
    if (end == 0)
        return;
    m->used = end;
    m->raw = xmalloc(end);
    memcpy(m->raw, p, end);
    if (message_head(m, r, end))
        message_body(m, r, p, n);
}

static inline void message_clear(struct message *m)
{
    h1_body_clear(&m->body);
    arena_clear(&m->arena);
    free(m->raw);
    free(m->data);
}

/* The message anew, its body as one chunk where it is chunked; memory of just the size. */
static inline char *message_write(const struct message *m, const struct reader *r, size_t *len)
{
    const struct h1_out out = {.framing = m->body.framing,
                               .length = m->body.length,
                               .keep_alive = true,
                               .omit_framing =
                                   r->is_response && m->body.framing == H1_FRAMING_NONE};
    const struct fields *fields = &m->head.fields;
    size_t room = r->is_response ? h1_response_size(m->head.reason, fields)
                                 : h1_request_size(m->head.method.name, m->head.target, fields);
    char *dst = xmalloc(room + m->len + H1_CHUNK_HEAD_MAX + 2 + h1_trailers_size(&m->trailers));
    if (r->is_response)
        *len = h1_write_response(dst, m->head.status, m->head.reason, fields, &out);
    else
        *len = h1_write_request(dst,
                                &(struct h1_start){.method = m->head.method.name,
                                                   .target = m->head.target,
                                                   .host = STR("h")},
                                fields, &out);
    must(*len <= room);
    bool is_chunked = m->body.framing == H1_FRAMING_CHUNKED;
    if (is_chunked && m->len > 0)
        *len += h1_write_chunk_head(dst + *len, m->len);
    memcpy(dst + *len, m->data, m->len);
    *len += m->len;
    if (is_chunked && m->len > 0) {
        memcpy(dst + *len, "\r\n", 2);
        *len += 2;
    }
    if (is_chunked)
        *len += h1_write_trailers(dst + *len, &m->trailers);
    return xrealloc(dst, *len);
}

static inline void must_agree(const struct message *a, const struct message *b)
{
    must(a->fault == b->fault && a->is_done == b->is_done);
    must(a->len == b->len && memcmp(a->data, b->data, a->len) == 0);
    must(a->fault != FAULT_NONE || (a->used == b->used && a->body.framing == b->body.framing));
}

/* What was understood of M survives writing and reading, and a second writing gives the same bytes.
 */
static inline void message_round_trip(const struct message *m, const struct reader *r)
{
    const struct reader strict = {.is_response = r->is_response, .method = r->method, .piece = 5};
    struct message again, third;
    size_t n, n2;
    char *text = message_write(m, r, &n);
    message_read(&again, &strict, text, n);
    must(again.fault == FAULT_NONE && again.is_done && again.used == n);
    must(again.len == m->len && memcmp(again.data, m->data, m->len) == 0);
    must(again.body.framing == m->body.framing && again.head.status == m->head.status);
    must(str_eq(again.head.target, m->head.target) && str_eq(again.head.reason, m->head.reason));
    char *text2 = message_write(&again, &strict, &n2);
    must(n == n2 && memcmp(text, text2, n) == 0);
    message_read(&third, &strict, text2, n2);
    must_agree(&again, &third);
    message_clear(&third);
    message_clear(&again);
    free(text2);
    free(text);
}

/* What the strict reader takes is the same to the lenient one, and what only the lenient one takes
 * was refused with a word about it. */
static inline void fuzz_lenience(struct reader reader, const uint8_t *data, size_t n)
{
    struct message strict, lenient;
    n = n > FUZZ_MAX ? FUZZ_MAX : n;
    reader.piece = FUZZ_MAX;
    message_read(&strict, &reader, (const char *)data, n);
    reader.lenient = true;
    message_read(&lenient, &reader, (const char *)data, n);
    if (strict.is_done)
        must_agree(&strict, &lenient);
    if (strict.fault != FAULT_NONE && lenient.fault == FAULT_NONE && lenient.is_done)
        must(strict.lenient_takes);
    must(!lenient.lenient_takes);
    message_clear(&lenient);
    message_clear(&strict);
}

/* One input, as READER says but for the size of the pieces. */
static inline void fuzz_message(struct reader reader, const uint8_t *data, size_t n)
{
    static const size_t pieces[] = {1, 3, 17};
    struct message whole;
    n = n > FUZZ_MAX ? FUZZ_MAX : n;
    reader.piece = FUZZ_MAX;
    message_read(&whole, &reader, (const char *)data, n);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct message m;
        reader.piece = pieces[i];
        message_read(&m, &reader, (const char *)data, n);
        must_agree(&whole, &m);
        message_clear(&m);
    }
    if (whole.fault == FAULT_NONE && whole.is_done)
        message_round_trip(&whole, &reader);
    message_clear(&whole);
}

#endif
