/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask the service listener, judged before anything is done: web pages that reach for it
 * from a browser on this machine, clients that may not come, credentials. Values only, no I/O. */
#ifndef TLSFAN_SERVICE_GUARD_H
#define TLSFAN_SERVICE_GUARD_H

#include "conf/policy.h"

/* What a request says of itself. p NULL: the field is not there. */
struct guard_request {
    struct str host;   /* of an absolute target, else the Host field */
    struct str origin; /* Origin */
    struct str site;   /* Sec-Fetch-Site */
};

/* False with F: FAULT_BAD_REQUEST for a malformed host, FAULT_MISDIRECTED (421) for a name that is
 * neither an IP literal nor a loopback name nor in service_hosts (DNS rebinding), FAULT_DENIED for
 * a page of another origin. */
MUST_CHECK bool guard_page(const struct conf *c, const struct guard_request *rq, struct fault *f);

/* client.allow, and CREDENTIALS (the value of Authorization or Proxy-Authorization) where auth_file
 * is set. Not OK: BAD with F, FAULT_DENIED or FAULT_UNAUTHORIZED; or SLOW: they must be hashed
 * first, see auth_start(). */
enum policy_auth guard_client(const struct conf *c, const struct addr *peer, struct str credentials,
                              struct fault *f);

#endif
