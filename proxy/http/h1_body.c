/* SPDX-License-Identifier: Apache-2.0 */
/* How long a message body is, and the decoder that takes it off the wire:
 * (state, bytes) in, (consumed, data) out.
 *
 * The length of a message, first match (RFC 9112 §6.3):
 *
 *     response to HEAD, 1xx, 204, 304, 2xx to CONNECT      none
 *     Transfer-Encoding: chunked                           chunked
 *     Content-Length: N                                    N bytes
 *     request                                              none
 *     response                                             until the connection closes
 *
 * The chunked coding (§7.1):
 *
 *     chunked-body  = *chunk last-chunk trailer-section EOL
 *     chunk         = 1*16HEXDIG [ chunk-ext ] EOL data EOL      ; data: so many bytes, > 0
 *     last-chunk    = 1*16"0" [ chunk-ext ] EOL
 *     EOL           = CRLF, never a bare LF, from a lenient client neither: these lines are lengths
 *
 * Extensions (http/chunk_ext.h) are checked and dropped. Refused on purpose, since another reader
 * may see another length: Content-Length twice, as a list, or together with Transfer-Encoding; any
 * Transfer-Encoding but exactly "chunked", or in HTTP/1.0; a sign, "0x" or more than 16 digits
 * before a chunk; white space behind the digits but before ";"; CR or LF anywhere but in EOL.
 *
 * From an old origin to which a rule is lenient: EOL may be LF, blanks may end a size without
 * extension, all numbers of all Content-Length fields may be the same, and "identity" as the only
 * Transfer-Encoding is as none. */
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
    MAX_PADDED = 32,          /* bytes of a chunk size with blanks behind it that count as none */
    MAX_LINE = 4096,          /* bytes of a chunk-size line */
    MAX_OVERHEAD = 16 * 1024, /* bytes of extensions that no data made up for */
    MAX_TRAILER = 64 * 1024,  /* unless the owner says otherwise */
    LARGE_RUN = 2048,         /* bytes of data that are not worth copying; less than H1_BODY_JOIN */
    CLOSE_DONE = 1            /* state of an H1_FRAMING_CLOSE body whose connection closed */
};

static bool body_refuse(struct h1_error *e, enum fault_code code, const char *reason)
{
    *e = (struct h1_error){.code = code, .reason = reason};
    return false;
}

/* A Transfer-Encoding that is not "chunked": another coding under it is merely not implemented, but
 * when chunked is not last and once, nobody knows where the message ends. */
static bool refuse_coding(struct str codings, struct h1_error *e)
{
    unsigned chunked = 0;
    struct str item = {NULL, 0}, last = {NULL, 0};
    while (str_next_item(&codings, &item)) {
        last = item;
        chunked += str_ieq(item, STR("chunked"));
    }
    bool is_token = last.len > 0;
    for (size_t i = 0; i < last.len; i++)
        is_token = is_token && chars_is(last.p[i], CHAR_TOKEN);
    if (is_token && (chunked == 0 || (chunked == 1 && str_ieq(last, STR("chunked")))))
        return body_refuse(e, FAULT_NOT_IMPLEMENTED, "a transfer coding other than chunked");
    return body_refuse(e, FAULT_BAD_REQUEST, "a Transfer-Encoding that is not just \"chunked\"");
}

static bool choose_chunked(struct h1_body *b, const struct h1_head *head, struct h1_error *e)
{
    const struct field *te = fields_find(&head->fields, FIELD_TRANSFER_ENCODING, NULL);
    if (fields_has(&head->fields, FIELD_CONTENT_LENGTH))
        return body_refuse(e, FAULT_BAD_REQUEST, "Content-Length together with Transfer-Encoding");
    if (head->minor == 0)
        return body_refuse(e, FAULT_BAD_REQUEST, "Transfer-Encoding in an HTTP/1.0 message");
    if (fields_find(&head->fields, FIELD_TRANSFER_ENCODING, te) != NULL)
        return body_refuse(e, FAULT_BAD_REQUEST, "Transfer-Encoding twice");
    if (!str_ieq(te->value, STR("chunked")))
        return refuse_coding(te->value, e);
    b->framing = H1_FRAMING_CHUNKED;
    return true;
}

/* The number that all Content-Length fields, which may be lists, have in common; empty when they
 * differ. */
