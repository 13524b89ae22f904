/* SPDX-License-Identifier: Apache-2.0 */
/* The whole proxy, seen from the main thread: start, signals, reload, drain, stop. */
#ifndef TLSFAN_SERVER_H
#define TLSFAN_SERVER_H

#include "conf/conf_load.h"
#include "options.h"
#include "signals.h"

struct server;

/* Configuration and certificates. NULL and faults. Any use: -t, start, reload. */
struct conf *server_load(const struct conf_source *source, struct conf_faults *faults);

/* Starts serving. SOURCE must outlive it, for reloads. NULL with the exit status when it cannot;
 * why is told on stderr. */
struct server *server_start(const struct conf_source *source, enum exit_status *status);

/* Handles signals until TERM or INT has drained it, or server_quit(). With ON_SIGNAL all signals go
 * there instead. */
typedef void (*server_signal_fn)(void *arg, const struct signalfd_siginfo *info);
void server_run(struct server *s, server_signal_fn on_signal, void *arg);

/* Makes server_run() return. Main thread, within ON_SIGNAL. */
void server_quit(struct server *s);

/* The port of the first proxy listener. */
uint16_t server_port(const struct server *s);

/* The newest snapshot, borrowed until the next reload. */
const struct conf *server_conf(const struct server *s);

/* Cuts what is open, ends all threads and frees everything. */
void server_stop(struct server *s);

#endif
