/* SPDX-License-Identifier: Apache-2.0 */
/* Read-ahead: see readahead.h. Requests are made by readahead_run(), which a post calls, so that
 * the demand that is the reason for them has asked the pool before. */
#include "own/readahead.h"

#include <stdlib.h>
#include <time.h>

#include "exchange/hold.h"
#include "own/ahead_key.h"
#include "own/next_page.h"
#include "own/walk.h"

enum {
    GROUPS_MAX = 256,    /* remembered at once */
    FETCHES_MAX = 1024,  /* under way or ready */
    QUIET_US = 60000000, /* after which a group is forgotten */
    LOOK_MS = 10000,     /* between two looks for such groups */
    WINDOW = 2,          /* of a walk that begins */
    ASKED = 64           /* demands that are remembered */
};

/* Owner: the worker. */
struct readahead {
    struct engine *engine;
    struct fetch *fetches; /* that nobody has taken, by key */
    unsigned n_fetches;
    struct list loose;         /* struct fetch of no walk */
    struct list fresh;         /* the same, not begun */
    struct walk *walks;        /* by id */
    struct list hungry;        /* struct walk whose windows are not full */
    struct walk_group *groups; /* by key */
    struct list by_age;        /* struct walk_group, last used first */
    unsigned n_groups;
    uint64_t last_id;
    struct {
        uint64_t hash; /* of the key */
        int64_t at;    /* µs */
    } asked[ASKED];    /* the last demands */
    unsigned n_asked;
    struct deadline look;
    struct post run;
    struct reap reap;
    bool is_closed;
};

/* ---- tables */

/* Nobody may take F any more. */
static void ahead_cut(struct readahead *r, struct fetch *f, struct walk *w)
{
    if (list_is_empty(&f->link))
        return;
    HASH_DELETE(hh, r->fetches, f);
    list_remove(&f->link);
    r->n_fetches--;
    if (w != NULL)
        w->n_fetches--;
}

static struct walk *ahead_walk(const struct readahead *r, uint64_t id)
{
    struct walk *w;
    HASH_FIND(hh, r->walks, &id, sizeof id, w);
    return w;
}

/* Ends W. What it has fetched up to PLACE may still be asked for. */
static void ahead_end(struct readahead *r, struct walk *w, uint64_t place)
{
    struct list *it;
    while ((it = list_first(&w->fetches)) != NULL) {
        struct fetch *f = container_of(it, struct fetch, link);
        if (f->at > place) {
            ahead_cut(r, f, w);
            fetch_close(f);
            continue;
        }
        f->walk = 0;
        f->is_tail = true;
        list_remove(&f->link);
        list_push_back(&r->loose, &f->link);
    }
    HASH_DELETE(hh, r->walks, w);
    walk_free(w);
}

static void ahead_forget(struct readahead *r, struct walk_group *g)
{
    struct list *it;
    while ((it = list_first(&g->walks)) != NULL)
        ahead_end(r, container_of(it, struct walk, link), 0);
    HASH_DELETE(hh, r->groups, g);
    r->n_groups--;
    list_remove(&g->link);
    engine_unuse(g->like.use);
    share_set(&g->share, 0);
    arena_clear(&g->arena);
    xfree(g);
}

static struct walk_group *ahead_oldest(const struct readahead *r)
{
    return container_of(r->by_age.prev, struct walk_group, link);
}

/* Who walks is remembered before those who do not, such as all whose requests have an id. */
static struct walk_group *ahead_least(const struct readahead *r)
{
    for (struct list *it = r->by_age.prev; it != &r->by_age; it = it->prev) {
        struct walk_group *g = container_of(it, struct walk_group, link);
        if (g->n_walks == 0)
            return g;
    }
    return ahead_oldest(r);
}

static void ahead_on_look(void *arg)
{
    struct readahead *r = arg;
    while (r->n_groups > 0 && loop_now() - ahead_oldest(r)->used > QUIET_US)
        ahead_forget(r, ahead_oldest(r));
    if (r->n_groups > 0)
        deadline_set(&r->look, LOOK_MS);
}

