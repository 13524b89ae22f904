/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator wrote, as one immutable, reference-counted snapshot. Made by conf_load(),
 * shared by all threads, released by the last conf_unref(). Every pointer inside is owned by the
 * snapshot. */
#ifndef TLSFAN_CONF_CONF_H
#define TLSFAN_CONF_CONF_H

#include "base/addr.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/rule.h"

/* A list of strings. */
struct strings {
    char **v; /* terminated strings */
    unsigned n;
};

/* curl's --connect-to. */
struct connect_to {
    char *host;       /* lower case; "" matches any */
    uint16_t port;    /* 0 matches any */
    char *to_host;    /* "" keeps the host */
    uint16_t to_port; /* 0 keeps the port */
};

/* A listener that speaks for one origin. */
struct forward {
    char *listener; /* as written */
    char *host;     /* lower case; IPv6 without brackets */
    char *path;     /* put before the request's path; "" or "/v2", no slash at the end */
    uint16_t port;
    bool tls;               /* to = https:// */
    bool host_is_client;    /* host = client */
    struct strings hosts;   /* lower case */
    struct strings origins; /* lower case, "http://name:port" */
};

struct listener {
    char *text;                    /* as written, for messages */
    struct addr addr;              /* port 0 picks a free one */
    char *where;                   /* "FILE:LINE", "TLSFAN_X" or "-o key", for messages */
    const struct forward *forward; /* NULL: a proxy listener */
};

/* durations in ms, 0 = none; sizes in bytes */
struct client_conf {
    struct netset allow;
    bool allow_is_set; /* by hand */
    char *auth_file;   /* "" = none */
    unsigned max_connections, max_pipeline;
    size_t max_head, buffer;
    int64_t header_timeout, body_timeout, write_timeout, idle_timeout, tunnel_timeout;
    bool lenient, early_hints;
};

struct upstream_conf {
    int64_t connect_timeout, idle_timeout, max_age, queue_timeout;
    size_t max_head;
    unsigned retries;
    struct addr bind4, bind6; /* len 0 = none */
};

struct dns_conf {
    struct strings servers; /* "ADDR" or "ADDR:PORT"; none = resolv.conf */
    int64_t timeout, ttl_max, negative_ttl;
    int family; /* AF_UNSPEC, AF_INET, AF_INET6 */
};

struct rewrite_conf {
    bool location, cookies, hsts, origin, links, cors;
};

struct destination_conf {
    struct list_of_ports {
        uint16_t *v;
        unsigned n; /* 0 = any */
    } ports, connect_ports;
    struct netset deny, allow;
    struct strings allow_hosts, deny_hosts; /* lower case */
    struct rule_index *allow_index, *deny_index;
};

struct log_conf {
    enum log_level level;
    char *access;
    bool json, query;
};

struct htpasswd; /* conf/policy.c */

struct conf {
    _Atomic unsigned refs;
    unsigned generation; /* 1 for the first snapshot, rising with each reload; part of pool keys */
    struct listener *listeners;
    unsigned n_listeners;
    struct forward *forwards;
    unsigned n_forwards;
    unsigned workers;  /* resolved: > 0 */
    size_t max_memory; /* bytes */
    int64_t drain_delay, drain_timeout;
    struct connect_to *connect_to;
    unsigned n_connect_to;
    bool via;
    struct client_conf client;
    struct upstream_conf upstream;
    struct dns_conf dns;
    struct rewrite_conf rewrite;
    struct destination_conf destination;
    struct log_conf log;
    /* rules[0] matches when no other does and holds the upstream/tls values; then as written */
    struct rule *rules;
    unsigned n_rules;
    struct rule_index *index;
    struct htpasswd *htpasswd;       /* NULL without auth_file */
    char *text;                      /* what conf_dump() gives */
    void (*on_free)(struct conf *c); /* set by net/tls_ctx.c: frees rules[].tls.ctx */
};

/* Faults found, one line each: "FILE:LINE: reason", "TLSFAN_X: reason" or "-o key: reason". */
struct conf_faults {
    char *text; /* heap, terminated, or NULL; owned by the caller */
    unsigned n;
};

/* Where configuration comes from, in the order in which it applies. */
struct conf_source {
    const char *file;   /* NULL: none */
    char **environment; /* environ, or NULL */
    /* "KEY=VALUE" of -o, -l, -f, -w in order: listen=..., workers=..., forward=LISTENER=URL */
    const char **options;
    unsigned n_options;
    /* `tlsfan run`: only the listeners of options are opened; loopback may come, and without -l no
     * credentials are asked; access log off and level warning unless set */
    bool is_run;
    /* NULL, or the last check of what was read to its end: tls_ctx_make_all() */
    bool (*check)(struct conf *c, struct conf_faults *faults);
};

/* Adds a line. */
void conf_fault(struct conf_faults *f, const char *where, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same as "KEY: reason", without KEY where an option or a variable names it; and only once. */
void conf_key_fault(struct conf_faults *f, const char *where, const char *key, const char *reason);

/* Reads and checks everything. Gives a snapshot with one reference, or NULL and a fault at least.
 * Warnings (unknown TLSFAN_ variables) are logged. Not thread safe: one thread loads. */
struct conf *conf_load(const struct conf_source *src, struct conf_faults *faults);

/* The effective configuration as conf_load() takes it, secrets masked. Heap, caller-owned. */
char *conf_dump(const struct conf *c);

struct conf *conf_ref(struct conf *c);
/* Drops a reference and sets *C to NULL. */
void conf_unref(struct conf **c);

/* The first connect_to that matches; NULL when none does. HOST is lower case. */
const struct connect_to *conf_connect_to(const struct conf *c, struct str host, uint16_t port);

#endif
