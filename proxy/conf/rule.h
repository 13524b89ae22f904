/* SPDX-License-Identifier: Apache-2.0 */
/* Which rule holds, and where what it says was written. */
#ifndef TLSFAN_CONF_RULE_H
#define TLSFAN_CONF_RULE_H

#include "conf/conf.h"

/* The first rule, in the order written, whose pattern matches; rules[0] when none does. HOST is
 * lower case and has no dot at its end; PORT is the one that the request would reach without the
 * rule. Never NULL. */
const struct rule *rule_find(const struct conf *c, struct str host, uint16_t port);

/* The same for a HOST that was found as FULL, with a domain of the search list (empty: as it was
 * written): the first rule that matches either name. But whoever forges an answer of the DNS
 * chooses the domain, so that a rule for FULL must not weaken what holds for HOST as it was
 * written, unless that is one label which no rule is for. It does by upgrade or verify = off and,
 * where HOST is verified, by other settings of TLS and by adding fields to what is sent to it. */
const struct rule *rule_find_full(const struct conf *c, struct str host, struct str full,
                                  uint16_t port);
/* True when a rule of C may match a name below DOMAIN because of that DOMAIN. Looks at each rule.
 */
bool rule_knows_domain(const struct conf *c, struct str domain);

/* Where KEY of R ("ca_file") was written, else where tls.KEY was, which R takes it from; R->where
 * when nobody wrote it. With R = rules[0], KEY may be any text outside rules ("log.access"). Lives
 * as long as C. */
const char *rule_where(const struct conf *c, const struct rule *r, const char *key);

#endif
