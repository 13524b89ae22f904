/* SPDX-License-Identifier: Apache-2.0 */
/* The two sides of a source (a client connection, a batch call): what it is told of its exchanges,
 * and what they need to know of it. */
#ifndef TLSFAN_EXCHANGE_SOURCE_H
#define TLSFAN_EXCHANGE_SOURCE_H

#include "conf/conf.h"
#include "http/h1_body.h"
#include "http/uri.h"
#include "net/stream.h"

struct exchange;

/* What a source is told. None comes before exchange_start() was called; each may close the
 * exchange. */
struct source_ops {
    /* 1xx but 101. */
    void (*on_info)(struct exchange *x, struct h1_head *head);
    /* The final head; HEAD lasts until return. How the body that follows is delimited: NONE, LENGTH
     * with LENGTH bytes, or CHUNKED when it is not known. x->res_is_bare: no body, but the length
     * fields stay (HEAD, 304). */
    void (*on_head)(struct exchange *x, struct h1_head *head, enum h1_framing framing,
                    uint64_t length);
    void (*on_body)(struct exchange *x, const char *p, size_t n);
    /* The response is whole, or the tunnel has ended. TRAILERS may be NULL. */
    void (*on_end)(struct exchange *x, const struct fields *trailers);
    /* The body broke off: there must be no proper end. */
    void (*on_cut)(struct exchange *x);
    /* The request becomes a tunnel: 200 to CONNECT with HEAD NULL, or a 101. Gives the stream of
     * the one who asked, which is the exchange's from now on; on_end() says that it has ended.
     * NULL: there is none, and nothing more is told. */
    struct stream *(*on_tunnel)(struct exchange *x, struct h1_head *head);
    /* CONNECT host:80: what follows on this connection is plain HTTP for x->target.host. */
    void (*on_connect_plain)(struct exchange *x);
    /* CONNECT that is intercepted: what follows is TLS, which is ours to answer with a leaf of
     * x->conf->intercept.mint, and inside it requests for x->target.host. */
    void (*on_connect_tls)(struct exchange *x);
    /* The request body may go on. */
    void (*on_drain)(struct exchange *x);
    /* From the reaper: the memory X lives in. */
    void (*release)(struct exchange *x);
};

/* What a source is; each has a row of source_rules[]. */
enum source_kind {
    SOURCE_PROXY,       /* a client of a proxy listener */
    SOURCE_FORWARD,     /* a client of a listener that speaks for one origin */
    SOURCE_INSIDE,      /* what is read inside CONNECT host:80 */
    SOURCE_INTERCEPTED, /* what is read inside the TLS of a CONNECT that is intercepted */
    SOURCE_BATCH,       /* the requests of a batch call */
    SOURCE_TRANSPARENT, /* what is read on a connection that was on its way elsewhere */
    SOURCE_TURNED,      /* such a connection, by a CONNECT that its client knows nothing of */
    SOURCE_HOST, /* the same, where the operator wrote that it leads to this host's loopback */
    SOURCE_OWN,  /* what tlsfan itself asks: for access tokens */
    SOURCE_KINDS
};

/* What the kind of a source decides. The table is in route.c. */
struct source_rules {
    /* Which targets are taken, and where they lead: fills x->where, x->rule, x->rq.host and
     * x->rq.target. HOST is that of the Host field. False with F. */
    bool (*destination)(struct exchange *x, const struct uri_host *host, struct fault *f);
    bool is_proxy;         /* takes CONNECT; OPTIONS * is for tlsfan itself */
    bool asks_credentials; /* of each request */
    bool is_exempt;        /* the operator wrote where it leads: no policy, no tlsfan.localhost */
    bool comes_here;       /* of this machine: may ask for the service listener and for forwards */
    bool is_patient;       /* its requests wait for each other: no queue_timeout */
    bool is_https;         /* its client speaks of https:// URLs: none is upgraded or rewritten */
    bool is_silent;        /* its client gets no answer of ours: a fault resets its connection */
};
extern const struct source_rules source_rules[SOURCE_KINDS];

/* A connection that was on its way elsewhere when the kernel turned it here. */
struct source_turned {
    /* Where it was going, and the port: a name, where the address stands for one. */
    struct uri_host to;
    struct str address; /* that stands for the name; "" where it is no name */
    bool is_captured;   /* of `run --capture`: client.allow and connect_ports are not asked */
    bool is_blind;      /* it is not TLS, so that nothing could be read inside */
    enum turned_to {
        TURNED_ELSEWHERE, /* as it should be; else it is refused: */
        TURNED_HERE,      /* to this listener itself: nobody has turned it */
        TURNED_LOOP,      /* it was opened by this process */
        TURNED_LOOPBACK,  /* of COMMAND's network namespace */
        TURNED_UNKNOWN    /* to an address that stands for no name any more */
    } where;
};

/* Who asks, and what its listener is. Kept by the source, outlives its exchanges. */
struct source_side {
    enum source_kind kind;
    struct addr peer;
    char peer_text[ADDR_TEXT];          /* "1.2.3.4", "unix", "command" */
    char self[ADDR_TEXT];               /* FORWARD: the listener's own address and port */
    const struct forward *forward;      /* FORWARD; else NULL */
    const struct source_turned *turned; /* borrowed; NULL: nobody has turned the connection */
    struct uri_host fixed;              /* the one host that is spoken to; name.p NULL: any */
    bool by_tls;                        /* it speaks TLS to a tls: listener */
    bool is_local;     /* loopback or unix:; of what was turned, this machine's too */
    struct str user;   /* who was let in before; empty: nobody. As long as the source */
    uint64_t id;       /* whose turn in a pool's queue, among those of: */
    uint64_t person;   /* who `peer` and `user` are: trust_person() */
    unsigned admitted; /* by client.allow of this generation of the configuration */
    unsigned asked;    /* exchanges that have begun */
};

#endif
