/* SPDX-License-Identifier: Apache-2.0 */
/* The system's store of CAs: is there anything in it. */
#ifndef TLSFAN_NET_TLS_SYSTEM_H
#define TLSFAN_NET_TLS_SYSTEM_H

#include <openssl/x509.h>

#include "base/str.h"

/* Logs a warning when STORE, to which X509_STORE_set_default_paths() has added all that it reads at
 * once, has no CA, and the directories that OpenSSL reads later have none either. It names what was
 * looked for, and the package. At start, reload and -t. */
void tls_system_check(X509_STORE *store);

#endif
