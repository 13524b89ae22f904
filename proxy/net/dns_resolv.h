/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/resolv.conf on the disk: whether it has changed, and the search list that it and the
 * environment give. */
#ifndef TLSFAN_NET_DNS_RESOLV_H
#define TLSFAN_NET_DNS_RESOLV_H

#include "base/file.h"
#include "net/dns_search.h"

struct file_id dns_resolv_identify(void);

/* Reads it into S, whatever was there. Gives hash_bytes() of the file; 0: there is none. */
uint64_t dns_resolv_read(struct dns_search *s);

#endif
