/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a snapshot, section by section as the operator writes them. Every pointer inside is
 * owned by the snapshot. */
#ifndef TLSFAN_CONF_SECTIONS_H
#define TLSFAN_CONF_SECTIONS_H

#include "base/addr.h"
#include "base/log.h"

/* A list of strings. */
struct strings {
    const char **v; /* terminated strings */
    unsigned n;
};

/* curl's --connect-to. */
struct connect_to {
    const char *host;    /* lower case; "" matches any */
    uint16_t port;       /* 0 matches any */
    const char *to_host; /* "" keeps the host */
    uint16_t to_port;    /* 0 keeps the port */
};

/* A listener that speaks for one origin. */
struct forward {
    const char *listener; /* as written */
    const char *host;     /* lower case; IPv6 without brackets */
    const char *path;     /* put before the request's path; "" or "/v2", no slash at the end */
    uint16_t port;
    bool is_rooted;         /* the host was written with a dot at its end */
    bool tls;               /* to = https:// */
    bool host_is_client;    /* host = client */
    struct strings hosts;   /* lower case */
    struct strings origins; /* lower case, "http://name:port" */
};

struct listener {
    const char *text;              /* as written, for messages */
    struct addr addr;              /* port 0 picks a free one */
    const char *where;             /* "FILE:LINE", "TLSFAN_X" or "-o key", for messages */
    const struct forward *forward; /* NULL: a proxy listener, or the service's */
    bool is_service;
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

struct batch_conf {
    unsigned max_items;
    size_t max_size, max_item_response; /* bytes */
};

struct log_conf {
    enum log_level level;
    const char *access;
    bool json, query;
};

#endif
