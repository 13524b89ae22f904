/* SPDX-License-Identifier: Apache-2.0 */
/* Users and their password hashes, with a memory of the pairs that were right. For conf/policy.c,
 * which has the functions that load and free it in its header. */
#ifndef TLSFAN_CONF_HTPASSWD_H
#define TLSFAN_CONF_HTPASSWD_H

#include "conf/policy.h"

/* See policy_auth_digest(). Quick, any thread, no lock. */
struct policy_digest htpasswd_digest(const struct htpasswd *h, struct str pair);

/* True when PAIR, "user:password", was found right before under the same line of the file, by this
 * H or one before, and is still remembered. Quick, any thread, no lock. */
bool htpasswd_knows(const struct htpasswd *h, struct str pair);

/* Hashes, and remembers PAIR when it is right. Takes as long for a user who does not exist. Blocks,
 * any thread. PAIR is terminated behind its length and has no NUL byte. */
MUST_CHECK bool htpasswd_check(const struct htpasswd *h, struct str pair);

#endif
