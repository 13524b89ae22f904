/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets (RFC 9112 §3.2), authorities and the normal form of hosts. */
#ifndef TLSFAN_HTTP_URI_H
#define TLSFAN_HTTP_URI_H

#include "base/mem.h"

enum target_form { TARGET_ORIGIN, TARGET_ABSOLUTE, TARGET_AUTHORITY, TARGET_ASTERISK };
enum uri_scheme { SCHEME_NONE, SCHEME_HTTP, SCHEME_HTTPS, SCHEME_OTHER };

struct uri_host {
    struct str name; /* lower case, no dot at the end, IPv6 without brackets */
    uint16_t port;   /* 0: none was written */
    bool is_ip;      /* an IPv4 or IPv6 literal: no SNI, verified against IP SANs */
    bool is_ip6;
    bool is_rooted; /* a dot was at the end of a name: it means that name alone */
};

struct target {
    enum target_form form;
    enum uri_scheme scheme;
    struct str scheme_name;
    struct uri_host host; /* absolute and authority forms */
    struct str authority; /* absolute form: what `host` was read from, as written */
    struct str path;      /* and query, no fragment; "/" when empty; "*": asterisk form */
    struct str userinfo;  /* absolute form, as written, without "@" (userinfo.h); p NULL: none */
    bool has_fragment;    /* one was written, be it empty */
};

/* Parses RAW, the target of a request with method CONNECT (authority form) or any other. Names that
 * had to be changed (case, dot) are copied to ARENA; all else are slices of RAW. False with WHY, a
 * sentence, set: malformed userinfo, or any before the host of CONNECT, a byte that is not
 * printable ASCII (the text shows the xn-- form for a host), a bad port (0, over 65535), an empty
 * host, a bad literal. WHY may be in ARENA and shows nothing of the userinfo. ws and wss are
 * SCHEME_HTTP and SCHEME_HTTPS; an unknown scheme is no error: SCHEME_OTHER, and PATH is all behind
 * "://" but for userinfo. */
MUST_CHECK bool uri_parse_target(struct target *t, struct arena *arena, struct str raw,
                                 bool is_connect, const char **why);

/* Host field or authority: "name", "name:port", "[v6]:port". Same errors; WHY may be NULL. */
MUST_CHECK bool uri_parse_host(struct uri_host *h, struct arena *arena, struct str raw,
                               const char **why);

/* An absolute http or https URL inside a field value (Location and others). HOST as uri_parse_host;
 * REST is the slice of URL from behind the authority. False when it is not one. Scheme-relative and
 * relative references are not. */
struct uri_ref {
    enum uri_scheme scheme;
    struct uri_host host;
    struct str authority; /* as written, userinfo excluded */
    struct str rest;      /* path, query, fragment */
};
MUST_CHECK bool uri_parse_ref(struct uri_ref *r, struct arena *arena, struct str url);

/* URL, absolute with any scheme or "//host/path", without its userinfo: itself when it has none,
 * else in ARENA. */
struct str uri_without_userinfo(struct arena *arena, struct str url);

/* "name", "name:8443", "[::1]:8443"; the port is left out when it is DEFAULT_PORT. In ARENA. */
struct str uri_authority(struct arena *arena, struct str host, uint16_t port,
                         uint16_t default_port);

/* True when the last label of NAME is a number, so that it is an address or nothing (as browsers
 * have it). */
bool uri_ends_in_number(struct str name);
/* "localhost" and what ends in ".localhost" (RFC 6761 §6.3), in any case. */
bool uri_is_loopback_name(struct str name);
/* "tlsfan.internal", in lower case: a proxy listener answers that itself, and nobody is asked where
 * it is. Unlike a name below localhost, no list of hosts that go past the proxy has it. */
bool uri_is_internal_name(struct str name);
/* That, or "tlsfan.localhost", which is answered so by http:// and on port 80 alone. */
bool uri_is_own_name(struct str name);

/* True when PATH (up to its query) would climb above its root in the eyes of some server: "%2e" is
 * a dot, "%2f", "%5c" and a backslash may be slashes, ";" may end a segment, slashes may merge. */
bool uri_path_leaves_root(struct str path);

#endif
