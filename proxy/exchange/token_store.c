/* SPDX-License-Identifier: Apache-2.0 */
/* The store of access tokens: see token_store.h. The lock guards all of it and is held for short
 * walks only; there are as many places as the configuration has sections. A wait whose result has
 * been sent to its loop is in no list any more, and is freed there. */
#include "exchange/token_store.h"

#include <pthread.h>
#include <stdlib.h>

#include "conf/conf.h"

enum {
    DELAY_FIRST = 1000,    /* ms after a failure */
    DELAY_MOST = 60000,    /* ms */
    HOLD_FIRST = 1000,     /* ms that a token must be old, after one has been refused */
    LIFETIME_MIN = 1000,   /* ms: of what says that it ends at once */
    TRUSTED_AFTER = 600000 /* ms: a token that lasted this long was none that is always refused */
};

struct token_place {
    struct list link;  /* in store.places */
    struct conf *conf; /* a reference, for: */
    const struct oauth_conf *oauth;
    char *token; /* heap; NULL: none */
    size_t len;
    uint64_t number;
    int64_t since, renew_at, ends; /* µs */
    bool is_refused; /* by an origin, which may have meant the request: it serves others on */
    int64_t hold;    /* µs: see HOLD_FIRST; 0: none was refused lately */
    bool is_fetching;
    bool is_gone;       /* of an older configuration: freed with its fetch */
    int64_t not_before; /* µs: of the next try; 0: the last one has not failed */
    int64_t delay;      /* ms: that was waited before it */
    struct fault fault; /* of that try */
    struct list waits;
};

struct token_wait {
    struct list link; /* in place->waits */
    bool is_sent;     /* it is in none any more */
    struct loop *loop;
    token_fn fn; /* NULL: cancelled; only touched on the loop */
    void *arg;
    char *token; /* heap: of what was got */
    struct token_got got;
};

static struct {
    pthread_mutex_t lock;
    struct list places;
    unsigned threads;
    unsigned generation; /* the newest that was told of */
    uint64_t last_number;
} store = {.lock = PTHREAD_MUTEX_INITIALIZER, .places = {&store.places, &store.places}};

static struct token_place *token_place_at(struct list *link)
{
    return container_of(link, struct token_place, link);
}

/* ---- bytes that are cleared when they go */

static char *token_copy(const char *p, size_t n)
{
    return p == NULL ? NULL : xstrndup(p, n);
}

static void token_wipe(char *p, size_t n)
{
    if (p != NULL)
        explicit_bzero(p, n);
    free(p);
}

/* ---- places, under the lock */

static struct token_place *token_place_find(const struct oauth_conf *o)
{
    list_foreach (it, &store.places) {
        if (token_place_at(it)->oauth == o || oauth_is_same(token_place_at(it)->oauth, o))
            return token_place_at(it);
    }
    return NULL;
}

static struct token_place *token_place_get(const struct token_ask *ask)
{
    struct token_place *p = token_place_find(ask->oauth);
    if (p != NULL)
        return p;
    p = xcalloc(1, sizeof(*p));
    p->conf = conf_ref(ask->conf);
    p->oauth = ask->oauth;
    p->is_gone = ask->conf->generation < store.generation;
    list_init(&p->waits);
    list_init(&p->link);
    list_push_back(&store.places, &p->link);
    return p;
}

static void token_place_forget(struct token_place *p)
{
    token_wipe(p->token, p->len);
    p->token = NULL;
    p->len = 0;
}

static void token_place_free(struct token_place *p)
{
    list_remove(&p->link);
    token_place_forget(p);
    conf_unref(&p->conf);
    free(p);
}

static bool token_place_has(const struct token_place *p, int64_t now)
{
    return p->token != NULL && now < p->ends;
}

/* A new one is worth a try. */
static bool token_place_may_fetch(const struct token_place *p, int64_t now)
{
    return !p->is_fetching && now >= p->not_before &&
           (!token_place_has(p, now) || p->is_refused || now >= p->renew_at);
}

/* ---- who waits */

/* On the loop. */
static void token_tell(void *arg)
{
    struct token_wait *w = arg;
    if (w->fn != NULL)
        w->fn(w->arg, &w->got);
    token_wipe(w->token, w->got.token.len);
    free(w);
}

static struct token_wait *wait_new(struct token_place *p, const struct token_ask *ask)
{
    struct token_wait *w = xcalloc(1, sizeof(*w));
    w->loop = ask->loop;
    w->fn = ask->fn;
    w->arg = ask->arg;
    list_init(&w->link);
    list_push_back(&p->waits, &w->link);
    return w;
}

/* Under the lock. */
static void token_place_wake(struct token_place *p, bool is_good)
{
    struct list *it;
    while ((it = list_pop(&p->waits)) != NULL) {
        struct token_wait *w = container_of(it, struct token_wait, link);
        w->is_sent = true;
        w->token = is_good ? token_copy(p->token, p->len) : NULL;
        w->got = (struct token_got){str_make(w->token, is_good ? p->len : 0), p->number, p->fault};
        loop_send(w->loop, token_tell, w);
    }
}