static struct walk_group *group_new(struct readahead *r, const struct fetch_like *like,
                                    struct str key, size_t shape_len)
{
    struct walk_group *g = xcalloc(1, sizeof *g);
    arena_init(&g->arena, NULL, 0);
    g->id = ++r->last_id;
    g->key = arena_dup(&g->arena, key);
    g->shape_len = shape_len;
    g->like = *like;
    g->like.use->users++;
    g->like.where.host = arena_dup(&g->arena, like->where.host);
    g->like.rq.host = arena_dup(&g->arena, like->rq.host);
    fields_copy(&g->arena, &g->fields, like->rq.fields);
    g->like.rq.fields = &g->fields;
    g->share.budget = r->engine->budget;
    list_init(&g->walks);
    list_init(&g->link);
    HASH_ADD_KEYPTR(hh, r->groups, g->key.p, g->key.len, g);
    r->n_groups++;
    walk_count(g);
    return g;
}

/* That of X, made where there is none; NULL: its target is no part of a walk. */
static struct walk_group *group_get(struct readahead *r, struct exchange *x,
                                    const struct fetch_like *like, struct sequence *numbers)
{
    char shape[WALK_TARGET];
    struct walk_group *g = NULL;
    struct str target = x->rq.target;
    if (target.len > WALK_TARGET || !sequence_read(numbers, target))
        return NULL;
    size_t n = sequence_shape(numbers, target, shape);
    struct str key = ahead_key(x, like, str_make(shape, n));
    if (key.len > 0)
        HASH_FIND(hh, r->groups, key.p, key.len, g);
    if (key.len == 0 || (g == NULL && budget_is_tight(r->engine->budget)))
        return NULL;
    if (g == NULL && r->n_groups == GROUPS_MAX)
        ahead_forget(r, ahead_least(r));
    if (g == NULL)
        g = group_new(r, like, key, n);
    list_remove(&g->link);
    list_push_front(&r->by_age, &g->link);
    g->used = loop_now();
    if (!deadline_is_set(&r->look))
        deadline_set(&r->look, LOOK_MS);
    return g;
}

static struct walk_group *group_of(const struct readahead *r, const struct exchange *x)
{
    list_foreach (it, &r->by_age) {
        struct walk_group *g = container_of(it, struct walk_group, link);
        if (g->id == x->walk)
            return g;
    }
    return NULL;
}

/* ---- what is fetched */

/* What the owner of a fetch is told. */
static void ahead_tell(void *arg, struct fetch *f, enum fetch_news news)
{
    struct readahead *r = arg;
    struct walk *w = ahead_walk(r, f->walk);
    if (news != FETCH_IS_LAST && news != FETCH_IS_FREE)
        ahead_cut(r, f, w);
    if (w != NULL && (news == FETCH_IS_LAST || news == FETCH_IS_BAD))
        ahead_end(r, w, f->at);
    else if (w != NULL && news == FETCH_IS_LOST)
        w->window = w->most < WINDOW ? w->most : WINDOW;
    else if (w != NULL && news == FETCH_IS_OLD && !walk_slows(w, f->asked))
        ahead_end(r, w, w->front);
    loop_post(r->engine->loop, &r->run);
}

/* A request for TARGET, in LIST and not begun. NULL: not now. */
static struct fetch *ahead_make(struct readahead *r, const struct fetch_like *like,
                                struct str target, struct str key, struct list *list)
{
    if (r->engine->draining || r->is_closed || r->n_fetches >= FETCHES_MAX || key.len == 0)
        return NULL;
    struct fetch *f = fetch_new(r->engine, like, target, key);
    if (f == NULL)
        return NULL;
    f->tell = ahead_tell;
    f->arg = r;
    list_push_back(list, &f->link);
    HASH_ADD_KEYPTR(hh, r->fetches, f->key.p, f->key.len, f);
    r->n_fetches++;
    return f;
}

/* The next page of W. False: it has to wait, or there is none. */
static bool ahead_step(struct readahead *r, struct walk *w)
{
    char text[WALK_TARGET + 64];
    char key[AHEAD_KEY_MAX + WALK_TARGET + 64];
    const struct walk_group *g = w->group;
    struct str target = str_make(text, walk_target(w, w->front + 1, text));
    if (target.len == 0)
        return false;
    size_t n = ahead_key_with(key, g->key, g->shape_len, target);
    struct fetch *f = ahead_make(r, &g->like, target, str_make(key, n), &w->fetches);
    if (f == NULL)
        return false;
    f->walk = w->id;
    f->at = w->front + 1;
    f->asked = w->at;
    w->n_fetches++;
    if (!fetch_start(f)) {
        ahead_cut(r, f, w);
        fetch_close(f);
        return false;
    }
    return true;
}

