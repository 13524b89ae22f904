/* SPDX-License-Identifier: Apache-2.0 */
/* `tlsfan run -- COMMAND`: a proxy for one command, up before it begins and gone when it has ended.
 */
#ifndef TLSFAN_RUN_H
#define TLSFAN_RUN_H

#include "options.h"

/* Starts the proxy and COMMAND with http_proxy and HTTP_PROXY set to it, passes signals on, and
 * waits. Gives COMMAND's exit status, 128 and more when a signal ended it, or one of
 * STATUS_RUN_FAILED and its neighbours. */
int run_command(const struct options *o);

#endif