struct token_wait *token_store_get(const struct token_ask *ask, struct token_got *got,
                                   struct token_job *job)
{
    struct token_wait *w = NULL;
    *job = (struct token_job){.place = NULL};
    pthread_mutex_lock(&store.lock);
    int64_t now = loop_now();
    struct token_place *p = token_place_get(ask);
    bool may_fetch = token_place_may_fetch(p, now);
    /* Who was refused may have gone without asking: the first who asks then has a good one. */
    bool is_refused = p->number == ask->refused || (may_fetch && p->is_refused);
    if (may_fetch) {
        p->is_fetching = true;
        *job = (struct token_job){p, conf_ref(p->conf), p->oauth};
    }
    if (token_place_has(p, now) && !is_refused)
        *got = (struct token_got){.token = arena_dup(ask->arena, str_make(p->token, p->len)),
                                  .number = p->number};
    else if (p->is_fetching)
        w = wait_new(p, ask);
    else
        *got = (struct token_got){.fault = p->fault};
    pthread_mutex_unlock(&store.lock);
    return w;
}

void token_store_cancel(struct token_wait *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&store.lock);
    bool is_sent = w->is_sent;
    w->fn = NULL;
    list_remove(&w->link);
    pthread_mutex_unlock(&store.lock);
    if (!is_sent)
        free(w);
}

/* ---- fetching */

static void token_place_succeeds(struct token_place *p, struct str token, int64_t lifetime)
{
    int64_t now = loop_now();
    lifetime = lifetime < LIFETIME_MIN ? LIFETIME_MIN : lifetime;
    token_place_forget(p);
    p->token = token_copy(token.p, token.len);
    p->len = token.len;
    p->number = ++store.last_number;
    p->since = now;
    p->renew_at = now + lifetime * 800;
    p->ends = now + lifetime * 1000;
    p->is_refused = false;
    p->not_before = 0;
    p->delay = 0;
}

static void token_place_fails(struct token_place *p, const struct fault *f)
{
    p->delay = p->delay == 0 ? DELAY_FIRST : 2 * p->delay;
    if (p->delay > DELAY_MOST)
        p->delay = DELAY_MOST;
    p->not_before = loop_now() + p->delay * 1000;
    p->fault = *f;
    p->is_refused = false;
}

void token_store_put(struct token_place *p, struct str token, int64_t lifetime,
                     const struct fault *f)
{
    pthread_mutex_lock(&store.lock);
    if (token.p != NULL)
        token_place_succeeds(p, token, lifetime);
    else
        token_place_fails(p, f);
    p->is_fetching = false;
    token_place_wake(p, token.p != NULL);
    if (p->is_gone)
        token_place_free(p);
    pthread_mutex_unlock(&store.lock);
}

/* Under the lock. A token that is refused as soon as it is there would be fetched by each request:
 * the next one must be older before it is worth another. */
static bool token_place_refuse(struct token_place *p)
{
    int64_t now = loop_now();
    int64_t age = now - p->since;
    if (age < p->hold || now < p->not_before)
        return false;
    if (p->hold == 0 || age >= TRUSTED_AFTER * 1000LL)
        p->hold = HOLD_FIRST * 1000;
    else if (p->hold < DELAY_MOST * 1000LL)
        p->hold *= 2;
    p->is_refused = true;
    return true;
}

bool token_store_refused(const struct oauth_conf *oauth, uint64_t number)
{
    pthread_mutex_lock(&store.lock);
    struct token_place *p = token_place_find(oauth);
    bool is_worth = p == NULL || p->number != number || p->is_refused || token_place_refuse(p);
    pthread_mutex_unlock(&store.lock);
    return is_worth;
}

/* ---- life */

/* Under the lock. P is of C from now on, where C has such a section. */
static void token_place_move(struct token_place *p, struct conf *c)
{
    const struct oauth_conf *o = oauth_find(c, p->oauth->name);
    p->is_gone = o == NULL || !oauth_is_same(o, p->oauth);
    if (p->is_gone) {
        if (!p->is_fetching)
            token_place_free(p);
        return;
    }
    struct conf *old = p->conf;
    p->conf = conf_ref(c);
    p->oauth = o;
    conf_unref(&old);
}

void token_store_use(struct conf *c)
{
    pthread_mutex_lock(&store.lock);
    bool is_new = c->generation > store.generation;
    if (is_new)
        store.generation = c->generation;
    for (struct list *it = store.places.next, *next; is_new && it != &store.places; it = next) {
        next = it->next;
        token_place_move(token_place_at(it), c);
    }
    pthread_mutex_unlock(&store.lock);
}

void token_store_join(void)
{
    pthread_mutex_lock(&store.lock);
    store.threads++;
    pthread_mutex_unlock(&store.lock);
}

void token_store_leave(void)
{
    pthread_mutex_lock(&store.lock);
    struct list *it;
    if (--store.threads == 0) {
        while ((it = list_first(&store.places)) != NULL)
            token_place_free(token_place_at(it));
        store.generation = 0;
    }
    pthread_mutex_unlock(&store.lock);
}
