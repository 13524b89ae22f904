/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the DNS as a server sees them (RFC 1035 §4): a question in, an answer out. Bytes
 * only: no I/O, nothing is allocated. */
#ifndef TLSFAN_NET_DNS_MESSAGE_H
#define TLSFAN_NET_DNS_MESSAGE_H

#include "base/addr.h"

enum {
    DNS_WIRE_NAME = 255, /* bytes of a name on the wire, lengths and root included */
    DNS_QUESTION = DNS_WIRE_NAME + 4,
    DNS_QUERY_HEAD = 12,
    DNS_ANSWER_SIZE = 640, /* bytes that hold any answer; only a pointer from a name that is no
                              address to a very long one makes it more than 512 */
};

/* What an answer says (RFC 6895 §2.3). */
enum dns_code {
    DNS_CODE_SILENT = -1, /* nothing: there is nobody to answer, or it is an answer itself */
    DNS_CODE_NOERROR = 0,
    DNS_CODE_FORMERR = 1,  /* the query cannot be read */
    DNS_CODE_SERVFAIL = 2, /* nobody could say */
    DNS_CODE_NXDOMAIN = 3, /* there is no such name */
    DNS_CODE_NOTIMP = 4,
    DNS_CODE_REFUSED = 5,
    DNS_CODE_BADVERS = 16 /* of EDNS */
};

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_OPT = 41,
    DNS_TYPE_TKEY = 249, /* from here to 254: not data, but things to do */
    DNS_TYPE_IXFR = 251,
    DNS_TYPE_AXFR = 252,
    DNS_TYPE_MAILA = 254,
    DNS_TYPE_ANY = 255
};

enum { DNS_CLASS_IN = 1 };

/* A query. A value. */
struct dns_asked {
    uint16_t id;
    uint16_t flags; /* as they came */
    uint16_t type, class;
    bool has_opt;                   /* it speaks EDNS (RFC 6891) */
    bool wants_dnssec;              /* DO */
    bool is_plain;                  /* each byte of each label may be in the host of a URL */
    uint16_t question_len;          /* bytes; 0: there was none that could be read */
    uint8_t name_len;               /* 0: the root, or not plain */
    char name[DNS_WIRE_NAME];       /* lower case, no dot at its end; not terminated */
    uint8_t question[DNS_QUESTION]; /* octet for octet: who asks may have mixed the case (0x20) */
};

/* Reads N bytes at P. DNS_CODE_NOERROR, or the code of the answer that says why not, for which Q is
 * filled in as far as it goes. */
enum dns_code dns_message_parse(struct dns_asked *q, const uint8_t *p, size_t n);

static inline struct str dns_asked_name(const struct dns_asked *q)
{
    return str_make(q->name, q->name_len);
}

/* An answer: one record, or none. */
struct dns_reply {
    enum dns_code code;
    const struct addr *address; /* A or AAAA; NULL: none */
    struct str pointer;         /* PTR: labels of at most 63 bytes, 253 in all; empty: none */
    uint32_t ttl;               /* s */
};

/* Writes the answer R to Q; gives its bytes. Without a record, "no such name" and "nothing of that
 * type" come with an SOA of TTL r->ttl, which is how long they may be remembered (RFC 2308). */
size_t dns_message_write(uint8_t out[DNS_ANSWER_SIZE], const struct dns_asked *q,
                         const struct dns_reply *r);

#endif
