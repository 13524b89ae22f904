/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <stdlib.h>

#include "base/mem.h"
#include "peer_tls.h"

enum { PEERS_MAX = 1024 };

static struct peer *peers[PEERS_MAX];
static unsigned n_peers;

struct peer *peer_of(struct fake_sock *s)
{
    for (unsigned i = 0; i < n_peers; i++) {
        if (peers[i]->sock == s)
            return peers[i];
    }
    if (n_peers == PEERS_MAX)
        abort();
    struct peer *p = peers[n_peers++] = xcalloc(1, sizeof(*p));
    p->sock = s;
    return p;
}

void peer_secure(struct peer *p, bool is_h2)
{
    p->tls = peer_tls_new(p->sock, is_h2);
}

void peer_shake(struct peer *p, size_t n)
{
    if (p->tls == NULL)
        p->tls = peer_tls_new_client(p->sock);
    peer_tls_shake(p->tls, n);
}

bool peer_is_whole(const struct peer *p)
{
    return p->tls == NULL || peer_tls_is_whole(p->tls);
}

void peer_send(struct peer *p, const char *text, size_t n)
{
    if (p->tls == NULL)
        fake_send(p->sock, text, n);
    else
        peer_tls_send(p->tls, text, n);
}

void peer_end(struct peer *p)
{
    if (p->tls != NULL)
        peer_tls_end(p->tls);
    fake_end(p->sock);
}

struct str peer_got(struct peer *p)
{
    return p->tls == NULL ? fake_got(p->sock) : peer_tls_got(p->tls);
}

void peer_take(struct peer *p, size_t n)
{
    if (p->tls == NULL)
        fake_take(p->sock, n);
    else
        peer_tls_take(p->tls, n);
}

bool peer_plays(struct peer *p, const char *verb, const char *rest)
{
    return p->tls != NULL && peer_tls_plays(p->tls, verb, rest);
}

bool peers_turn(void)
{
    bool has_some = false;
    for (unsigned i = 0; i < n_peers; i++) {
        if (peers[i]->tls != NULL && peer_tls_turn(peers[i]->tls))
            has_some = true;
    }
    return has_some;
}

void peers_clear(void)
{
    for (unsigned i = 0; i < n_peers; i++) {
        peer_tls_free(peers[i]->tls);
        free(peers[i]);
    }
    n_peers = 0;
}
