/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 heads, strict, in one pass over a complete head.
 *
 *     request-line = token SP 1*target-byte SP "HTTP/1." DIGIT EOL
 *     status-line  = "HTTP/1." DIGIT SP 3DIGIT [ SP *value-byte ] EOL
 *     field-line   = token ":" OWS *value-byte OWS EOL
 *     head         = ( request-line / status-line ) *field-line EOL
 *     EOL          = CRLF, and LF when lenient
 *
 * and from an origin to which a rule is lenient
 *
 *     field-line   = token *BLANK ":" OWS *value-byte OWS EOL *fold
 *     fold         = 1*BLANK *value-byte OWS EOL
 *
 * A target-byte is any byte but controls, SP and DEL: uri.c judges further, and can then name the
 * host it means. Refused on purpose, since another reader may see another message: obs-fold, white
 * space before a colon, bare CR. A head always ends in LF, which is in no class of bytes, so that
 * no scan needs to look for the end. */
#include "http/h1_parse.h"

#include <endian.h>

#include "http/chars.h"

/* Each takes what those before it take. */
enum lenience {
    LENIENT_NOT,
    LENIENT_LF,  /* a client that writes lines by hand */
    LENIENT_FULL /* an old origin */
};

struct parser {
    const char *p; /* next byte */
    const char *start, *end;
    enum lenience lenient;
    bool lenient_takes;   /* what fails now would pass if more was taken */
    enum fault_code code; /* of a fault, whatever it is */
    struct h1_error *e;
};

static bool parse_fail(struct parser *s, const char *reason)
{
    *s->e = (struct h1_error){s->code, reason, (size_t)(s->p - s->start), s->lenient_takes};
    return false;
}

/* What is at the next byte is taken from old origins only. */
static bool parse_take_old(struct parser *s, const char *reason)
{
    s->lenient_takes = s->lenient < LENIENT_FULL;
    return s->lenient_takes ? parse_fail(s, reason) : true;
}

