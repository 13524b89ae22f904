/* SPDX-License-Identifier: Apache-2.0 */
/* What was written, key by key, before it means anything: texts, each with the place it came from.
 * File, environment and options all end up here; conf/build.c makes a struct conf of it. */
#ifndef TLSFAN_CONF_SETTINGS_H
#define TLSFAN_CONF_SETTINGS_H

#include "base/hash.h"
#include "base/mem.h"
#include "conf/conf_fault.h"
#include "conf/keys.h"

/* Later ones win over earlier ones. FROM_IMPLIED: another key or `run` decides what is not written.
 * */
enum setting_source { FROM_NOWHERE, FROM_IMPLIED, FROM_FILE, FROM_ENVIRONMENT, FROM_OPTION };

struct value {
    const char *text;
    const char *where; /* "FILE:LINE", "TLSFAN_X" or "-o key" */
};

/* The values of one key: one, or those of a list, which may be none. */
struct setting {
    struct value *v;
    unsigned n;
    enum setting_source source; /* FROM_NOWHERE: the default holds */
};

/* A rule, a forward, an oauth, or (title "") all that is outside them. */
struct section {
    UT_hash_handle hh; /* in settings->by_title */
    const char *title;
    const char *where;
    enum key_scope scope;
    enum setting_source source; /* who wrote it first */
    struct setting *settings;   /* one for each key of the scope */
};

struct settings {
    struct arena arena; /* all of it, and what was there before it was replaced */
    struct section *global;
    struct section **rules; /* in the order written */
    unsigned n_rules;
    struct section **forwards;
    unsigned n_forwards;
    struct section **oauths;
    unsigned n_oauths;
    struct section *by_title[KEY_SCOPES]; /* uthash: the same ones; borrowed */
    bool is_partial; /* reading ended at a fault: what is missing may have been written behind it */
};

void settings_init(struct settings *s);
void settings_clear(struct settings *s);

/* The section of that title, made at the end when there is none and WHERE is not NULL; else NULL.
 * */
struct section *settings_section(struct settings *s, enum key_scope scope, struct str title,
                                 const char *where, enum setting_source source);
/* Takes out the forwards that SOURCE wrote. */
void settings_drop_forwards(struct settings *s, enum setting_source source);

struct setting *section_setting(struct section *section, const struct key *k);

/* Sets a plain key of IN, or gives a list one more element. */
void setting_add(struct settings *in, struct setting *s, const struct key *k, struct value v,
                 enum setting_source source);
/* Forgets the values: a list is then empty by hand. */
void setting_empty(struct setting *s, enum setting_source source);
/* As if it had never been written. */
void setting_reset(struct setting *s);

/* Borrows TEXT and WHERE for setting_add(), which copies them. */
static inline struct value value_at(const char *text, const char *where)
{
    return (struct value){text, where};
}

/* The text that gives the same settings again, with all defaults, secrets masked. Heap, owned by
 * the caller. */
char *settings_print(struct settings *s);

#endif
