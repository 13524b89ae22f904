/* SPDX-License-Identifier: Apache-2.0 */
/* One worker in a world of fakes: what scripts and schedules share. */
#ifndef TLSFAN_TESTS_WORLD_H
#define TLSFAN_TESTS_WORLD_H

#include "fake.h"
#include "worker.h"

enum { WORLD_FDS = 3 }; /* descriptors at rest: the listener, and two loops */

struct world {
    struct loop server; /* the main thread's */
    struct worker *worker;
    struct worker_env env;
    struct conf *conf; /* a reference */
    struct forward_id id;
    struct budget budget;
    struct stats *stats;
    _Atomic unsigned connections;
    struct fake_sock *listener;
    bool is_drained;
};

/* A snapshot of OPTIONS, "KEY=VALUE": on top of what all have. With TLS, contexts are made, which
 * takes a while. NULL with a sentence in *WHY (heap). */
struct conf *world_conf(const char *const *options, unsigned n, bool tls, char **why);

/* Makes the worker; world_run() runs it, calling IDLE when it has nothing to do, until that has
 * called worker_stop(). Takes over C. */
void world_open(struct world *w, struct conf *c, void (*idle)(void));
void world_run(struct world *w);
/* Takes over C. */
void world_reload(struct world *w, struct conf *c);
/* What the main thread would do meanwhile. To be called by IDLE. */
void world_serve(struct world *w);
/* Time goes on to the next timer, LIMIT (a time) at most. False where that has come. */
bool world_pass(struct world *w, int64_t limit);
/* Frees the worker. Gives what was left behind, as a sentence, or NULL. */
const char *world_close(struct world *w);

/* One HTTP message at the beginning of TEXT. */
struct message {
    struct str head;  /* with its empty line */
    struct str start; /* its first line */
    struct str body;  /* as sent */
    size_t len;       /* of all */
    int status;       /* of an answer */
    bool is_chunked, has_length;
    bool is_whole; /* else more must come; `head` is set once the head is whole */
};

/* IS_BARE: an answer that has no body whatever it says. A message without length that is an answer
 * goes on until the end: IS_END says whether that has come. */
struct message message_read(struct str text, bool is_bare, bool is_end);
/* The value of a field in HEAD, "" where it has none. */
struct str message_field(struct str head, const char *name);
/* The bytes of a chunked body, in TO, which has room for body.len. */
size_t message_unchunk(struct str body, char *to);

#endif
