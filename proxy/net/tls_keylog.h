/* SPDX-License-Identifier: Apache-2.0 */
/* tls.keylog: the secrets of connections to origins, of intercepted clients and to tls: listeners,
 * a line each as NSS writes it and Wireshark reads it ("CLIENT_RANDOM <random> <secret>"). One file
 * for the process, thread safe. A file that takes no line never stops a worker: the line is
 * dropped. */
#ifndef TLSFAN_NET_TLS_KEYLOG_H
#define TLSFAN_NET_TLS_KEYLOG_H

#include "base/str.h"

struct ssl_ctx_st; /* SSL_CTX */

/* What connections of CTX agree on is logged, while there is a file. */
void tls_keylog_watch(struct ssl_ctx_st *ctx);

/* PATH, made with mode 0600 or appended to: a descriptor, or -1 with errno. One that others can
 * read, or that is another user's, is warned of. */
MUST_CHECK int tls_keylog_open(const char *path);
/* FD, by tls_keylog_open(PATH) and taken over, holds the lines from now on; -1: none are kept. */
void tls_keylog_use(int fd, const char *path);
/* Opens the path again (USR1). False when it cannot be, which is logged: the old file stays. */
bool tls_keylog_reopen(void);

#endif
