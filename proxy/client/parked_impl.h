/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that have nothing under way are many, and cost memory as long as they are there. Those of
 * a worker that have had nothing for longest are parked: of such a client no more is kept than its
 * next byte needs to make it whole again, a quarter of it. For the files of this folder alone. */
#ifndef TLSFAN_CLIENT_PARKED_IMPL_H
#define TLSFAN_CLIENT_PARKED_IMPL_H

#include <stdint.h>

struct client;
struct clients;
struct forward;
struct source_side;

/* So many of a worker are whole though they have nothing under way. Who was parked behind a request
 * and asks again is whole for so many µs more, as it may do so again and again: being parked and
 * woken costs 2,100 instructions. Whoever else is parked at once, so that what it took is there for
 * the next that comes. Builds that check park almost everybody, so that all tests do. */
#ifdef NDEBUG
enum { CLIENTS_RESTING = 256, CLIENTS_RESTING_US = 1000000 };
#else
enum { CLIENTS_RESTING = 1, CLIENTS_RESTING_US = 0 };
#endif

/* WHO comes by a listener that speaks for F and is bound to SELF: known of it whoever it is. */
void parked_speak_for(struct source_side *who, const struct forward *f, const char *self);

void parked_init(struct clients *cs);

/* C has nothing under way, and its idle timer runs; or that is over. Idempotent. Who speaks TLS or
 * has been turned here does not rest: it could not be parked. */
void parked_rest(struct client *c);
void parked_stir(struct client *c);
/* Parks those who have rested for longest, but CS->resting_most and, unless memory is short, those
 * who asked again within CS->resting_us. With no callback of theirs on the stack: at the end of a
 * turn that finds more. */
void parked_take(struct clients *cs);
/* A drain: those who are parked go in GRACE_MS and a millisecond for each PER_MS before them and N
 * that were counted already. */
void parked_drain(struct clients *cs, int64_t grace_ms, int64_t n, int64_t per_ms);
/* Closes all at once. */
void parked_close_all(struct clients *cs);

/* ---- what it needs of client.c */

/* The end of C, which has no stream and no requests any more. */
void client_end(struct client *c);

#endif
