/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that walk: which requests of one kind belong together, and what each walk will ask for
 * next. Two programs may walk the same pages at once: each GET is the next step of one walk, or
 * with two earlier ones that belong to none the beginning of another. No I/O; for readahead.c. */
#ifndef TLSFAN_OWN_WALK_H
#define TLSFAN_OWN_WALK_H

#include "base/hash.h"
#include "own/fetch.h"
#include "own/sequence.h"

enum {
    WALK_TARGET = 2048, /* bytes of a target, at most */
    WALK_SEEN = 8,      /* GETs that are remembered until they are a walk */
    WALKS_OF_GROUP = 16 /* at once */
};

/* A program that walks. Owner: its group. */
struct walk {
    UT_hash_handle hh;   /* in readahead->walks, by `id` */
    struct list link;    /* in group->walks, last used first */
    struct list hungry;  /* in readahead->hungry: its window is not full */
    struct list fetches; /* struct fetch that nobody has taken yet */
    struct walk_group *group;
    uint64_t id;
    uint64_t client; /* the connection that it was asked on last */
    struct sequence from;
    struct sequence_step step;
    uint64_t at;    /* the last place that was asked for; it began at 0 */
    uint64_t front; /* the furthest one asked for or fetched */
    unsigned window, n_fetches;
    unsigned most; /* that the window may grow to */
    bool is_used;  /* something that was fetched for it was asked for */
    size_t target_len;
    char target[]; /* at place 0 */
};

/* All GETs that differ by nothing but numbers in their target: of one client, to one origin, with
 * the same fields. Owner: struct readahead. */
struct walk_group {
    UT_hash_handle hh; /* by `key` */
    struct list link;  /* in readahead->groups_by_age, last used first */
    uint64_t id;
    struct fetch_like like; /* what it points to is in the arena; keeps a use */
    struct fields fields;
    struct str key;   /* its last part is the shape */
    size_t shape_len; /* bytes */
    struct list walks;
    unsigned n_walks;
    int64_t used; /* µs */
    unsigned n_seen;
    struct sequence seen[WALK_SEEN]; /* newest first */
    struct share share;
    struct arena arena;
};

/* The walk of G of which TARGET is the next step; NULL: of none. */
struct walk *walk_find(const struct walk_group *g, struct str target);
/* The walk of G that was last asked for on the connection CLIENT; NULL: none. */
struct walk *walk_of(const struct walk_group *g, uint64_t client);
/* Counts the memory of G. */
void walk_count(struct walk_group *g);
/* Notes a GET that is no step of a walk. True: with two earlier ones, which are forgotten, it makes
 * one; STEP is set. */
bool walk_note(struct walk_group *g, const struct sequence *numbers, struct sequence_step *step);
/* A walk that begins at TARGET, with NUMBERS, in G. */
struct walk *walk_new(struct walk_group *g, struct str target, const struct sequence *numbers,
                      const struct sequence_step *step);
/* Its window is not full. What is lost is not made up for: nothing is fetched that W would come to
 * much later. */
bool walk_is_hungry(const struct walk *w);
/* An answer grew old that was fetched when ASKED was the last place asked for: the window becomes
 * what W has asked for since. False: W has stopped after a while; should it go on, that is a new
 * one. (One that never used anything stays as it is: a new one would be no faster.) */
MUST_CHECK bool walk_slows(struct walk *w, uint64_t asked);
/* PLACE is asked for; IS_HIT: it was fetched. The window may have N pages at most. */
void walk_goes(struct walk *w, uint64_t place, bool is_hit, unsigned n);
/* Takes it out of G. Its fetches are gone already. */
void walk_free(struct walk *w);

/* The target at PLACE; DST holds sequence_room() of WALK_TARGET. 0: there is none. */
size_t walk_target(const struct walk *w, uint64_t place, char *dst);

#endif
