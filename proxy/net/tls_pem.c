/* SPDX-License-Identifier: Apache-2.0 */
/* See tls_pem.h. */
#include "net/tls_pem.h"

#include <openssl/err.h>

const char *tls_pem_reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text == NULL ? "unknown reason" : text;
}

int tls_pem_no_password(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}
