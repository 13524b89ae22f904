/* SPDX-License-Identifier: Apache-2.0 */
/* Which names may be in /etc/hosts. c-ares reads all of that file for each name and family, and
 * some have a hundred thousand lines that block advertisers: what is not there is not asked for. */
#ifndef TLSFAN_NET_DNS_HOSTS_H
#define TLSFAN_NET_DNS_HOSTS_H

#include "base/file.h"
#include "base/str.h"

/* Embedded, zero-initialised. */
struct dns_hosts {
    bool is_read;
    bool is_unknown;   /* it could not be read: any name may be there */
    struct file_id id; /* when it was read */
    uint32_t *marks;   /* heap, rising: a hash of each word */
    unsigned n;
};

/* False: NAME (lower case) is not there. Reads the file when it has changed. */
bool dns_hosts_may_have(struct dns_hosts *h, struct str name);

/* The same of TEXT, from now on. */
void dns_hosts_read(struct dns_hosts *h, struct str text);
bool dns_hosts_has(const struct dns_hosts *h, struct str name);
void dns_hosts_clear(struct dns_hosts *h);

#endif
