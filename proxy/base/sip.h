/* SPDX-License-Identifier: Apache-2.0 */
/* The round of SipHash (Aumasson and Bernstein, 2012), for those who build on it: base/hash.c and
 * conf/htpasswd.c. */
#ifndef TLSFAN_BASE_SIP_H
#define TLSFAN_BASE_SIP_H

#include <stdint.h>

/* X turned left by BITS, 1 to 63. */
static inline uint64_t sip_rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

/* One round over the state V, which the callers set up, feed and read, for they differ in that: how
 * many rounds, and how many bits of output. */
static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = sip_rotate(v[1], 13) ^ v[0];
    v[0] = sip_rotate(v[0], 32);
    v[2] += v[3];
    v[3] = sip_rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = sip_rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = sip_rotate(v[1], 17) ^ v[2];
    v[2] = sip_rotate(v[2], 32);
}

#endif
