/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a schedule share. */
#ifndef TLSFAN_TESTS_SCHEDULE_IMPL_H
#define TLSFAN_TESTS_SCHEDULE_IMPL_H

#include "schedule.h"
#include "world.h"

enum {
    CLIENTS = 4,
    ASKS = 8,       /* of one client */
    REQUESTS = 40,  /* in all */
    AHEAD_MAX = 64, /* numbers behind them that read-ahead may come to */
    DIALS = 128,
    BODY_MAX = 60000, /* bytes */
    TUNNEL_PORT = 8443,
    PARENT_PORT = 3128,
    MOST_TRIES = 12 /* of a request that is safe */
};

enum how { M_GET, M_HEAD, M_PUT, M_POST, METHODS };

/* One request, whose number stands in its path, its body, and in its answers. */
struct req {
    enum how method;
    unsigned client; /* whose */
    size_t body;     /* bytes */
    unsigned seen;   /* by origins */
    size_t answer;   /* bytes of the body of the last answer that was begun */
    bool is_ahead;   /* an origin was asked ahead of the client */
    bool is_any;     /* its end is that of the connection, which has come early */
    bool was_sent;   /* all of it, by the client */
};

struct side {
    struct fake_sock *sock;
    unsigned asked[ASKS], n;
    char *unsent; /* heap, behind `sent` */
    size_t sent, len;
    bool is_over; /* it has ended, or reset */
};

/* An origin's side of a connection. */
struct conn {
    unsigned id; /* of the request that it has */
    bool has_head, is_whole, is_answered;
    bool is_ahead; /* nobody had asked for it yet, or so it says */
    bool is_used, is_over;
    bool is_asked; /* a parent, for a tunnel */
    char *unsent;  /* heap: the rest of an answer, behind `sent` */
    size_t sent, len;
    bool closes, until_end; /* behind it; and its end is the answer's */
};

/* A client that has asked for a tunnel, and its origin; NULL before. */
struct tunnel {
    struct fake_sock *client, *origin;
    size_t up, down; /* bytes sent to the origin, and from it */
    int64_t last;    /* when either was sent */
    bool up_over, down_over, is_reset;
};

struct schedule {
    const uint8_t *p;
    size_t n, at;
    struct world world;
    struct side sides[CLIENTS];
    struct req reqs[REQUESTS + AHEAD_MAX];
    unsigned n_reqs;
    struct conn conns[DIALS + 1];
    struct tunnel tunnel;
    bool is_polite; /* origins ask to be left alone */
    bool walks;     /* a rule has read-ahead */
    bool is_turned; /* all clients were on their way elsewhere */
    bool is_draining, has_ended, is_settled;
    int64_t until;
    unsigned probed, dials; /* steps of schedule_probe(); dials before it */
    struct fake_sock *prober;
    const char *fault;
};

/* The body of request ID, and of all answers to it: as much of it as was chosen. */
const char *schedule_body(unsigned id);

/* A client connects; where connections are turned here, it was going to TO, "ADDR:PORT". */
struct fake_sock *schedule_connect(const char *to);
/* A choice among N. */
unsigned schedule_pick(unsigned n);
/* What is done, for schedule_print(). */
void schedule_say(const char *fmt, ...) PRINTF_LIKE(1, 2);

void schedule_play_tunnel(struct schedule *s);
/* True where SOCK leads to a parent that has been asked for the tunnel; it has answered, too. */
bool schedule_look_at_parent(struct schedule *s, struct fake_sock *sock);
/* Both sides take what there is. */
void schedule_settle_tunnel(struct schedule *s);
/* NULL when all holds of it. */
const char *schedule_judge_tunnel(const struct schedule *s);

/* Looks at what origins have got. */
void schedule_look(struct schedule *s);
/* Looks at all, when nothing more can come. */
void schedule_judge(struct schedule *s);
/* Afterwards somebody new asks, a step a call. True when that is over. */
bool schedule_probe(struct schedule *s);

#endif
