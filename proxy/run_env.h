/* SPDX-License-Identifier: Apache-2.0 */
/* The environment of COMMAND in `tlsfan run`: where the proxy is, and where it intercepts what
 * programs must be told to trust its CA. */
#ifndef TLSFAN_RUN_ENV_H
#define TLSFAN_RUN_ENV_H

#include "conf/conf.h"
#include "net/tls_ca.h"

struct run_env;

/* PORT: the proxy on 127.0.0.1; 0: COMMAND's network leads there by itself, and no variable names a
 * proxy, those of before neither. HTTPS: https:// URLs are for it, too. CA, which may be NULL: made
 * for this run; then files of certificates are written to a new directory for temporary files, with
 * those that COMMAND trusts already. LEAVE, which may be NULL, is told each path that would be left
 * behind if this process were killed, before there is one but for the first: the directory. NULL,
 * with a line on stderr, where that cannot be. */
struct run_env *run_env_new(unsigned port, bool https, const struct tls_ca *ca,
                            void (*leave)(const char *path));
/* Takes out the variables that C names as {env:NAME}: what tlsfan adds to requests is not for who
 * makes them. */
void run_env_hide(struct run_env *e, const struct conf *c);
/* NULL at its end. Borrowed. */
char **run_env_list(const struct run_env *e);
/* The files go, too. NULL is harmless. */
void run_env_free(struct run_env *e);

#endif
