/* SPDX-License-Identifier: Apache-2.0 */
/* What all who read PEM of the operator's with OpenSSL need. */
#ifndef TLSFAN_NET_TLS_PEM_H
#define TLSFAN_NET_TLS_PEM_H

/* What OpenSSL says of the last error of this thread. Never NULL; static. */
const char *tls_pem_reason(void);

/* A pem_password_cb: a key that wants a password is a fault, not a question on the terminal. */
int tls_pem_no_password(char *buf, int size, int rwflag, void *arg);

#endif
