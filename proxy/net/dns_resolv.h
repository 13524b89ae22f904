/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/resolv.conf on the disk: whether it has changed, and the search list that it and the
 * environment give. */
#ifndef TLSFAN_NET_DNS_RESOLV_H
#define TLSFAN_NET_DNS_RESOLV_H

#include <stdint.h>

#include "net/dns_search.h"

/* Tells one version of the file from another; all 0 where there is none. */
struct dns_resolv_id {
    int64_t mtime; /* ns */
    uint64_t inode, size;
};

struct dns_resolv_id dns_resolv_identify(void);
bool dns_resolv_is_same(const struct dns_resolv_id *a, const struct dns_resolv_id *b);

/* Reads it into S, whatever was there. */
void dns_resolv_read(struct dns_search *s);

#endif