static void ahead_fill(struct readahead *r, uint64_t id)
{
    struct walk *w;
    while ((w = ahead_walk(r, id)) != NULL && walk_is_hungry(w) && ahead_step(r, w)) {
        if ((w = ahead_walk(r, id)) != NULL)
            w->front++;
    }
    if (w != NULL && walk_is_hungry(w))
        list_push_back(&r->hungry, &w->hungry);
}

static void ahead_run(void *arg)
{
    struct readahead *r = arg;
    struct list now;
    struct list *it;
    while ((it = list_pop(&r->fresh)) != NULL) {
        struct fetch *f = container_of(it, struct fetch, link);
        list_push_back(&r->loose, &f->link);
        if (fetch_start(f))
            continue;
        ahead_cut(r, f, NULL);
        fetch_close(f);
    }
    list_init(&now);
    list_move(&now, &r->hungry);
    while ((it = list_pop(&now)) != NULL)
        ahead_fill(r, container_of(it, struct walk, hungry)->id);
}

/* ---- what is asked for */

static struct walk *ahead_begin(struct readahead *r, struct walk_group *g, struct str target,
                                const struct sequence *numbers, const struct sequence_step *step)
{
    if (g->n_walks == WALKS_OF_GROUP)
        ahead_end(r, container_of(g->walks.prev, struct walk, link), 0);
    struct walk *w = walk_new(g, target, numbers, step);
    w->id = ++r->last_id;
    w->window = WINDOW;
    w->most = g->like.where.rule->readahead;
    HASH_ADD(hh, r->walks, id, sizeof w->id, w);
    walk_count(g);
    return w;
}

/* X asks for a page that no walk would come to: that of its connection has ended, if it is not the
 * last page once more. */
static void ahead_miss(struct readahead *r, struct walk_group *g, const struct exchange *x)
{
    char text[WALK_TARGET + 64];
    struct walk *w = walk_of(g, x->from->id);
    if (w != NULL && !str_eq(x->rq.target, str_make(text, walk_target(w, w->at, text))))
        ahead_end(r, w, 0);
}

/* Notes the demand X, for which F (NULL: nothing) was fetched: the walk that it belongs to. */
static void ahead_note(struct readahead *r, struct exchange *x, const struct fetch_like *like,
                       const struct fetch *f)
{
    struct sequence numbers;
    struct sequence_step step;
    struct walk_group *g = group_get(r, x, like, &numbers);
    if (g == NULL)
        return;
    x->walk = g->id;
    if (f != NULL && f->is_tail)
        return;
    struct walk *w = f != NULL ? ahead_walk(r, f->walk) : NULL;
    uint64_t place = w != NULL ? f->at : 0;
    if (w == NULL && (w = walk_find(g, x->rq.target)) != NULL)
        place = w->at + 1;
    if (w == NULL && walk_note(g, &numbers, &step) &&
        !sequence_is_clock(&numbers, &step, (uint64_t)time(NULL)))
        w = ahead_begin(r, g, x->rq.target, &numbers, &step);
    if (w == NULL) {
        ahead_miss(r, g, x);
        return;
    }
    w->client = x->from->id;
    walk_goes(w, place, f != NULL, like->where.rule->readahead);
    list_remove(&w->link);
    list_push_front(&g->walks, &w->link);
    list_remove(&w->hungry);
    list_push_back(&r->hungry, &w->hungry);
    loop_post(r->engine->loop, &r->run);
}

/* What was fetched for the one who has KEY; NULL: nothing. */
static struct fetch *ahead_find(struct readahead *r, struct str key)
{
    struct fetch *f;
    HASH_FIND(hh, r->fetches, key.p, key.len, f);
    if (f == NULL || f->state != FETCH_NEW || f->wait.origin != NULL)
        return f;
    ahead_cut(r, f, ahead_walk(r, f->walk));
    fetch_close(f);
    return NULL;
}

/* X may change what its client would get: what was fetched for that from this origin is of before
 * (RFC 9111 §4.4 is the like for caches). */
static void ahead_invalidate(struct readahead *r, struct exchange *x)
{
    struct fetch_like like = ahead_like(x);
    struct str begin = ahead_key_begin(x, &like);
    struct fetch *f;
    struct fetch *tmp;
    for (struct list *it = r->by_age.next; it != &r->by_age;) {
        struct walk_group *g = container_of(it, struct walk_group, link);
        it = it->next;
        if (begin.len > 0 && str_starts(g->key, begin))
            ahead_forget(r, g);
    }
    HASH_ITER (hh, r->fetches, f, tmp) {
        if (begin.len == 0 || !str_starts(f->key, begin))
            continue;
        ahead_cut(r, f, ahead_walk(r, f->walk));
        fetch_close(f);
    }
}

