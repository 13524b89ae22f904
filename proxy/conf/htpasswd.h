/* SPDX-License-Identifier: Apache-2.0 */
/* Users and their password hashes, with a memory of the pairs that were right. */
#ifndef TLSFAN_CONF_HTPASSWD_H
#define TLSFAN_CONF_HTPASSWD_H

#include "conf/conf_fault.h"

struct htpasswd;
struct conf_file; /* conf/files.h */

/* Reads an htpasswd file, noting it in FILES: bcrypt and SHA-crypt; another hash is a fault that
 * names htpasswd -B. NULL and a fault at WHERE when it cannot be used. */
struct htpasswd *htpasswd_load(struct conf_file **files, const char *path, const char *where,
                               struct conf_faults *faults);
void htpasswd_free(struct htpasswd *h);

/* Keyed: it means nothing outside this process. */
struct auth_digest {
    uint64_t low, high;
};

/* See policy_auth_digest(). Quick, any thread, no lock. */
struct auth_digest htpasswd_digest(const struct htpasswd *h, struct str pair);

/* True when PAIR, "user:password", was found right before under the same line of the file, by this
 * H or one before, and is still remembered. Quick, any thread, no lock. */
bool htpasswd_knows(const struct htpasswd *h, struct str pair);

/* Hashes, and remembers PAIR when it is right. Takes as long for a user who does not exist. Blocks,
 * any thread. PAIR is terminated behind its length and has no NUL byte. */
MUST_CHECK bool htpasswd_check(const struct htpasswd *h, struct str pair);

#endif
