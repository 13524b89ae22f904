/* SPDX-License-Identifier: Apache-2.0 */
/* Reading goes from front to back with one place that never goes behind the end. Compression is
 * never followed: a question has no use for it, and of all other records only the type matters. */
#include "net/dns_message.h"

#include "http/chars.h"

enum {
    FLAG_ANSWER = 0x8000, /* QR */
    FLAG_OPCODE = 0x7800,
    FLAG_RD = 0x0100, /* recursion is desired, and there is */
    FLAG_RA = 0x0080,
    FLAG_CD = 0x0010,
    LABEL_MAX = 63,
    LABEL_POINTER = 0xc0,
    POINTER_QUESTION = LABEL_POINTER << 8 | DNS_QUERY_HEAD, /* to the name that was asked for */
    OPT_SIZE = 1232,  /* bytes that we take by UDP: what goes through any path in one piece */
    OPT_DO = 0x8000,  /* of the second half of its TTL */
    RECORD_FIXED = 10 /* bytes behind the name of a record */
};

/* ---- in */

struct reading {
    const uint8_t *p;
    size_t n, at;
};

static uint16_t read_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static bool has_bytes(const struct reading *r, size_t n)
{
    return r->n - r->at >= n;
}

/* Adds a label to the text of the name. */
static void add_label(struct dns_asked *q, const uint8_t *label, size_t n)
{
    if (q->name_len > 0)
        q->name[q->name_len++] = '.';
    for (size_t i = 0; i < n; i++)
        q->is_plain = q->is_plain && label[i] != '.' && chars_is((char)label[i], CHAR_HOST);
    str_lower(q->name + q->name_len, str_make((const char *)label, n));
    q->name_len = (uint8_t)(q->name_len + n);
}

/* The name of the question: no pointers, for there is nothing to point to. */
static bool read_name(struct dns_asked *q, struct reading *r)
{
    size_t begin = r->at;
    q->is_plain = true;
    while (has_bytes(r, 1)) {
        size_t n = r->p[r->at++];
        if (n == 0)
            return true;
        if (n > LABEL_MAX || !has_bytes(r, n) || r->at + n - begin >= DNS_WIRE_NAME)
            return false;
        add_label(q, r->p + r->at, n);
        r->at += n;
    }
    return false;
}

static bool read_question(struct dns_asked *q, struct reading *r)
{
    size_t begin = r->at;
    bool is_whole = read_name(q, r) && has_bytes(r, 4);
    if (!is_whole || !q->is_plain)
        q->name_len = 0;
    if (!is_whole)
        return false;
    q->type = read_u16(r->p + r->at);
    q->class = read_u16(r->p + r->at + 2);
    r->at += 4;
    q->question_len = (uint16_t)(r->at - begin);
    memcpy(q->question, r->p + begin, q->question_len);
    return true;
}

/* The name of any other record. */
static bool skip_name(struct reading *r)
{
    while (has_bytes(r, 1)) {
        size_t n = r->p[r->at++];
        if (n == 0)
            return true;
        if (n >= LABEL_POINTER) {
            r->at++;
            return r->at <= r->n;
        }
        if (n > LABEL_MAX || !has_bytes(r, n))
            return false;
        r->at += n;
    }
    return false;
}

/* OPT is one, of the root, among the additional records. */
static bool read_opt(struct dns_asked *q, const struct reading *r, bool is_root, uint8_t *version)
{
    const uint8_t *fixed = r->p + r->at;
    if (!is_root || q->has_opt)
        return false;
    q->has_opt = true;
    *version = fixed[5];
    q->wants_dnssec = (read_u16(fixed + 6) & OPT_DO) != 0;
    return true;
}

static bool read_any_record(struct dns_asked *q, struct reading *r, bool is_additional,
                            uint8_t *version)
{
    bool is_root = has_bytes(r, 1) && r->p[r->at] == 0;
    if (!skip_name(r) || !has_bytes(r, RECORD_FIXED))
        return false;
    if (read_u16(r->p + r->at) == DNS_TYPE_OPT &&
        !(is_additional && read_opt(q, r, is_root, version)))
        return false;
    size_t data = read_u16(r->p + r->at + 8);
    r->at += RECORD_FIXED;
    if (!has_bytes(r, data))
        return false;
    r->at += data;
    return true;
}

/* What is behind the question. Each record takes bytes, so their number is bounded by N. */
static enum dns_code read_records(struct dns_asked *q, struct reading *r)
{
    unsigned before = (unsigned)read_u16(r->p + 6) + read_u16(r->p + 8);
    unsigned all = before + read_u16(r->p + 10);
    uint8_t version = 0;
    for (unsigned i = 0; i < all; i++)
        if (!read_any_record(q, r, i >= before, &version))
            return DNS_CODE_FORMERR;
    return version > 0 ? DNS_CODE_BADVERS : DNS_CODE_NOERROR;
}

enum dns_code dns_message_parse(struct dns_asked *q, const uint8_t *p, size_t n)
{
    struct reading r = {p, n, DNS_QUERY_HEAD};
    *q = (struct dns_asked){.id = 0};
    if (n < DNS_QUERY_HEAD || (read_u16(p + 2) & FLAG_ANSWER) != 0)
        return DNS_CODE_SILENT;
    q->id = read_u16(p);
    q->flags = read_u16(p + 2);
    if ((q->flags & FLAG_OPCODE) != 0)
        return DNS_CODE_NOTIMP;
    if (read_u16(p + 4) != 1 || !read_question(q, &r))
        return DNS_CODE_FORMERR;
    return read_records(q, &r);
}

