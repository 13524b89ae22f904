/* SPDX-License-Identifier: Apache-2.0 */
/* The way from file, environment and options to a snapshot. */
#ifndef TLSFAN_CONF_CONF_LOAD_H
#define TLSFAN_CONF_CONF_LOAD_H

#include "conf/conf.h"
#include "conf/conf_fault.h"

/* Where configuration comes from, in the order in which it applies. */
struct conf_source {
    const char *file; /* NULL: none */
    /* NULL, or whose text of `file` and its includes is taken instead of what stands there now */
    const struct conf *running;
    /* NULL, or what holds now: a secret that cannot be read any more keeps the value of there */
    const struct conf *last;
    char **environment; /* environ, or NULL */
    /* "KEY=VALUE" of -o, -l, -f, -w in order: listen=..., workers=..., forward=LISTENER=URL */
    const char **options;
    const char **flags; /* NULL, or of each the flag that it was, "-l"; as sources_add_option() */
    unsigned n_options;
    /* `tlsfan run`: only the listeners of options are opened; loopback may come, and without -l no
     * credentials are asked; access log off and level warning unless set */
    bool is_run;
    struct conf_run run;
    /* NULL, or the last check of what was read to its end: tls_ctx_make_all() */
    bool (*check)(struct conf *c, struct conf_faults *faults);
};

/* Reads and checks everything. Gives a snapshot with one reference, or NULL and a fault at least.
 * Warnings (unknown TLSFAN_ variables) are logged. Not thread safe: one thread loads. */
struct conf *conf_load(const struct conf_source *src, struct conf_faults *faults);

#endif