static struct ustream *ahead_start(struct exchange *x)
{
    struct readahead *r = x->engine->ahead;
    if (!x->head.method.is_safe && !r->is_closed) {
        ahead_invalidate(r, x);
        x->looks_ahead = true; /* and once more when it has been done */
    }
    if (x->looks_ahead || r->is_closed || !ahead_may(x))
        return performer_pool.start(x);
    struct fetch_like like = ahead_like(x);
    struct str key = ahead_key(x, &like, x->rq.target);
    if (key.len == 0)
        return performer_pool.start(x);
    x->looks_ahead = true;
    r->asked[r->n_asked % ASKED].hash = hash_bytes(key.p, key.len);
    r->asked[r->n_asked++ % ASKED].at = loop_now();
    struct fetch *f = ahead_find(r, key);
    if (f != NULL)
        ahead_cut(r, f, ahead_walk(r, f->walk));
    ahead_note(r, x, &like, f);
    if (f == NULL)
        return performer_pool.start(x);
    x->is_ahead = true;
    return fetch_take(f, x);
}

/* ---- what is answered */

/* KEY was asked for after X was. */
static bool ahead_was_asked(const struct readahead *r, struct str key, const struct exchange *x)
{
    uint64_t hash = hash_bytes(key.p, key.len);
    for (unsigned i = 0; i < ASKED; i++) {
        if (r->asked[i].hash == hash && r->asked[i].at >= x->t.begin)
            return true;
    }
    return false;
}

static void ahead_link(struct readahead *r, struct exchange *x, const struct h1_head *head,
                       const struct walk_group *g)
{
    struct fetch_like like;
    struct str target;
    struct fetch *f;
    if (!next_page(x, head, &like, &target) || (g != NULL && walk_find(g, target) != NULL))
        return;
    struct str key = ahead_key(x, &like, target);
    HASH_FIND(hh, r->fetches, key.p, key.len, f);
    if (f == NULL && !ahead_was_asked(r, key, x) &&
        ahead_make(r, &like, target, key, &r->fresh) != NULL)
        loop_post(r->engine->loop, &r->run);
}

static void ahead_on_head(struct exchange *x, const struct h1_head *head)
{
    struct readahead *r = x->engine->ahead;
    if (!x->looks_ahead || r->is_closed)
        return;
    if (!list_is_empty(&r->hungry))
        loop_post(r->engine->loop, &r->run); /* the slot of X is free soon */
    if (!x->head.method.is_safe) {
        ahead_invalidate(r, x);
        return;
    }
    struct walk_group *g = group_of(r, x);
    if (!fetch_is_good(head) || fields_has(&head->fields, FIELD_SET_COOKIE)) {
        struct walk *w = g != NULL ? walk_of(g, x->from->id) : NULL;
        if (g != NULL)
            g->n_seen = 0;
        if (w != NULL)
            ahead_end(r, w, 0);
        return;
    }
    ahead_link(r, x, head, g);
}

static void ahead_cancel(struct exchange *x)
{
    performer_pool.cancel(x);
}

static uint64_t ahead_answers(const struct exchange *x)
{
    return performer_pool.answers(x);
}

const struct performer performer_readahead = {
    .start = ahead_start,
    .cancel = ahead_cancel,
    .answers = ahead_answers,
    .on_head = ahead_on_head,
};

/* ---- life */

struct readahead *readahead_new(struct engine *e)
{
    struct readahead *r = xcalloc(1, sizeof *r);
    r->engine = e;
    list_init(&r->loose);
    list_init(&r->fresh);
    list_init(&r->hungry);
    list_init(&r->by_age);
    post_init(&r->run, ahead_run, r);
    deadline_init(&r->look, e->loop, ahead_on_look, r);
    return r;
}

void readahead_drop(struct readahead *r)
{
    struct fetch *f;
    struct fetch *tmp;
    while (r->n_groups > 0)
        ahead_forget(r, ahead_oldest(r));
    HASH_ITER (hh, r->fetches, f, tmp) {
        ahead_cut(r, f, NULL);
        fetch_close(f);
    }
    deadline_clear(&r->look);
}

void readahead_close(struct readahead *r)
{
    if (r == NULL || r->is_closed)
        return;
    readahead_drop(r);
    r->is_closed = true;
    loop_unpost(&r->run);
    deadline_close(&r->look);
    loop_reap(r->engine->loop, &r->reap, xfree, r);
}
