/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator wrote, as one immutable, reference-counted snapshot. Made by conf_load()
 * (conf/conf_load.h), shared by all threads, released by the last conf_unref(). Every pointer
 * inside is owned by the snapshot. */
#ifndef TLSFAN_CONF_CONF_H
#define TLSFAN_CONF_CONF_H

#include "base/mem.h"
#include "conf/secret_store.h"
#include "conf/sections.h"

struct htpasswd;   /* conf/htpasswd.h */
struct rule_index; /* conf/rule_index.h */
struct conf_file;  /* conf/files.h */

/* What the flags of `tlsfan run` ask for, for all rules that do not write otherwise. */
struct conf_run {
    const char *intercept; /* patterns of hosts, divided by commas; "": all; NULL: none */
    struct tls_ca *ca;     /* and the CA that signs; borrowed */
    unsigned readahead;    /* pages; 0 = none */
    bool capture;          /* COMMAND's network leads here: the only listeners are those of it */
};

struct conf {
    _Atomic unsigned refs;
    struct arena arena;  /* texts and lists, which only grow while the snapshot is made */
    const char *file;    /* the one of -c, as it was named; NULL: none */
    bool is_run;         /* `tlsfan run` */
    unsigned generation; /* 1 for the first snapshot, rising with each reload; part of pool keys */
    struct listener *listeners;
    unsigned n_listeners;
    struct strings service_hosts; /* lower case */
    struct forward *forwards;
    unsigned n_forwards;
    struct oauth_conf *oauths;
    unsigned n_oauths;
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
    size_t readahead_memory; /* bytes */
    struct intercept_conf intercept;
    struct capture_conf capture;
    struct log_conf log;
    /* rules[0] matches when no other does and holds the upstream/tls values; then as written */
    struct rule *rules;
    unsigned n_rules;
    struct rule_index *index;
    struct htpasswd *htpasswd;       /* NULL without auth_file */
    struct conf_file *files;         /* what it was made from */
    struct secret_store secrets;     /* what the texts with {file:} and the like stand for */
    char *text;                      /* what conf_dump() gives */
    void (*on_free)(struct conf *c); /* set by net/tls_ctx.c: frees rules[].tls.ctx */
};

/* The effective configuration as conf_load() takes it, secrets masked. Heap, caller-owned. */
char *conf_dump(const struct conf *c);

struct conf *conf_ref(struct conf *c);
/* Drops a reference and sets *C to NULL. */
void conf_unref(struct conf **c);

/* CONNECT to HOST, lower case, for which R holds is answered by tlsfan and read. */
bool conf_intercepts(const struct conf *c, const struct rule *r, struct str host);
/* Some rule may have it so. */
bool conf_may_intercept(const struct conf *c);

/* Some rule has read-ahead. */
bool conf_may_read_ahead(const struct conf *c);

/* The first connect_to that matches; NULL when none does. HOST is lower case. */
const struct connect_to *conf_connect_to(const struct conf *c, struct str host, uint16_t port);

#endif
