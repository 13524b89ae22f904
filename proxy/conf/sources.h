/* SPDX-License-Identifier: Apache-2.0 */
/* The two sources of settings that need no parser: environment and options. */
#ifndef TLSFAN_CONF_SOURCES_H
#define TLSFAN_CONF_SOURCES_H

#include "conf/settings.h"

/* Adds what environ-like ENVIRONMENT says; unknown TLSFAN_ variables are logged. With IS_RUN,
 * listeners are passed over. */
void sources_add_environment(struct settings *s, char **environment, bool is_run,
                             struct conf_faults *faults);

/* Adds "KEY=VALUE", "rule[PATTERN].KEY=VALUE", "forward[LISTENER].KEY=VALUE" or
 * "forward=LISTENER=URL". FLAG, "-l", is what faults name; NULL: -f for the last, else
 * -o. */
void sources_add_option(struct settings *s, const char *option, const char *flag,
                        struct conf_faults *faults);

#endif
