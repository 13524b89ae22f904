/* SPDX-License-Identifier: Apache-2.0 */
/* The listeners of a snapshot. Every pointer inside is owned by it. */
#ifndef TLSFAN_CONF_LISTENER_H
#define TLSFAN_CONF_LISTENER_H

#include "base/addr.h"

/* A list of strings. */
struct strings {
    const char **v; /* terminated strings */
    unsigned n;
};

/* A listener that speaks for one origin. */
struct forward {
    const char *listener; /* as written */
    const char *host;     /* lower case; IPv6 without brackets */
    const char *path;     /* put before the request's path; "" or "/v2", no slash at the end */
    uint16_t port;
    bool is_rooted;         /* the host was written with a dot at its end */
    bool tls;               /* to = https:// */
    bool client_tls;        /* and its clients speak it, too: the listener is tls: */
    bool host_is_client;    /* host = client */
    struct strings hosts;   /* lower case */
    struct strings origins; /* lower case, "http://name:port" */
};

/* What comes in by a listener. */
enum listener_kind {
    LISTENER_PROXY,       /* requests to a proxy */
    LISTENER_FORWARD,     /* requests to one origin */
    LISTENER_SERVICE,     /* libevhtp's */
    LISTENER_TRANSPARENT, /* connections on their way elsewhere, that the kernel has turned here */
    /* the same, of the COMMAND of `run --capture`, to a port of */
    LISTENER_CAPTURED_HTTP, /* capture.http */
    LISTENER_CAPTURED,      /* capture.tunnel */
    LISTENER_HOST           /* capture.host_loopback */
};

struct listener {
    const char *text;  /* as written, for messages */
    struct addr addr;  /* port 0 picks a free one */
    const char *where; /* "FILE:LINE", "TLSFAN_X" or "-o key", for messages */
    enum listener_kind kind;
    bool tls;                      /* PROXY, FORWARD: its clients speak TLS to it */
    const struct forward *forward; /* FORWARD; else NULL */
};

/* A socket of it is in the network namespace of COMMAND. */
static inline bool listener_is_captured(enum listener_kind kind)
{
    return kind >= LISTENER_CAPTURED_HTTP;
}

#endif
