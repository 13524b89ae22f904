/* SPDX-License-Identifier: Apache-2.0 */
/* Texts with secrets in them: see secret_text.h. */
#include "conf/secret_text.h"

static const struct str begins[] = {
    [SECRET_TEXT] = STR_INIT(""),
    [SECRET_FILE] = STR_INIT("{file:"),
    [SECRET_ENV] = STR_INIT("{env:"),
    [SECRET_OAUTH] = STR_INIT("{oauth:"),
};

/* What begins at S, "{file:" and its like; SECRET_TEXT: nothing does. */
static enum secret_kind secret_at(struct str s)
{
    for (enum secret_kind k = SECRET_FILE; k <= SECRET_OAUTH; k++)
        if (str_starts(s, begins[k]))
            return k;
    return SECRET_TEXT;
}

/* How long the text at the beginning of S is; SKIP: a brace before what follows it is left out. */
static size_t secret_text_len(struct str s, bool *skip)
{
    size_t n = 0;
    *skip = false;
    for (; n < s.len && secret_at(str_from_byte(s, n)) == SECRET_TEXT; n++) {
        *skip = s.p[n] == '{' && secret_at(str_from_byte(s, n + 1)) != SECRET_TEXT;
        if (*skip)
            return n;
    }
    return n;
}

static void secret_add(struct secret_text *t, struct arena *arena, enum secret_kind kind,
                       struct str text)
{
    if (kind == SECRET_TEXT && text.len == 0)
        return;
    t->parts = arena_grow(arena, t->parts, t->n, sizeof(t->parts[0]));
    t->parts[t->n++] = (struct secret_part){kind, arena_dup(arena, text).p};
    t->is_secret = t->is_secret || kind != SECRET_TEXT;
    t->is_token = t->is_token || kind == SECRET_OAUTH;
}

static const char *const secret_broken[] = {
    [SECRET_FILE] = "has a brace that is not closed, or nothing in it: write {file:PATH}",
    [SECRET_ENV] = "has a brace that is not closed, or nothing in it: write {env:NAME}",
    [SECRET_OAUTH] = "has a brace that is not closed, or nothing in it: write {oauth:NAME}",
};

/* Takes a reference, or what only looks like one, off TEXT. NULL, or why not. */
static const char *secret_take(struct secret_text *t, struct arena *arena, struct str *text,
                               bool skip)
{
    enum secret_kind kind = secret_at(*text);
    if (kind == SECRET_TEXT)
        return NULL;
    *text = str_from_byte(*text, begins[kind].len);
    if (skip) {
        secret_add(t, arena, SECRET_TEXT, begins[kind]);
        return NULL;
    }
    size_t n = str_find(*text, '}');
    if (n == text->len || n == 0)
        return secret_broken[kind];
    secret_add(t, arena, kind, str_make(text->p, n));
    *text = str_from_byte(*text, n + 1);
    return NULL;
}

const char *secret_text_parse(struct secret_text *t, struct arena *arena, struct str text)
{
    const char *why = NULL;
    *t = (struct secret_text){0};
    while (text.len > 0 && why == NULL) {
        bool skip;
        size_t n = secret_text_len(text, &skip);
        secret_add(t, arena, SECRET_TEXT, str_make(text.p, n));
        text = str_from_byte(text, n + skip);
        why = secret_take(t, arena, &text, skip);
    }
    return why;
}

const char *secret_text_plain(const struct secret_text *t, struct arena *arena)
{
    struct str all = STR("");
    for (unsigned i = 0; i < t->n; i++)
        all = arena_printf(arena, "%.*s%s", STR_ARG(all), t->parts[i].text);
    return arena_dup(arena, all).p;
}

bool secret_text_names(struct str text)
{
    struct arena arena = {0};
    struct secret_text t;
    bool names = secret_text_parse(&t, &arena, text) == NULL && t.is_secret;
    arena_clear(&arena);
    return names;
}

struct str secret_text_begin(enum secret_kind kind)
{
    return begins[kind];
}
