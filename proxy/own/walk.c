/* SPDX-License-Identifier: Apache-2.0 */
/* Walks: see walk.h. */
#include "own/walk.h"

#include <stdlib.h>

enum {
    ROOM = WALK_TARGET + 64,
    AGAIN = 64, /* pages after which a slow walk may have one more ahead */
    APART = 4   /* GETs of other walks that may come between two of one, and one more */
};

static struct walk *walk_at(struct list *it)
{
    return container_of(it, struct walk, link);
}

size_t walk_target(const struct walk *w, uint64_t place, char *dst)
{
    return sequence_next(&w->from, str_make(w->target, w->target_len), &w->step, place, dst);
}

struct walk *walk_find(const struct walk_group *g, struct str target)
{
    char text[ROOM];
    list_foreach (it, &g->walks) {
        struct walk *w = walk_at(it);
        if (str_eq(target, str_make(text, walk_target(w, w->at + 1, text))))
            return w;
    }
    return NULL;
}

struct walk *walk_of(const struct walk_group *g, uint64_t client)
{
    list_foreach (it, &g->walks) {
        if (walk_at(it)->client == client)
            return walk_at(it);
    }
    return NULL;
}

void walk_count(struct walk_group *g)
{
    share_set(&g->share,
              sizeof *g + g->arena.total + g->n_walks * (sizeof(struct walk) + WALK_TARGET));
}

static void walk_forget(struct walk_group *g, unsigned i)
{
    memmove(&g->seen[i], &g->seen[i + 1], (g->n_seen - i - 1) * sizeof g->seen[0]);
    g->n_seen--;
}

/* Which of those seen is a step before NUMBERS, and an older one the same step before that: the
 * smallest such step, where several walks are mixed. Not far apart, or among pages that are asked
 * for at random many would look like walks. */
static bool walk_look(const struct walk_group *g, const struct sequence *numbers,
                      struct sequence_step *step, unsigned found[2])
{
    struct sequence_step last;
    struct sequence_step first;
    bool is_found = false;
    for (unsigned i = 0; i < g->n_seen && i < APART; i++) {
        if (!sequence_step(&g->seen[i], numbers, &last) ||
            (is_found && last.v[0].by >= step->v[0].by))
            continue;
        for (unsigned j = i + 1; j < g->n_seen && j <= i + APART; j++) {
            if (!sequence_step(&g->seen[j], &g->seen[i], &first) ||
                !sequence_step_is(&first, &last))
                continue;
            is_found = true;
            *step = last;
            found[0] = i;
            found[1] = j;
        }
    }
    return is_found;
}

bool walk_note(struct walk_group *g, const struct sequence *numbers, struct sequence_step *step)
{
    unsigned found[2] = {0, 0};
    if (walk_look(g, numbers, step, found)) {
        walk_forget(g, found[1]); /* the older one */
        walk_forget(g, found[0]);
        return true;
    }
    if (g->n_seen == WALK_SEEN)
        g->n_seen--;
    memmove(&g->seen[1], &g->seen[0], g->n_seen * sizeof g->seen[0]);
    g->seen[0] = *numbers;
    g->n_seen++;
    return false;
}

struct walk *walk_new(struct walk_group *g, struct str target, const struct sequence *numbers,
                      const struct sequence_step *step)
{
    struct walk *w = xcalloc(1, sizeof *w + target.len);
    w->group = g;
    w->from = *numbers;
    w->step = *step;
    w->target_len = target.len;
    memcpy(w->target, target.p, target.len);
    list_init(&w->link);
    list_init(&w->hungry);
    list_init(&w->fetches);
    list_push_front(&g->walks, &w->link);
    g->n_walks++;
    return w;
}

bool walk_is_hungry(const struct walk *w)
{
    return w->n_fetches < w->window && w->front - w->at < w->window;
}

bool walk_slows(struct walk *w, uint64_t asked)
{
    uint64_t n = w->at - asked;
    w->most = n < w->most ? (unsigned)n : w->most;
    w->window = w->window < w->most ? w->window : w->most;
    return n > 0 || !w->is_used;
}

void walk_goes(struct walk *w, uint64_t place, bool is_hit, unsigned n)
{
    w->at = place > w->at ? place : w->at;
    w->front = place > w->front ? place : w->front;
    if (w->most < n && w->at % AGAIN == 0)
        w->most++;
    w->is_used |= is_hit;
    w->window = is_hit ? 2 * w->window : w->window;
    w->window = w->window > 0 ? w->window : 1;
    w->window = w->window < w->most ? w->window : w->most;
}

void walk_free(struct walk *w)
{
    list_remove(&w->link);
    list_remove(&w->hungry);
    w->group->n_walks--;
    xfree(w);
}