/* ---- out */

struct writing {
    uint8_t *p;
    size_t at;
};

static void write_u16(struct writing *w, unsigned v)
{
    w->p[w->at++] = (uint8_t)(v >> 8);
    w->p[w->at++] = (uint8_t)v;
}

static void write_u32(struct writing *w, uint32_t v)
{
    write_u16(w, v >> 16);
    write_u16(w, v & 0xffff);
}

static void write_bytes(struct writing *w, const void *p, size_t n)
{
    memcpy(w->p + w->at, p, n);
    w->at += n;
}

/* Labels that are too long, and empty ones, are left out: no name has them. */
static void write_name(struct writing *w, struct str name)
{
    struct str rest = str_make(name.p, name.len < DNS_WIRE_NAME - 2 ? name.len : DNS_WIRE_NAME - 2);
    while (rest.len > 0) {
        size_t n = str_find(rest, '.');
        if (n > 0 && n <= LABEL_MAX) {
            w->p[w->at++] = (uint8_t)n;
            write_bytes(w, rest.p, n);
        }
        rest = str_from_byte(rest, n + 1);
    }
    w->p[w->at++] = 0;
}

/* A record up to the length of its data, which is written at the place that this gives. */
static size_t begin_record(struct writing *w, enum dns_type type, uint32_t ttl)
{
    write_u16(w, type);
    write_u16(w, DNS_CLASS_IN);
    write_u32(w, ttl);
    write_u16(w, 0);
    return w->at;
}

static void end_record(struct writing *w, size_t data)
{
    struct writing length = {w->p, data - 2};
    write_u16(&length, (unsigned)(w->at - data));
}

static void write_address(struct writing *w, const struct dns_reply *r)
{
    bool is_v6 = addr_family(r->address) == AF_INET6;
    write_u16(w, POINTER_QUESTION);
    size_t data = begin_record(w, is_v6 ? DNS_TYPE_AAAA : DNS_TYPE_A, r->ttl);
    if (is_v6)
        write_bytes(w, &r->address->in6.sin6_addr, 16);
    else
        write_bytes(w, &r->address->in4.sin_addr, 4);
    end_record(w, data);
}

static void write_pointer(struct writing *w, const struct dns_reply *r)
{
    write_u16(w, POINTER_QUESTION);
    size_t data = begin_record(w, DNS_TYPE_PTR, r->ttl);
    write_name(w, r->pointer);
    end_record(w, data);
}

/* Of the root, which is above every name. */
static void write_soa(struct writing *w, const struct dns_reply *r)
{
    write_name(w, STR(""));
    size_t data = begin_record(w, DNS_TYPE_SOA, r->ttl);
    write_name(w, STR("tlsfan.invalid"));
    write_name(w, STR("nobody.invalid"));
    write_u32(w, 1);     /* serial */
    write_u32(w, 3600);  /* refresh */
    write_u32(w, 600);   /* retry */
    write_u32(w, 86400); /* expire */
    write_u32(w, r->ttl);
    end_record(w, data);
}

static void write_opt(struct writing *w, const struct dns_asked *q, const struct dns_reply *r)
{
    write_name(w, STR(""));
    write_u16(w, DNS_TYPE_OPT);
    write_u16(w, OPT_SIZE);
    write_u16(w, (unsigned)r->code >> 4 << 8); /* the rest of the code; version 0 */
    write_u16(w, q->wants_dnssec ? OPT_DO : 0);
    write_u16(w, 0);
}

static void write_head(struct writing *w, const struct dns_asked *q, const struct dns_reply *r,
                       bool has_record)
{
    bool has_soa = !has_record && q->question_len > 0 &&
                   (r->code == DNS_CODE_NOERROR || r->code == DNS_CODE_NXDOMAIN);
    write_u16(w, q->id);
    write_u16(w, FLAG_ANSWER | FLAG_RA | (q->flags & (FLAG_OPCODE | FLAG_RD | FLAG_CD)) |
                     ((unsigned)r->code & 0xf));
    write_u16(w, q->question_len > 0);
    write_u16(w, has_record);
    write_u16(w, has_soa);
    write_u16(w, q->has_opt);
    write_bytes(w, q->question, q->question_len);
    if (has_soa)
        write_soa(w, r);
}

size_t dns_message_write(uint8_t out[DNS_ANSWER_SIZE], const struct dns_asked *q,
                         const struct dns_reply *r)
{
    struct writing w = {out, 0};
    bool can_record = r->code == DNS_CODE_NOERROR && q->question_len > 0;
    bool has_address = can_record && r->address != NULL;
    bool has_pointer = can_record && !has_address && r->pointer.len > 0;
    write_head(&w, q, r, has_address || has_pointer);
    if (has_address)
        write_address(&w, r);
    if (has_pointer)
        write_pointer(&w, r);
    if (q->has_opt)
        write_opt(&w, q, r);
    return w.at;
}
