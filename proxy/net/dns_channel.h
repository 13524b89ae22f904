/* SPDX-License-Identifier: Apache-2.0 */
/* c-ares on the loop: one name and one family a question, asked as it is. Which names are asked,
 * and in what order, is the business of net/dns_lookup.c. */
#ifndef TLSFAN_NET_DNS_CHANNEL_H
#define TLSFAN_NET_DNS_CHANNEL_H

#include "conf/conf.h"
#include "base/loop.h"
#include "net/dns_cache.h"
#include "net/dns_search.h"

/* A set of servers, as the configuration and resolv.conf name them, and the file of hosts. Owner:
 * whoever made it; after dns_channel_retire() itself. */
struct dns_channel;

struct dns_request; /* what c-ares holds; private */

/* A question and its answer. Embedded, zero-initialised, one at a time. */
struct dns_question {
    struct dns_request *request; /* NULL when c-ares has answered, or was not asked */
    struct dns_record *answer;   /* a reference, the owner's; NULL before it has come */
    int64_t ttl;                 /* s, of an answer with addresses */
    struct loop *loop;
    struct post *later; /* posted when the answer has come, maybe inside dns_channel_ask() */
};

/* One of CHANNELS, a list, until it is closed. SEARCH is what resolv.conf says: how many names a
 * lookup may have to ask for one after another within dns.timeout. NULL with errno. */
struct dns_channel *dns_channel_new(struct loop *l, struct list *channels, const struct dns_conf *c,
                                    const struct dns_search *search);
/* CH takes no new question, and goes when the last one has ended. NULL is harmless. */
void dns_channel_retire(struct dns_channel *ch);
/* It is time for another one: c-ares asks from the same port while it waits for any answer, which
 * who has a name that is never answered can make for ever, and for one who forges answers the port
 * is half of what he must guess (RFC 5452). */
bool dns_channel_is_worn(const struct dns_channel *ch);
/* Closes all of CHANNELS and ends all questions; every one must have been forgotten. */
void dns_channels_close(struct list *channels);

/* Asks the servers for the addresses of NAME (no dot at its end), or looks them up in the file of
 * hosts. */
void dns_channel_ask(struct dns_channel *ch, struct dns_question *q, const char *name, int family);
void dns_channel_ask_file(struct dns_channel *ch, struct dns_question *q, const char *name,
                          int family);
/* The record of HOST for a fault of the servers: REASON, and which these are, where CH is not NULL.
 */
struct dns_record *dns_channel_fault(const struct dns_channel *ch, enum fault_code code,
                                     const char *reason, struct str host);
/* Nobody wants to know any more; what c-ares still does for Q only counts. */
void dns_question_forget(struct dns_question *q);

#endif
