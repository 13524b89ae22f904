/* SPDX-License-Identifier: Apache-2.0 */
/* --check-health: asks a running tlsfan whether it is well, for containers and scripts. */
#ifndef TLSFAN_HEALTH_H
#define TLSFAN_HEALTH_H

#include "options.h"

/* Asks GET /healthz of ADDRESS ("ADDR:PORT"), or where that is NULL of the service listener that
 * SOURCE configures; one that listens on all addresses is asked on loopback. Gives STATUS_OK, or
 * STATUS_BAD_CONF with a sentence on stderr when it is not well, does not answer within 5 s, or
 * there is none. */
enum exit_status health_check(const struct conf_source *source, const char *address);

#endif
