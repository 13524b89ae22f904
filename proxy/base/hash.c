/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash (Aumasson and Bernstein, 2012) with one round a word and three at the end, which is what
 * hash tables need of it: nobody can find collisions who does not see hashes. */
#include "base/hash.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/sip.h"

static uint64_t key[2];

void hash_init(void)
{
    if (getrandom(key, sizeof(key), 0) == (ssize_t)sizeof(key))
        return;
    /* A system without it: better than a key that everybody knows. */
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    key[0] = (uint64_t)t.tv_nsec << 32 ^ (uint64_t)t.tv_sec;
    key[1] = (uint64_t)getpid() << 48 ^ (uint64_t)(uintptr_t)&t;
}

static inline void hash_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* Words are taken in the machine's order: these hashes leave no process. */
uint64_t hash_bytes(const void *p, size_t n)
{
    const char *at = p;
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                     key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word;
    size_t left = n;
    for (; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        hash_word(v, word);
    }
    word = 0;
    while (left > 0)
        word = word << 8 | (unsigned char)at[--left];
    hash_word(v, word ^ (uint64_t)n << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
