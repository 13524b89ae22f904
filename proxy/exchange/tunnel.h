/* SPDX-License-Identifier: Apache-2.0 */
/* Two streams joined: CONNECT, and Upgrade after 101. Half-closes pass through; a fault on one side
 * resets the other. */
#ifndef TLSFAN_EXCHANGE_TUNNEL_H
#define TLSFAN_EXCHANGE_TUNNEL_H

#include "exchange/engine.h"
#include "net/stream.h"

struct tunnel;

/* It has ended, told once from a loop callback; the tunnel is gone. */
typedef void (*tunnel_fn)(void *arg);

struct tunnel_ends {
    struct stream *client;
    struct stream *up;
    uint64_t *bytes_up, *bytes_down; /* what passes is added; outlive the tunnel */
    void *slot;                      /* given back to the engine's pool at the end; NULL: none */
    int64_t timeout_ms;              /* between two reads of either side; 0: none */
    size_t buffer; /* bytes that may wait on one side before the other is slowed down */
};

/* Takes both streams (closed by the tunnel) and begins. */
struct tunnel *tunnel_open(struct engine *e, const struct tunnel_ends *ends, tunnel_fn fn,
                           void *arg);
/* Closes both sides; FN is not called. Idempotent until the end of the turn; T may be NULL. */
void tunnel_close(struct tunnel *t);

#endif
