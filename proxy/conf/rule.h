/* SPDX-License-Identifier: Apache-2.0 */
/* Rules: what holds for some hosts only. A rule is found in a time that does not grow with their
 * number: exact names in a hash, "*.suffix" by label. */
#ifndef TLSFAN_CONF_RULE_H
#define TLSFAN_CONF_RULE_H

#include <stdint.h>

#include "base/str.h"

struct conf;
struct strings;

/* All that decides a TLS handshake but the host: conf/keys.c marks which keys do. */
struct tls_policy {
    bool verify;
    bool session_resumption;
    const char *ca_file, *ca_dir, *ca_extra, *crl_file; /* "" = none */
    const char *client_cert, *client_key;
    const char *ciphers, *ciphersuites;
    int min_version; /* 0x0301 .. 0x0304, as in the protocol */
    void *ctx;       /* struct tls_ctx, made by net/tls_ctx.c before workers see the snapshot */
};

/* A request_header entry: VALUE NULL removes the field. */
struct header_edit {
    const char *name;
    const char *value;
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
    const char *sni; /* "" = the host */
    unsigned max_per_host;
    bool http2;                                             /* offered in ALPN */
    bool lenient;                                           /* to the framing of HTTP/1 answers */
    int64_t response_timeout, read_timeout, tunnel_timeout; /* ms */
    struct header_edit *edits;
    unsigned n_edits;
    struct tls_policy tls;
    struct written *written; /* of its KEY_TEXT keys; in rules[0] those outside rules, dotted */
    unsigned n_written;
};

struct rule_index; /* private */

/* Makes the index over c->rules. rule_index_free(NULL) is harmless. */
struct rule_index *rule_index_new(const struct rule *rules, unsigned n);
void rule_index_free(struct rule_index *index);

/* The same over patterns for any port, for asking whether one of them matches HOST. */
struct rule_index *rule_index_of(const struct strings *patterns);
bool rule_index_has(const struct rule_index *index, struct str host);

/* The first rule, in the order written, whose pattern matches; rules[0] when none does. HOST is
 * lower case and has no dot at its end; PORT is the one that the request would reach without the
 * rule. Never NULL. */
const struct rule *rule_find(const struct conf *c, struct str host, uint16_t port);

/* The same for a HOST that was found as FULL, with a domain of the search list (empty: as it was
 * written): the first rule that matches either name. But whoever forges an answer of the DNS
 * chooses the domain, so that a rule for FULL must not weaken what holds for HOST as it was
 * written, unless that is one label which no rule is for. It does by upgrade or verify = off and,
 * where HOST is verified, by other settings of TLS and by adding fields to what is sent to it. */
const struct rule *rule_find_full(const struct conf *c, struct str host, struct str full,
                                  uint16_t port);
/* True when a rule of C may match a name below DOMAIN because of that DOMAIN. Looks at each rule.
 */
bool rule_knows_domain(const struct conf *c, struct str domain);

/* Where KEY of R ("ca_file") was written, else where tls.KEY was, which R takes it from; R->where
 * when nobody wrote it. With R = rules[0], KEY may be any text outside rules ("log.access"). Lives
 * as long as C. */
const char *rule_where(const struct conf *c, const struct rule *r, const char *key);

/* True when PATTERN ("name", "*.suffix" at any depth but not itself, "*") matches HOST, both lower
 * case. */
bool rule_pattern_matches(struct str pattern, struct str host);

#endif