static struct str same_length(const struct fields *fields)
{
    struct str same = {NULL, 0};
    const struct field *f = NULL;
    while ((f = fields_find(fields, FIELD_CONTENT_LENGTH, f)) != NULL) {
        struct str list = f->value;
        for (bool more = true; more;) {
            size_t comma = str_find(list, ',');
            struct str item = str_trim(str_make(list.p, comma));
            if (same.p != NULL && !str_eq(item, same))
                return STR("");
            same = item;
            more = comma < list.len;
            list = str_from_byte(list, more ? comma + 1 : comma);
        }
    }
    return same;
}

static bool choose_length(struct h1_body *b, const struct h1_head *head, struct h1_error *e)
{
    const struct field *first = fields_find(&head->fields, FIELD_CONTENT_LENGTH, NULL);
    struct str length = b->lenient ? same_length(&head->fields) : first->value;
    bool is_twice = fields_find(&head->fields, FIELD_CONTENT_LENGTH, first) != NULL;
    if (is_twice && !b->lenient)
        return body_refuse(e, FAULT_BAD_REQUEST, "Content-Length twice");
    if (length.len == 0 && first->value.len > 0)
        return body_refuse(e, FAULT_BAD_REQUEST, "Content-Length with different values");
    /* Half of the range, so that a sum of it and something small cannot overflow anywhere. */
    if (!str_to_u64(length, &b->length) || b->length > INT64_MAX)
        return body_refuse(e, FAULT_BAD_REQUEST, "a Content-Length that is not a plain number");
    b->framing = H1_FRAMING_LENGTH;
    b->left = b->length;
    return true;
}

/* Transfer-Encoding says nothing: it is there once, with the coding that changes nothing. */
static bool is_identity(const struct fields *fields)
{
    const struct field *te = fields_find(fields, FIELD_TRANSFER_ENCODING, NULL);
    return te != NULL && str_ieq(te->value, STR("identity")) &&
           fields_find(fields, FIELD_TRANSFER_ENCODING, te) == NULL;
}

/* What requests and responses have in common; OTHERWISE is the framing when no field tells. */
static bool body_choose(struct h1_body *b, const struct h1_head *head, enum h1_framing otherwise,
                        bool lenient, struct h1_error *e)
{
    *b = (struct h1_body){.framing = otherwise,
                          .lenient = lenient,
                          .max_trailer = MAX_TRAILER,
                          .fault = FAULT_BAD_REQUEST};
    if (fields_has(&head->fields, FIELD_TRANSFER_ENCODING) &&
        !(lenient && is_identity(&head->fields)))
        return choose_chunked(b, head, e);
    if (fields_has(&head->fields, FIELD_CONTENT_LENGTH))
        return choose_length(b, head, e);
    return true;
}

/* One Content-Length, one number, and no "identity" are left: what goes on is strict. */
static void tidy(struct fields *fields)
{
    const struct field *length = fields_find(fields, FIELD_CONTENT_LENGTH, NULL);
    if (length != NULL)
        fields_set(fields, FIELD_CONTENT_LENGTH, length->name, same_length(fields));
    if (is_identity(fields))
        fields_remove(fields, FIELD_TRANSFER_ENCODING);
}

bool h1_body_of_request(struct h1_body *b, const struct h1_head *head, struct h1_error *e)
{
    return body_choose(b, head, H1_FRAMING_NONE, false, e);
}

bool h1_body_of_response(struct h1_body *b, struct h1_head *head, enum method_id method,
                         bool lenient, struct h1_error *e)
{
    bool is_tunnel = method == METHOD_CONNECT && head->status / 100 == 2;
    if (head->status < 200 || head->status == 204 || is_tunnel) {
        *b = (struct h1_body){.framing = H1_FRAMING_NONE};
        return true;
    }
    if (!body_choose(b, head, H1_FRAMING_CLOSE, lenient, e)) {
        struct h1_body loose;
        struct h1_error other;
        e->code = FAULT_UP_PROTOCOL;
        e->lenient_takes = !lenient && body_choose(&loose, head, H1_FRAMING_CLOSE, true, &other);
        return false;
    }
    if (lenient)
        tidy(&head->fields);
    b->fault = FAULT_UP_PROTOCOL;
    /* Their fields tell of the body that a GET would have had. */
    if (method == METHOD_HEAD || head->status == 304)
        b->framing = H1_FRAMING_NONE;
    return true;
}

static bool body_fail(struct h1_body *b, const char *reason)
{
    return body_refuse(&b->error, b->fault, reason);
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
