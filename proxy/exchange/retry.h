/* SPDX-License-Identifier: Apache-2.0 */
/* Whether, where and when a request that was lost upstream is asked again: a table without state of
 * its own.
 *
 *     what is known of it             while                          asked again
 *     not begun, any method           the origin answers others, in  at once, from the fourth time
 *                                     all of upstream.queue_timeout  on later and later
 *     the same, wants HTTP/1.1        (the same)                     by HTTP/1.1
 *     lost, others answered, safe     upstream.retries is not 0,     on a newer connection; at once
 *                                     and ten times at most          at first, then later
 *     lost on a reused connection,    upstream.retries               on a newer connection
 *     idempotent
 *     429 or 503 with Retry-After,    upstream.queue_timeout from    when it says, in the queue:
 *     safe, rule says retry_after     the first one on is not over   exchange/polite.h
 *     421 on a shared connection      once                           on a connection of its own
 *     anything else, or its body is gone: never */
#ifndef TLSFAN_EXCHANGE_RETRY_H
#define TLSFAN_EXCHANGE_RETRY_H

#include "upstream/ustream.h"

/* Of one request; zero-initialised. */
struct retry {
    unsigned tries;      /* after the first one */
    unsigned lost;       /* of them: because it was lost, rather than not begun */
    unsigned fruitless;  /* tries in a row without the origin having answered anybody meanwhile */
    uint64_t answers;    /* of the origin, when the last try failed */
    int64_t since;       /* µs: when the first one failed; 0: none has */
    int64_t asked_since; /* µs: when the origin first asked to wait; 0: it has not */
};

enum retry_how {
    RETRY_NOT,
    RETRY_ANYWHERE,   /* on any connection, by HTTP/1 one that nobody has used */
    RETRY_NEWER,      /* on a connection that is made from now on */
    RETRY_LATER,      /* on any, after retry_delay(): one that was full may have room */
    RETRY_ALONE,      /* on one of its own */
    RETRY_WHEN_ASKED, /* on any, when the origin wants it */
    RETRY_BY_H1
};

/* What came, what was sent, and by which method. */
struct retry_case {
    enum up_loss loss;
    enum fault_code code;
    int64_t asked_ms;    /* the answer asks to wait so long; 0: there is none, or it does not */
    bool is_misdirected; /* 421 has come, and no other one before */
    bool is_safe, is_idempotent;
    bool is_replayable; /* all of its body is there */
    unsigned limit;     /* upstream.retries */
    int64_t patience;   /* ms: upstream.queue_timeout */
};

/* Notes a loss: the origin has begun ANSWERS answers so far. */
void retry_note(struct retry *r, uint64_t answers, int64_t now);
enum retry_how retry_choose(const struct retry *r, const struct retry_case *c, int64_t now);
/* µs: until when a request that is put off waits at most. */
int64_t retry_asked_until(const struct retry *r, const struct retry_case *c, int64_t now);
/* ms to wait before the next try. */
unsigned retry_delay(const struct retry *r);
/* One more try is made. */
void retry_count(struct retry *r, const struct retry_case *c, int64_t now);
/* TOLD is F with a word on why the request was not asked again, or may not be. */
void retry_explain(struct fault *told, const struct fault *f, const struct retry *r,
                   const struct retry_case *c);

#endif
