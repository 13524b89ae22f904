/* SPDX-License-Identifier: Apache-2.0 */
/* Which names a written one may mean, in what order: the search list and ndots as glibc has them
 * (resolv.conf(5)); and whom that file names as servers. No I/O. */
#ifndef TLSFAN_NET_DNS_SEARCH_H
#define TLSFAN_NET_DNS_SEARCH_H

#include "base/str.h"

enum {
    DNS_NAME_MAX = 253, /* bytes, without a dot at the end */
    DNS_DOMAINS_MAX = 32,
    DNS_NAMES_MAX = DNS_DOMAINS_MAX + 1
};

/* Zero-initialised: no list, names are asked as they are. */
struct dns_search {
    char *domains[DNS_DOMAINS_MAX]; /* heap, lower case, no dot at either end; "": the root */
    unsigned n;
    unsigned ndots;
    bool no_tld;   /* a name of one label is not asked alone */
    char *servers; /* for sentences: "192.0.2.1, 192.0.2.2"; cut; heap; NULL: none */
};

/* What it is read from. */
struct dns_search_source {
    struct str file;         /* the text of resolv.conf */
    const char *localdomain; /* of the environment: instead of the file's list; NULL: not set */
    const char *res_options; /* of the environment: after the file's options; NULL */
    const char *host_name;   /* its domain is the list where there is no other; NULL */
};

/* Fills S. What makes no sense is passed over, as glibc does; domains beyond DNS_DOMAINS_MAX, too.
 */
void dns_search_read(struct dns_search *s, const struct dns_search_source *from);
void dns_search_clear(struct dns_search *s);

/* The same names in the same order, whatever the servers. */
bool dns_search_equal(const struct dns_search *a, const struct dns_search *b);

/* Puts what HOST (lower case, DNS_NAME_MAX bytes at most and perhaps a dot behind them, which means
 * that name alone) may mean into NAMES, first things first. Heap strings without a dot at the end,
 * the caller's; a name that would be too long is left out. Gives how many. */
unsigned dns_search_names(const struct dns_search *s, struct str host, char *names[DNS_NAMES_MAX]);

#endif
