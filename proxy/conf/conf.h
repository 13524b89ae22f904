/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator wrote, as one immutable, reference-counted snapshot. Made by conf_load(),
 * shared by all threads, released by the last conf_unref(). Every pointer inside is owned by the
 * snapshot. */
#ifndef TLSFAN_CONF_CONF_H
#define TLSFAN_CONF_CONF_H

#include "base/mem.h"
#include "conf/rule.h"
#include "conf/sections.h"

struct htpasswd;  /* conf/policy.c */
struct conf_file; /* conf/files.h */

struct conf {
    _Atomic unsigned refs;
    unsigned generation; /* 1 for the first snapshot, rising with each reload; part of pool keys */
    struct listener *listeners;
    unsigned n_listeners;
    struct strings service_hosts; /* lower case */
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
    struct batch_conf batch;
    struct log_conf log;
    /* rules[0] matches when no other does and holds the upstream/tls values; then as written */
    struct rule *rules;
    unsigned n_rules;
    struct rule_index *index;
    struct htpasswd *htpasswd;       /* NULL without auth_file */
    struct conf_file *files;         /* what it was made from */
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
    const char *file; /* NULL: none */
    /* NULL, or whose text of `file` and its includes is taken instead of what stands there now */
    const struct conf *running;
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