/* Fails at the next byte: says what it is when it may be nowhere, else OTHERWISE. */
static bool fail_byte(struct parser *s, const char *otherwise)
{
    uint8_t c = (uint8_t)*s->p;
    if (c == '\r' && s->p[1] != '\n')
        return parse_fail(s, "a bare CR in the head");
    if (c == '\n' && !s->lenient && (s->p == s->start || s->p[-1] != '\r'))
        return parse_fail(s, "a bare LF in the head");
    if (c == '\0')
        return parse_fail(s, "a NUL byte in the head");
    if ((c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
        return parse_fail(s, "a control byte in the head");
    return parse_fail(s, otherwise);
}

static bool fail_eol(struct parser *s, const char *otherwise)
{
    s->lenient_takes = *s->p == '\n';
    return fail_byte(s, otherwise);
}

static inline bool parse_eol(struct parser *s, const char *otherwise)
{
    if (s->p[0] == '\r' && s->p[1] == '\n') {
        s->p += 2;
        return true;
    }
    if (s->p[0] == '\n' && s->lenient) {
        s->p++;
        return true;
    }
    return fail_eol(s, otherwise);
}

/* The first of the eight bytes of W, the lowest first, that is a control (HTAB is one) or DEL; 8:
 * none is. A borrow can mark only bytes behind one that is. */
static unsigned first_control(uint64_t w)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
    uint64_t del = w ^ (ones * 0x7f);
    uint64_t marks = (((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & high;
    return marks == 0 ? 8 : (unsigned)__builtin_ctzll(marks) / 8;
}

/* The first byte that a field value may not hold. */
static const char *value_end(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, sizeof(w));
        unsigned n = first_control(le64toh(w));
        p += n;
        if (n < 8 && *p++ != '\t')
            return p - 1;
    }
    while (chars_is(*p, CHAR_VALUE))
        p++;
    return p;
}

/* The scans below keep their place in a variable of their own: a parser's would be stored for each
 * byte, which could lie in it for all the compiler knows. */
static const char *token_end(const char *p)
{
    while (chars_is(*p, CHAR_TOKEN))
        p++;
    return p;
}

static const char *target_end(const char *p)
{
    while ((uint8_t)*p > ' ' && *p != 0x7f)
        p++;
    return p;
}

static const char *blanks_end(const char *p)
{
    while (str_is_blank(*p))
        p++;
    return p;
}

/* The name ends where no colon is, nor blanks before one. */
static bool parse_fail_name(struct parser *s, bool is_empty)
{
    if (is_empty && str_is_blank(*s->p))
        return parse_fail(s, "a folded line or white space before a field name");
    if (is_empty && *s->p == ':')
        return parse_fail(s, "an empty field name");
    if (str_is_blank(*s->p))
        return parse_fail(s, "white space in a field name");
    if (*s->p == '\r' || *s->p == '\n')
        return fail_byte(s, "a field line without a colon");
    return fail_byte(s, "a byte in a field name that may not be there");
}

/* The name of NAME_LEN bytes ends where no colon is: true when one comes behind blanks. */
static bool pass_blanks(struct parser *s, size_t name_len)
{
    const char *colon = blanks_end(s->p);
    if (name_len == 0 || colon == s->p || *colon != ':')
        return parse_fail_name(s, name_len == 0);
    if (!parse_take_old(s, "white space before the colon of a field"))
        return false;
    s->p = colon;
    return true;
}

static bool is_folded(const struct parser *s)
{
    return s->p < s->end && str_is_blank(*s->p);
}

static const char BAD_VALUE[] = "a byte in a field value that may not be there";

/* All further lines of one field: gives the bytes that they add to its value, a space before each
 * that is not empty. DST (NULL: only measured) has room for them. */
static bool read_folds(struct parser *s, char *dst, size_t *len)
{
    *len = 0;
    while (is_folded(s)) {
        const char *first = s->p;
        s->p = value_end(first, s->end);
        struct str line = str_trim(str_make(first, (size_t)(s->p - first)));
        if (!parse_eol(s, BAD_VALUE))
            return false;
        if (line.len == 0)
            continue;
        if (dst != NULL) {
            dst[*len] = ' ';
            memcpy(dst + *len + 1, line.p, line.len);
        }
        *len += line.len + 1;
    }
    return true;
}

/* At the first further line of the last field. Readers do not agree on a length that is folded. */
static bool parse_folds(struct parser *s, struct fields *fields)
{
    struct field *f = &fields->v[fields->n - 1];
    const char *start = s->p;
    size_t len;
    if (f->id == FIELD_CONTENT_LENGTH || f->id == FIELD_TRANSFER_ENCODING)
        return parse_fail(s, "a folded Content-Length or Transfer-Encoding");
    if (!read_folds(s, NULL, &len))
        return false;
    s->p = start;
    if (!parse_take_old(s, "a folded line or white space before a field name"))
        return false;
    char *joined = arena_alloc(fields->arena, f->value.len + len);
    memcpy(joined, f->value.p, f->value.len);
    if (!read_folds(s, joined + f->value.len, &len))
        return false;
    f->value = str_trim(str_make(joined, f->value.len + len));
    return true;
}

static bool parse_field(struct parser *s, struct fields *fields)
{
    const char *name = s->p;
    s->p = token_end(name);
    size_t name_len = (size_t)(s->p - name);
    if (name_len == 0 && fields->n > 0 && str_is_blank(*s->p))
        return parse_folds(s, fields);
    if ((*s->p != ':' || name_len == 0) && !pass_blanks(s, name_len))
        return false;
    const char *value = blanks_end(s->p + 1);
    s->p = value_end(value, s->end);
    const char *last = s->p;
    while (last > value && str_is_blank(last[-1]))
        last--;
    if (!parse_eol(s, BAD_VALUE))
        return false;
    fields_put(fields, str_make(name, name_len), str_make(value, (size_t)(last - value)));
    return true;
}

/* Field lines and the empty line, which must be the last. */
static bool parse_field_section(struct parser *s, struct fields *fields)
{
    while (s->p < s->end) {
        if (*s->p == '\r' || *s->p == '\n') {
            if (!parse_eol(s, "a bare CR in the head"))
                return false;
            return s->p == s->end ? true : parse_fail(s, "bytes behind the empty line");
        }
        if (fields->n >= H1_MAX_FIELDS) {
            if (s->code == FAULT_BAD_REQUEST)
                s->code = FAULT_HEAD_TOO_LARGE;
            return parse_fail(s, "more fields than are taken");
        }
        if (!parse_field(s, fields))
            return false;
    }
    return parse_fail(s, "no empty line at the end of the head");
}

static bool parse_version(struct parser *s, uint8_t *minor)
{
    if (s->end - s->p < 8 || memcmp(s->p, "HTTP/", 5) != 0 || !chars_is(s->p[5], CHAR_DIGIT) ||
        s->p[6] != '.' || !chars_is(s->p[7], CHAR_DIGIT))
        return fail_byte(s, "no HTTP version in the start line");
    if (s->p[5] != '1') {
        if (s->code == FAULT_BAD_REQUEST)
            s->code = FAULT_VERSION;
        return parse_fail(s, "an HTTP version other than 1.0 and 1.1");
    }
    *minor = s->p[7] != '0';
    s->p += 8;
    return true;
}

static bool parse_request_line(struct parser *s, struct h1_head *head)
{
    const char *method = s->p;
    s->p = token_end(method);
    if (*s->p != ' ' || s->p == method)
        return fail_byte(s, "a request line that does not begin with a method and a space");
    head->method = method_lookup(str_make(method, (size_t)(s->p - method)));
    const char *target = s->p + 1;
    s->p = target_end(target);
    head->target = str_make(target, (size_t)(s->p - target));
    if (*s->p != ' ')
        return fail_byte(s, "a request line without HTTP version");
    if (head->target.len == 0)
        return parse_fail(s, "more than one space in the request line");
    s->p++;
    return parse_version(s, &head->minor) && parse_eol(s, "bytes behind the HTTP version");
}

static bool parse_status_line(struct parser *s, struct h1_head *head)
{
    if (!parse_version(s, &head->minor))
        return false;
    if (s->end - s->p < 5 || s->p[0] != ' ' || s->p[1] == '0' || !chars_is(s->p[1], CHAR_DIGIT) ||
        !chars_is(s->p[2], CHAR_DIGIT) || !chars_is(s->p[3], CHAR_DIGIT))
        return fail_byte(s, "a status that is not three digits from 100 on");
    head->status = (unsigned)(s->p[1] - '0') * 100 + (unsigned)(s->p[2] - '0') * 10 +
                   (unsigned)(s->p[3] - '0');
    s->p += 4;
    head->reason = str_make(s->p, 0);
    /* The space is required even before an empty phrase (RFC 9112 §4), but many servers leave it
     * away. */
    if (*s->p == ' ') {
        const char *reason = s->p + 1;
        s->p = value_end(reason, s->end);
        head->reason = str_make(reason, (size_t)(s->p - reason));
    }
    return parse_eol(s, "a byte in the status line that may not be there");
}

/* Ready to parse N bytes; false when they cannot be a head. */
static bool parse_begin(struct parser *s, const char *p, size_t n)
{
    s->p = s->start = p;
    s->end = p + n;
    return n > 0 && p[n - 1] == '\n' ? true
                                     : parse_fail(s, "a head that does not end in a line end");
}

bool h1_parse_request(struct h1_head *head, const char *p, size_t n, bool lenient,
                      struct h1_error *e)
{
    struct parser s = {
        .lenient = lenient ? LENIENT_LF : LENIENT_NOT, .code = FAULT_BAD_REQUEST, .e = e};
    return parse_begin(&s, p, n) && parse_request_line(&s, head) &&
           parse_field_section(&s, &head->fields);
}

bool h1_parse_response(struct h1_head *head, const char *p, size_t n, bool lenient,
                       struct h1_error *e)
{
    struct parser s = {
        .lenient = lenient ? LENIENT_FULL : LENIENT_NOT, .code = FAULT_UP_PROTOCOL, .e = e};
    return parse_begin(&s, p, n) && parse_status_line(&s, head) &&
           parse_field_section(&s, &head->fields);
}

void h1_request_fault(struct fault *f, const struct h1_error *e)
{
    const char *head = e->code == FAULT_BAD_REQUEST ? "is not valid HTTP:" : "has";
    fault_set(f, e->code, "the request %s %s", head, e->reason);
    f->phrase = e->reason;
}

bool h1_parse_fields(struct fields *fields, const char *p, size_t n, bool lenient,
                     struct h1_error *e)
{
    struct parser s = {
        .lenient = lenient ? LENIENT_FULL : LENIENT_NOT, .code = FAULT_BAD_REQUEST, .e = e};
    return parse_begin(&s, p, n) && parse_field_section(&s, fields);
}

/* The bytes of an empty line at P: 1 or 2; 0 when there is none, -1 when more bytes are needed to
 * tell. */
static int empty_line(const char *p, size_t n)
{
    if (n == 0)
        return -1;
    if (p[0] == '\n')
        return 1;
    if (p[0] != '\r')
        return 0;
    if (n == 1)
        return -1;
    return p[1] == '\n' ? 2 : 0;
}

size_t h1_head_end(const char *p, size_t n, size_t *scanned, bool lenient)
{
    if (*scanned == 0 && empty_line(p, n) > 0)
        return (size_t)empty_line(p, n);
    size_t i = *scanned;
    while (i < n) {
        const char *lf = memchr(p + i, '\n', n - i);
        if (lf == NULL)
            break;
        i = (size_t)(lf - p);
        if (!lenient && (i == 0 || p[i - 1] != '\r'))
            return i + 1;
        int empty = empty_line(lf + 1, n - i - 1);
        if (empty > 0)
            return i + 1 + (size_t)empty;
        if (empty < 0) {
            *scanned = i;
            return 0;
        }
        i++;
    }
    /* A first byte that may yet begin an empty line is looked at again. */
    *scanned = n == 1 && p[0] == '\r' ? 0 : n;
    return 0;
}

const char *h1_foreign(const char *p, size_t n, bool *is_silent)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n";
    *is_silent = true;
    if (n >= 1 && p[0] == 0x16)
        return "this port speaks plain HTTP and got a TLS hello: write the proxy's URL with "
               "http://, not https://, or give it a tls: listener";
    if (n >= 3 && ((uint8_t)p[0] & 0x80) != 0 && p[2] == 1)
        return "this port speaks plain HTTP and got an SSL 2 hello: write the proxy's URL with "
               "http://, not https://";
    if (n >= 1 && (p[0] == 4 || p[0] == 5))
        return "this is an HTTP proxy and got a SOCKS request: write the proxy's URL with http://, "
               "not socks://";
    *is_silent = false;
    if (n >= sizeof(preface) - 1 && memcmp(p, preface, sizeof(preface) - 1) == 0)
        return "this port speaks HTTP/1.1 and got the HTTP/2 preface: let the client use HTTP/1.1";
    return NULL;
}
