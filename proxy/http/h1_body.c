/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder that takes a message body off the wire: (state, bytes) in, (consumed, data) out.
 *
 * The chunked coding (§7.1):
 *
 *     chunked-body  = *chunk last-chunk trailer-section EOL
 *     chunk         = 1*16HEXDIG [ chunk-ext ] EOL data EOL      ; data: so many bytes, > 0
 *     last-chunk    = 1*16"0" [ chunk-ext ] EOL
 *     EOL           = CRLF, never a bare LF, from a lenient client neither: these lines are lengths
 *
 * Extensions (http/chunk_ext.h) are checked and dropped. Refused on purpose, since another reader
 * may see another length: a sign, "0x" or more than 16 digits before a chunk; white space behind
 * the digits but before ";"; CR or LF anywhere but in EOL.
 *
 * From an old origin to which a rule is lenient: EOL may be LF, and blanks may end a size without
 * extension. */
#include "http/h1_body.h"

#include <stdlib.h>

#include "http/chars.h"

enum chunk_state {
    CHUNK_SIZE,      /* the first digit */
    CHUNK_DIGITS,    /* further digits, or what ends them */
    CHUNK_BWS,       /* ";" behind white space */
    CHUNK_EXTENSION, /* the rest of the extensions */
    CHUNK_PADDED_LF, /* LF of a size line that ends in white space */
    CHUNK_SIZE_LF,   /* LF of the size line */
    CHUNK_DATA,      /* b->left bytes */
    CHUNK_DATA_EOL,  /* CR behind the data */
    CHUNK_DATA_LF,   /* LF behind the data */
    CHUNK_LAST,      /* behind the last chunk: CR of the empty line, or a trailer field */
    CHUNK_LAST_LF,   /* LF of the empty line */
    CHUNK_TRAILER,   /* the rest of the trailer section */
    CHUNK_DONE
};

enum {
    MAX_DIGITS = 16,
    MAX_PADDED = 32,          /* bytes of a size and blanks behind it that are no overhead */
    MAX_LINE = 4096,          /* bytes of a chunk-size line */
    MAX_OVERHEAD = 16 * 1024, /* bytes of extensions that no data made up for */
    LARGE_RUN = 2048,         /* bytes of data that are not worth copying; less than H1_BODY_JOIN */
    CLOSE_DONE = 1            /* state of an H1_FRAMING_CLOSE body whose connection closed */
};

static bool body_fail(struct h1_body *b, const char *reason)
{
    b->error = (struct h1_error){.code = b->fault, .reason = reason};
    return false;
}

/* What has come is taken from old origins only. */
static bool body_take_old(struct h1_body *b, const char *reason)
{
    if (b->lenient)
        return true;
    body_fail(b, reason);
    b->error.lenient_takes = true;
    return false;
}

