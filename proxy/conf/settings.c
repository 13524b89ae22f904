/* SPDX-License-Identifier: Apache-2.0 */
/* What was written. A list is replaced by the first value from a later source and grows with the
 * further ones. */
#include "conf/settings.h"

static struct section *section_new(struct settings *s, enum key_scope scope, struct str title,
                                   const char *where, enum setting_source source)
{
    unsigned n;
    keys_of(scope, &n);
    struct section *section = arena_alloc(&s->arena, sizeof(*section));
    *section = (struct section){.title = arena_dup(&s->arena, title).p,
                                .where = arena_dup(&s->arena, str_from(where)).p,
                                .scope = scope,
                                .source = source,
                                .settings = arena_alloc(&s->arena, n * sizeof(struct setting))};
    memset(section->settings, 0, n * sizeof(struct setting));
    return section;
}

void settings_init(struct settings *s)
{
    *s = (struct settings){0};
    s->global = section_new(s, KEY_GLOBAL, STR(""), "", FROM_NOWHERE);
}

void settings_clear(struct settings *s)
{
    for (unsigned i = 0; i < KEY_SCOPES; i++)
        HASH_CLEAR(hh, s->by_title[i]);
    arena_clear(&s->arena);
    *s = (struct settings){0};
}

struct section *settings_section(struct settings *s, enum key_scope scope, struct str title,
                                 const char *where, enum setting_source source)
{
    if (scope == KEY_GLOBAL)
        return s->global;
    struct section ***list = scope == KEY_RULE      ? &s->rules
                             : scope == KEY_FORWARD ? &s->forwards
                                                    : &s->oauths;
    unsigned *n = scope == KEY_RULE      ? &s->n_rules
                  : scope == KEY_FORWARD ? &s->n_forwards
                                         : &s->n_oauths;
    struct section *section = NULL;
    HASH_FIND(hh, s->by_title[scope], title.p, title.len, section);
    if (section != NULL || where == NULL)
        return section;
    section = section_new(s, scope, title, where, source);
    HASH_ADD_KEYPTR(hh, s->by_title[scope], section->title, title.len, section);
    *list = arena_grow(&s->arena, *list, *n, sizeof((*list)[0]));
    (*list)[(*n)++] = section;
    return section;
}

void settings_drop_forwards(struct settings *s, enum setting_source source)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < s->n_forwards; i++) {
        struct section *section = s->forwards[i];
        if (section->source != source) {
            s->forwards[kept++] = section;
            continue;
        }
        HASH_DEL(s->by_title[KEY_FORWARD], section);
    }
    s->n_forwards = kept;
}

struct setting *section_setting(struct section *section, const struct key *k)
{
    unsigned n;
    return &section->settings[k - keys_of(section->scope, &n)];
}

void setting_reset(struct setting *s)
{
    *s = (struct setting){0};
}

void setting_empty(struct setting *s, enum setting_source source)
{
    setting_reset(s);
    s->source = source;
}

void setting_add(struct settings *in, struct setting *s, const struct key *k, struct value v,
                 enum setting_source source)
{
    if (!key_is_list(k) || s->source != source)
        setting_empty(s, source);
    struct arena *arena = &in->arena;
    s->v = arena_grow(arena, s->v, s->n, sizeof(s->v[0]));
    s->v[s->n++] =
        (struct value){arena_dup(arena, str_from(v.text)).p, arena_dup(arena, str_from(v.where)).p};
}
