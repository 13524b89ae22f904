/* SPDX-License-Identifier: Apache-2.0 */
/* The service listener: health, metrics, status, the live page and the batch call, served by
 * libevhtp on a worker of its own. */
#ifndef TLSFAN_SERVICE_SERVICE_H
#define TLSFAN_SERVICE_SERVICE_H

#include "exchange/exchange.h"
#include "service/service_view.h"

struct service;

/* Serves on the loop of E, with nothing to listen on yet. V: what it tells of; conf, draining and
 * connections are filled in at each request, the last from CONNECTIONS. All borrowed, outlive it.
 */
struct service *service_new(struct engine *e, const struct service_view *v,
                            const _Atomic unsigned *connections);

/* Listens on FD, which it owns from now on, in place of what was before; -1: on nothing. False
 * with errno. */
MUST_CHECK bool service_listen(struct service *s, int fd);

/* The first proxy listener is at ADDR; len 0: there is none. */
void service_set_proxy(struct service *s, const struct addr *addr);

/* From now on there are no new batch calls; all else goes on, health checks above all. */
void service_drain(struct service *s);

/* Connections whose request has begun and is not answered to the end. */
unsigned service_busy(const struct service *s);

/* Cuts all connections. The memory goes by the reaper of the loop. NULL is harmless. */
void service_close(struct service *s);

#endif