static unsigned hex_value(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* A byte of the size. */
static bool body_take_digit(struct h1_body *b, char c)
{
    if (b->line == MAX_DIGITS)
        return body_fail(b, "a chunk size of more than 16 digits");
    if (b->left > INT64_MAX >> 4)
        return body_fail(b, "a chunk size of 2^63 or more");
    b->left = b->left << 4 | hex_value(c);
    b->line++;
    b->state = CHUNK_DIGITS;
    return true;
}

/* A byte of an extension, or of the white space before it. A peer that sends 4 KiB of extension
 * with each byte of data would keep us busy for nothing: what no data makes up for is counted. */
static bool take_extension(struct h1_body *b, enum chunk_state next)
{
    if (++b->line > MAX_LINE || ++b->overhead > MAX_OVERHEAD)
        return body_fail(b, "chunk extensions of more bytes than are taken");
    b->state = next;
    return true;
}

/* A blank behind a size. Old origins pad the sizes of all their chunks, small ones too. */
static bool take_blank(struct h1_body *b)
{
    if (!b->lenient || b->line >= MAX_PADDED)
        return take_extension(b, CHUNK_BWS);
    b->line++;
    b->state = CHUNK_BWS;
    return true;
}

static bool go(struct h1_body *b, enum chunk_state next)
{
    b->state = next;
    return true;
}

/* Behind the size line. */
static bool begin_chunk(struct h1_body *b)
{
    b->overhead -= b->left < b->overhead ? (unsigned)b->left : b->overhead;
    b->line = 0;
    return go(b, b->left > 0 ? CHUNK_DATA : CHUNK_LAST);
}

static bool step_extension(struct h1_body *b, char c)
{
    b->ext = chunk_ext_next(b->ext, c);
    switch (b->ext) {
    case CHUNK_EXT_BAD:
        if (c != '\r' && c != '\n' && !chars_is(c, CHAR_VALUE))
            return body_fail(b, "a control byte in a chunk extension");
        return body_fail(b, "a chunk extension that is neither NAME nor NAME=VALUE");
    case CHUNK_EXT_DONE:
        if (c == '\r')
            return go(b, CHUNK_SIZE_LF);
        return body_take_old(b, "a bare LF behind a chunk extension") && begin_chunk(b);
    default:
        return take_extension(b, CHUNK_EXTENSION);
    }
}

static bool begin_extension(struct h1_body *b)
{
    b->ext = CHUNK_EXT_NAME_BEGIN;
    return take_extension(b, CHUNK_EXTENSION);
}

static void keep_trailer(struct h1_body *b, const char *p, size_t n)
{
    if (b->trailer_len + n > b->trailer_cap) {
        b->trailer_cap = b->trailer_cap < 256 ? 256 : b->trailer_cap * 2;
        if (b->trailer_cap < b->trailer_len + n)
            b->trailer_cap = b->trailer_len + n;
        b->trailer = xrealloc(b->trailer, b->trailer_cap);
    }
    memcpy(b->trailer + b->trailer_len, p, n);
    b->trailer_len += n;
}

/* Most messages have no trailer fields: only with the first byte of one is anything kept. */
static bool begin_trailer(struct h1_body *b, char c)
{
    keep_trailer(b, &c, 1);
    b->line = 1;
    b->state = CHUNK_TRAILER;
    return true;
}

/* One byte of what frames the data: the whole grammar but the inside of a trailer section. */
static bool body_step(struct h1_body *b, char c)
{
    switch (b->state) {
    case CHUNK_SIZE:
        if (chars_is(c, CHAR_HEX))
            return body_take_digit(b, c);
        return body_fail(b, "a chunk size that does not begin with a hexadecimal digit");
    case CHUNK_DIGITS:
        if (chars_is(c, CHAR_HEX))
            return body_take_digit(b, c);
        if (c == '\r')
            return go(b, CHUNK_SIZE_LF);
        if (str_is_blank(c))
            return take_blank(b);
        if (c == ';')
            return begin_extension(b);
        if (c == '\n')
            return body_take_old(b, "a bare LF behind a chunk size") && begin_chunk(b);
        return body_fail(b, "a byte in a chunk size that may not be there");
    case CHUNK_BWS:
        if (str_is_blank(c))
            return take_blank(b);
        if (c == ';')
            return begin_extension(b);
        if (c == '\r')
            return go(b, CHUNK_PADDED_LF);
        if (c != '\n')
            return body_fail(b, "white space in a chunk size");
        return body_take_old(b, "white space behind a chunk size") && begin_chunk(b);
    case CHUNK_EXTENSION:
        return step_extension(b, c);
    case CHUNK_PADDED_LF:
        if (c != '\n')
            return body_fail(b, "a bare CR behind a chunk size");
        return body_take_old(b, "white space behind a chunk size") && begin_chunk(b);
    case CHUNK_SIZE_LF:
        return c == '\n' ? begin_chunk(b) : body_fail(b, "a bare CR behind a chunk size");
    case CHUNK_DATA_EOL:
        if (c == '\r')
            return go(b, CHUNK_DATA_LF);
        if (c == '\n')
            return body_take_old(b, "a bare LF behind a chunk") && go(b, CHUNK_SIZE);
        return body_fail(b, "a chunk that is longer than its size");
    case CHUNK_DATA_LF:
        return c == '\n' ? go(b, CHUNK_SIZE) : body_fail(b, "a bare CR behind a chunk");
    case CHUNK_LAST:
        if (c == '\r')
            return go(b, CHUNK_LAST_LF);
        if (c == '\n')
            return body_take_old(b, "a bare LF behind the last chunk") && go(b, CHUNK_DONE);
        return begin_trailer(b, c);
    case CHUNK_LAST_LF:
        return c == '\n' ? go(b, CHUNK_DONE) : body_fail(b, "a bare CR behind the last chunk");
    default:
        return body_fail(b, "a byte behind the end of the body");
    }
}

/* All of it is there: it is judged now, so that a body that is done is a body that was good. */
static bool check_trailer(struct h1_body *b)
{
    struct arena arena;
    struct fields fields;
    arena_init(&arena, NULL, 0);
    fields_init(&fields, &arena, NULL, 0);
    bool ok = h1_parse_fields(&fields, b->trailer, b->trailer_len, b->lenient, &b->error);
    arena_clear(&arena);
    if (!ok)
        b->error.code = b->fault;
    else
        b->state = CHUNK_DONE;
    return ok;
}

/* At most one line of the trailer section; gives the bytes taken, 0 for a fault. */
static size_t take_trailer(struct h1_body *b, const char *p, size_t n)
{
    const char *lf = memchr(p, '\n', n);
    size_t len = lf == NULL ? n : (size_t)(lf - p) + 1;
    if (len > b->max_trailer - b->trailer_len) {
        body_fail(b, "a trailer section of more bytes than are taken");
        return 0;
    }
    keep_trailer(b, p, len);
    b->line += (unsigned)len;
    if (lf == NULL)
        return len;
    bool is_crlf = b->trailer_len >= 2 && b->trailer[b->trailer_len - 2] == '\r';
    bool is_empty = b->line == (is_crlf ? 2 : 1);
    b->line = 0;
    /* A bare LF is refused by the parser: at once rather than at an end that may not come. */
    if (is_empty || (!is_crlf && !b->lenient))
        return check_trailer(b) ? len : 0;
    return len;
}

/* Up to B->left bytes are data. */
static size_t take_data(struct h1_body *b, const char *p, size_t n, struct str *data)
{
    size_t len = n < b->left ? n : (size_t)b->left;
    *data = str_make(p, len);
    b->left -= len;
    return len;
}

static ssize_t feed_chunked(struct h1_body *b, const char *p, size_t n, struct str *data)
{
    size_t i = 0;
    while (i < n && b->state != CHUNK_DONE) {
        if (b->state == CHUNK_DATA) {
            i += take_data(b, p + i, n - i, data);
            if (b->left == 0)
                b->state = CHUNK_DATA_EOL;
            break;
        }
        size_t used =
            b->state == CHUNK_TRAILER ? take_trailer(b, p + i, n - i) : body_step(b, p[i]);
        if (used == 0) {
            b->error.pos = i;
            return -1;
        }
        i += used;
    }
    return (ssize_t)i;
}

ssize_t h1_body_feed(struct h1_body *b, const char *p, size_t n, struct str *data)
{
    *data = str_make(p, 0);
    if (b->error.reason != NULL)
        return -1;
    switch (b->framing) {
    case H1_FRAMING_LENGTH:
        return (ssize_t)take_data(b, p, n, data);
    case H1_FRAMING_CLOSE:
        *data = str_make(p, n);
        return (ssize_t)n;
    case H1_FRAMING_CHUNKED:
        return feed_chunked(b, p, n, data);
    case H1_FRAMING_NONE:
        break;
    }
    return 0;
}

ssize_t h1_body_feed_joined(struct h1_body *b, const struct str *in, char *room, struct str *data)
{
    size_t used = 0;
    size_t joined = 0;
    if (b->framing != H1_FRAMING_CHUNKED)
        return h1_body_feed(b, in->p, in->len, data);
    while (used < in->len && joined < H1_BODY_JOIN && b->state != CHUNK_DONE) {
        struct str run;
        size_t most = in->len - used;
        if (joined > 0 && most > H1_BODY_JOIN - joined)
            most = H1_BODY_JOIN - joined; /* no run is longer than what it is taken from */
        ssize_t n = h1_body_feed(b, in->p + used, most, &run);
        if (n < 0 && used == 0)
            return -1;
        if (n < 0)
            break;
        used += (size_t)n;
        if (run.len >= LARGE_RUN && joined == 0) {
            *data = run;
            return (ssize_t)used;
        }
        memcpy(room + joined, run.p, run.len);
        joined += run.len;
    }
    *data = str_make(room, joined);
    return (ssize_t)used;
}

bool h1_body_is_done(const struct h1_body *b)
{
    switch (b->framing) {
    case H1_FRAMING_LENGTH:
        return b->left == 0;
    case H1_FRAMING_CHUNKED:
        return b->state == CHUNK_DONE;
    case H1_FRAMING_CLOSE:
        return b->state == CLOSE_DONE;
    case H1_FRAMING_NONE:
        break;
    }
    return true;
}

bool h1_body_at_close(struct h1_body *b)
{
    if (b->framing == H1_FRAMING_CLOSE)
        b->state = CLOSE_DONE;
    return h1_body_is_done(b);
}

bool h1_body_trailers(struct h1_body *b, struct fields *trailers)
{
    if (b->trailer_len == 0)
        return true;
    if (!h1_parse_fields(trailers, b->trailer, b->trailer_len, b->lenient, &b->error))
        return false;
    fields_remove_known(trailers);
    return true;
}

void h1_body_clear(struct h1_body *b)
{
    free(b->trailer);
    b->trailer = NULL;
    b->trailer_len = b->trailer_cap = 0;
}
