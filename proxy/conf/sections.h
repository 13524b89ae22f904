/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a snapshot, section by section as the operator writes them. Every pointer inside is
 * owned by the snapshot. */
#ifndef TLSFAN_CONF_SECTIONS_H
#define TLSFAN_CONF_SECTIONS_H

#include "base/log.h"
#include "conf/listener.h"
#include "conf/secret_text.h"
#include "conf/tls_policy.h"

struct oauth_conf; /* conf/oauth.h */
struct parent;     /* conf/parent.h */
struct rule_index; /* conf/rule_index.h */
struct ssl_ctx_st; /* SSL_CTX */
struct tls_ca;     /* net/tls_ca.h */
struct tls_mint;   /* net/tls_mint.h */

/* curl's --connect-to. */
struct connect_to {
    const char *host;    /* lower case; "" matches any */
    uint16_t port;       /* 0 matches any */
    const char *to_host; /* "" keeps the host */
    uint16_t to_port;    /* 0 keeps the port */
};

/* durations in ms, 0 = none; sizes in bytes */
struct client_conf {
    struct netset allow;
    bool allow_is_set;     /* by hand */
    const char *auth_file; /* "" = none */
    unsigned max_connections, max_pipeline;
    size_t max_head, buffer;
    int64_t header_timeout, body_timeout, write_timeout, idle_timeout;
    bool lenient, early_hints;
    const char *cert, *key, *client_ca; /* of tls: listeners; "" = none */
    struct ssl_ctx_st *tls;             /* made of them by net/tls_listener.c; NULL = none */
};

/* Hosts that are reached directly. */
struct bypass {
    struct netset nets;       /* of hosts that are written as an address */
    struct strings hosts;     /* lower case, patterns of rules */
    struct rule_index *index; /* over them */
};

struct upstream_conf {
    int64_t connect_timeout, idle_timeout, max_age, queue_timeout;
    size_t max_head;
    unsigned retries;
    struct addr bind4, bind6; /* len 0 = none */
    struct bypass no_proxy;   /* of rules[0].parent, where a rule inherits it */
};

struct dns_conf {
    struct strings servers; /* "ADDR" or "ADDR:PORT"; none = resolv.conf */
    int64_t timeout, ttl_max, negative_ttl, stale;
    int family; /* AF_UNSPEC, AF_INET, AF_INET6 */
};

struct rewrite_conf {
    bool location, cookies, hsts, origin, links, cors;
};

struct list_of_ports {
    uint16_t *v;
    unsigned n;
};

struct destination_conf {
    struct list_of_ports ports, connect_ports; /* n = 0: any */
    struct netset deny, allow;
    struct strings allow_hosts, deny_hosts; /* lower case */
    struct rule_index *allow_index, *deny_index;
};

struct batch_conf {
    unsigned max_items;
    size_t max_size, max_item_response; /* bytes */
};

/* CONNECT that is answered and read instead of passed on. */
struct intercept_conf {
    const char *ca_cert, *ca_key; /* "" = none */
    int min_version;              /* of clients; 0x0301 .. 0x0304 */
    /* of `run --intercept`: */
    struct tls_ca *run_ca;         /* borrowed: signs instead of ca_cert; NULL = none */
    struct strings only;           /* hosts, lower case; none = all that rules leave on */
    struct rule_index *only_index; /* NULL: all */
    struct tls_mint *mint;         /* made by net/tls_ctx.c where a rule intercepts */
};

/* Ports of COMMAND under `run --capture`. */
struct capture_conf {
    struct list_of_ports http, tunnel, host_loopback;
    bool is_on; /* with that flag: there are no other listeners but the service's */
};

/* Of access lines. Auto: short where the sink is a terminal, else JSON. */
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_JSON, LOG_FORMAT_COMMON, LOG_FORMAT_SHORT };

struct log_conf {
    enum log_level level;
    const char *access;
    enum log_format format;
    bool query;
    bool fields; /* values of fields are shown on the live page, but credentials */
};

/* Where a text of the configuration was written, for faults that only its use shows. */
struct written {
    const char *key;   /* of the table of keys */
    const char *where; /* "FILE:LINE", "TLSFAN_X" or "-o key" */
};

struct rule {
    const char *pattern; /* as written; "*" for rules[0] */
    const char *where;   /* "FILE:LINE", for messages */
    unsigned index;      /* position in conf->rules; part of pool keys */
    const char *host;    /* pattern without port, lower case: "*", "*.suffix" or a name */
    uint16_t match_port; /* 0: any */
    bool upgrade;
    uint16_t port;            /* 0: as section 3 of the manual says */
    const char *connect_host; /* "" = none; where to connect instead */
    uint16_t connect_port;
    const char *sni;       /* "" = the host */
    struct parent *parent; /* through which it is reached; NULL: directly. See upstream/way.h */
    unsigned max_per_host;
    bool http2;         /* offered in ALPN */
    bool lenient;       /* to the framing of HTTP/1 answers */
    bool intercept;     /* CONNECT to it is read; see conf_intercepts() */
    unsigned readahead; /* pages; 0 = none */
    int64_t rate;       /* ns between two requests begun; 0 = none */
    bool retry_after;   /* wait for what an origin asks to wait for */
    int64_t response_timeout, read_timeout, tunnel_timeout; /* ms */
    struct header_edit *edits;
    unsigned n_edits;
    const struct oauth_conf *oauth; /* whose token they hold; NULL: none */
    struct tls_policy tls;
    struct written *written; /* of its KEY_TEXT keys; in rules[0] those outside rules, dotted */
    unsigned n_written;
};

#endif
