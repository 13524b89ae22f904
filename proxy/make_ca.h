/* SPDX-License-Identifier: Apache-2.0 */
/* tlsfan --make-ca DIR [NAME...] */
#ifndef TLSFAN_MAKE_CA_H
#define TLSFAN_MAKE_CA_H

#include "options.h"

/* Writes a new CA to DIR, which is made where it is not there: ca.pem, and ca.key for the owner
 * alone; says on stdout how clients come to trust it. NAMES, NULL at their end: the hosts and
 * addresses it may sign for; none = any. What is there already is never overwritten. An exit
 * status; a fault is told on stderr. */
MUST_CHECK enum exit_status make_ca(const char *dir, char *const *names);

#endif
