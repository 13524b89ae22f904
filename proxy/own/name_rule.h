/* SPDX-License-Identifier: Apache-2.0 */
/* What a program that knows no proxy is told of a name. For a name that exists it is the address
 * that stands for it (own/name_map.h), whatever addresses the name has, and nothing of any other
 * type; else what is said outside. */
#ifndef TLSFAN_OWN_NAME_RULE_H
#define TLSFAN_OWN_NAME_RULE_H

#include "conf/conf.h"
#include "net/dns_message.h"
#include "own/name_map.h"

enum {
    NAME_TTL = 60,         /* s, of an address that stands for a name */
    NAME_NEGATIVE_TTL = 5, /* s: a name may come to exist */
};

/* An answer and what it points to: filled in where it is, never copied. */
struct name_reply {
    struct dns_reply reply;
    struct addr address;
    char pointer[NAME_MAP_NAME];
};

enum name_verdict {
    NAME_IS_ANSWERED, /* the reply says all */
    NAME_EXISTS,      /* whatever servers say: the configuration leads it somewhere */
    NAME_IS_ASKED     /* servers know whether it exists */
};

/* What Q leads to under C. R is filled in where it is answered. */
enum name_verdict name_rule_judge(const struct conf *c, const struct dns_asked *q,
                                  struct name_reply *r);
/* The answer to Q, whose name exists. */
void name_rule_exists(const struct dns_asked *q, struct name_reply *r);
/* The answer that has no record. */
void name_rule_nothing(struct name_reply *r, enum dns_code code);

#endif
