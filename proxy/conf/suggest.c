/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys is looked through for the name in the same section with a slip, then for those
 * there that end with it ("timeout"), then for the very name in another section, then for the name
 * with a slip in another one. A name is near when one slip in three letters, two at most, makes it:
 * what is farther away would be a guess. */
#include "conf/suggest.h"

#include <ctype.h>
#include <stdio.h>

enum {
    NAME_MAX_BYTES = 64, /* of names that are compared; no key is as long */
    SLIPS_MAX = 2,
    FAR = SLIPS_MAX + 1,
    PLACES = 5 /* that are named at most */
};

/* A key as it is compared: "tls.ca_file", "rule.port", "listen". */
struct candidate {
    enum key_scope scope;
    size_t section_len; /* 0: it stands outside of all */
    size_t len;
    char text[NAME_MAX_BYTES * 2];
};

struct suggest {
    enum key_scope scope;
    struct str section, name, full; /* what was written, likewise */
    unsigned slips, slips_elsewhere;
    struct candidate near, elsewhere;
    struct candidate longer[PLACES]; /* of the section, end with it */
    struct candidate same[PLACES];   /* have the very name */
    unsigned n_longer, n_same;
};

/* ---- distance */

static char suggest_byte(struct str s, size_t i)
{
    return s.p[i] == '-' || s.p[i] == '.' ? '_' : (char)tolower((unsigned char)s.p[i]);
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Slips from A to B: letters that lack, are too many, are others, or two in the wrong order. */
static unsigned suggest_distance(struct str a, struct str b)
{
    unsigned row[3][NAME_MAX_BYTES + 1];
    if (a.len > NAME_MAX_BYTES || b.len > NAME_MAX_BYTES)
        return FAR;
    for (size_t j = 0; j <= b.len; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.len; i++) {
        unsigned *now = row[i % 3];
        const unsigned *last = row[(i - 1) % 3], *before = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            char x = suggest_byte(a, i - 1), y = suggest_byte(b, j - 1);
            now[j] = least(last[j - 1] + (x != y), least(last[j], now[j - 1]) + 1);
            bool is_turned =
                i > 1 && j > 1 && suggest_byte(a, i - 2) == y && suggest_byte(b, j - 2) == x;
            if (is_turned)
                now[j] = least(now[j], before[j - 2] + 1);
        }
    }
    return row[a.len % 3][b.len];
}

/* How many slips there may be in a NAME. */
static unsigned suggest_patience(struct str name)
{
    return least(SLIPS_MAX, (unsigned)(name.len / 3));
}

/* Three letters are too few for a guess at another section. */
static unsigned suggest_patience_elsewhere(struct str name)
{
    return name.len > 3 ? suggest_patience(name) : 0;
}

bool suggest_is_near(struct str written, struct str name)
{
    return suggest_distance(written, name) <= suggest_patience(written);
}

/* ---- the search */

static struct str candidate_section(const struct candidate *c)
{
    return str_make(c->text, c->section_len);
}

static struct str candidate_name(const struct candidate *c)
{
    return str_from_byte(str_make(c->text, c->len), c->section_len + (c->section_len > 0));
}

static struct candidate suggest_candidate(enum key_scope scope, const char *key)
{
    struct candidate c = {.scope = scope};
    c.len = (size_t)snprintf(c.text, sizeof(c.text), "%s%s%s", key_section(scope),
                             scope == KEY_GLOBAL ? "" : ".", key);
    size_t dot = str_find(str_make(c.text, c.len), '.');
    c.section_len = dot < c.len ? dot : 0;
    return c;
}

/* "header_timeout" for "timeout". */
static bool suggest_is_end(struct str name, struct str end)
{
    size_t before = name.len > end.len ? name.len - end.len : 0;
    return end.len > 2 && before > 0 && name.p[before - 1] == '_' &&
           str_eq(str_from_byte(name, before), end);
}

static void suggest_judge(struct suggest *s, const struct candidate *c)
{
    bool is_here = c->scope == s->scope && str_eq(candidate_section(c), s->section);
    unsigned slips = suggest_distance(s->full, str_make(c->text, c->len));
    unsigned of_name = suggest_distance(s->name, candidate_name(c));
    if (slips <= suggest_patience(s->name) && slips < s->slips) {
        s->slips = slips;
        s->near = *c;
    }
    if (is_here && s->n_longer < PLACES && suggest_is_end(candidate_name(c), s->name))
        s->longer[s->n_longer++] = *c;
    if (of_name == 0 && !is_here && s->n_same < PLACES)
        s->same[s->n_same++] = *c;
    if (of_name <= suggest_patience_elsewhere(s->name) && of_name < s->slips_elsewhere) {
        s->slips_elsewhere = of_name;
        s->elsewhere = *c;
    }
}

static void suggest_search(struct suggest *s)
{
    s->slips = s->slips_elsewhere = FAR;
    for (unsigned scope = KEY_GLOBAL; scope < KEY_SCOPES; scope++) {
        unsigned n;
        const struct key *keys = keys_of((enum key_scope)scope, &n);
        for (unsigned i = 0; i < n; i++) {
            struct candidate c = suggest_candidate((enum key_scope)scope, keys[i].name);
            suggest_judge(s, &c);
        }
    }
}

/* The candidate that is to be named alone; NULL when there is none, or others have the name. */
static const struct candidate *suggest_one(const struct suggest *s)
{
    if (s->slips < FAR)
        return &s->near;
    if (s->n_longer > 0 || s->n_same > 0)
        return NULL;
    return s->slips_elsewhere < FAR ? &s->elsewhere : NULL;
}

/* What stands before the one that is number I of N. */
static const char *suggest_between(unsigned i, unsigned n, const char *first)
{
    return i == 0 ? first : i + 1 < n ? ", " : " or ";
}

/* ---- in a file */

/* BEFORE, and "client { }" or `rule "PATTERN" { }`. */
static int put_place(char *dst, size_t cap, const struct candidate *c, const char *before)
{
    static const char *const titles[KEY_SCOPES] = {
        [KEY_GLOBAL] = "",
        [KEY_RULE] = "\"PATTERN\" ",
        [KEY_FORWARD] = "\"LISTENER\" ",
        [KEY_OAUTH] = "\"NAME\" ",
    };
    return snprintf(dst, cap, "%s%.*s %s{ }", before, STR_ARG(candidate_section(c)),
                    titles[c->scope]);
}

static void put_places(char *dst, const struct suggest *s)
{
    size_t n = 0;
    if (s->same[0].section_len == 0) {
        snprintf(dst, SUGGEST_MAX, ": it stands outside of all sections");
        return;
    }
    for (unsigned i = 0; i < s->n_same && n < SUGGEST_MAX; i++) {
        n += (size_t)snprintf(dst + n, SUGGEST_MAX - n, "%s",
                              suggest_between(i, s->n_same, ": it belongs into "));
        n += (size_t)put_place(dst + n, SUGGEST_MAX - n, &s->same[i], "");
    }
}

static void put_longer(char *dst, const struct suggest *s)
{
    size_t n = 0;
    for (unsigned i = 0; i < s->n_longer && n < SUGGEST_MAX; i++)
        n += (size_t)snprintf(dst + n, SUGGEST_MAX - n, "%s%.*s%s",
                              suggest_between(i, s->n_longer, ": did you mean "),
                              STR_ARG(candidate_name(&s->longer[i])),
                              i + 1 == s->n_longer ? "?" : "");
}

/* NAME is, but for a slip, the name of a section of which no key stands before it. */
static bool find_section(struct candidate *found, struct str name)
{
    unsigned best = suggest_patience(name) + 1;
    for (unsigned scope = KEY_GLOBAL; scope < KEY_SCOPES; scope++) {
        unsigned n;
        const struct key *keys = keys_of((enum key_scope)scope, &n);
        for (unsigned i = 0; i < n; i++) {
            struct candidate c = suggest_candidate((enum key_scope)scope, keys[i].name);
            unsigned slips =
                c.section_len == 0 ? FAR : suggest_distance(name, candidate_section(&c));
            if (slips >= best)
                continue;
            best = slips;
            *found = c;
        }
    }
    return best <= suggest_patience(name);
}

/* "tls.ca_file" as -o has it. */
static bool put_dotted(char *dst, struct str name)
{
    size_t dot = str_find(name, '.');
    if (dot == name.len || key_find(KEY_GLOBAL, name) == NULL)
        return false;
    snprintf(dst, SUGGEST_MAX, ": in a file it is written %.*s { %.*s = ... }", (int)dot, name.p,
             (int)(name.len - dot - 1), name.p + dot + 1);
    return true;
}

/* "listen:" and "[client]", as other programs have it. */
static bool put_syntax(char *dst, struct str name)
{
    struct candidate found;
    bool is_ini = name.len > 2 && name.p[0] == '[' && name.p[name.len - 1] == ']';
    if (is_ini)
        name = str_make(name.p + 1, name.len - 2);
    else if (name.len > 1 && name.p[name.len - 1] == ':')
        name.len--;
    else
        return false;
    if (find_section(&found, name))
        put_place(dst, SUGGEST_MAX, &found, ": write ");
    else
        snprintf(dst, SUGGEST_MAX,
                 is_ini ? ": a section is written NAME { }"
                        : ": a key is followed by \"=\", not by \":\"");
    return true;
}

const char *suggest_in_file(char *dst, enum key_scope scope, struct str section, struct str name)
{
    char full[2 * NAME_MAX_BYTES + 2], place[64];
    struct candidate found;
    bool is_outside = scope == KEY_GLOBAL && section.len == 0;
    int n = snprintf(full, sizeof(full), "%.*s%s%.*s", STR_ARG(section), is_outside ? "" : ".",
                     STR_ARG(name));
    struct suggest s = {.scope = scope, .section = section, .name = name};
    s.full = str_make(full, least((unsigned)n, sizeof(full) - 1));
    dst[0] = '\0';
    if (put_dotted(dst, name) || put_syntax(dst, name))
        return dst;
    suggest_search(&s);
    const struct candidate *one = suggest_one(&s);
    bool is_here = one != NULL && one->scope == scope && str_eq(candidate_section(one), section);
    if (one != NULL && !is_here && one->section_len > 0)
        put_place(place, sizeof(place), one, "");
    if (is_here || (one != NULL && one->section_len == 0))
        snprintf(dst, SUGGEST_MAX, ": did you mean %.*s%s?", STR_ARG(candidate_name(one)),
                 is_here ? "" : ", outside of all sections");
    else if (one == NULL && s.n_longer > 0)
        put_longer(dst, &s);
    else if (one == NULL && s.n_same > 0)
        put_places(dst, &s);
    else if (!find_section(&found, name) && one != NULL)
        snprintf(dst, SUGGEST_MAX, ": did you mean %.*s, in %s?", STR_ARG(candidate_name(one)),
                 place);
    else if (find_section(&found, name) && is_outside) {
        put_place(place, sizeof(place), &found, "");
        snprintf(dst, SUGGEST_MAX, ": did you mean %s?", place);
    } else if (find_section(&found, name))
        snprintf(dst, SUGGEST_MAX, ": sections do not stand in each other: close %.*s { } first",
                 STR_ARG(section));
    return dst;
}

/* ---- options and variables */

/* As -o takes it. */
static int put_option(char *dst, size_t cap, const struct candidate *c, struct str before)
{
    static const char *const titles[KEY_SCOPES] = {[KEY_RULE] = "rule[PATTERN].",
                                                   [KEY_FORWARD] = "forward[LISTENER].",
                                                   [KEY_OAUTH] = "oauth[NAME]."};
    if (c->scope == KEY_GLOBAL)
        return snprintf(dst, cap, "%.*s", (int)c->len, c->text);
    if (str_starts(before, candidate_section(c)))
        return snprintf(dst, cap, "%.*s%.*s", STR_ARG(before), STR_ARG(candidate_name(c)));
    return snprintf(dst, cap, "%s%.*s", titles[c->scope], STR_ARG(candidate_name(c)));
}

const char *suggest_option(char *dst, enum key_scope scope, struct str before, struct str name)
{
    char full[2 * NAME_MAX_BYTES + 2];
    size_t dot = str_find(name, '.');
    bool is_plain = scope != KEY_GLOBAL || dot == name.len;
    struct suggest s = {.scope = scope,
                        .section = scope != KEY_GLOBAL ? str_from(key_section(scope))
                                                       : str_make(name.p, is_plain ? 0 : dot),
                        .name = is_plain ? name : str_from_byte(name, dot + 1)};
    int n = snprintf(full, sizeof(full), "%s%s%.*s", key_section(scope),
                     scope == KEY_GLOBAL ? "" : ".", STR_ARG(name));
    s.full = str_make(full, least((unsigned)n, sizeof(full) - 1));
    dst[0] = '\0';
    suggest_search(&s);
    const struct candidate *one = suggest_one(&s);
    const struct candidate *all = one != NULL ? one : s.n_longer > 0 ? s.longer : s.same;
    unsigned n_all = one != NULL ? 1 : s.n_longer > 0 ? s.n_longer : s.n_same;
    size_t len = 0;
    for (unsigned i = 0; i < n_all && len < SUGGEST_MAX; i++) {
        len += (size_t)snprintf(dst + len, SUGGEST_MAX - len, "%s",
                                suggest_between(i, n_all, ": did you mean "));
        if (len < SUGGEST_MAX)
            len += (size_t)put_option(dst + len, SUGGEST_MAX - len, &all[i], before);
    }
    if (n_all > 0 && len < SUGGEST_MAX - 1)
        memcpy(dst + len, "?", 2);
    return dst;
}

static char suggest_upper(char c)
{
    return c == '.' ? '_' : (char)toupper((unsigned char)c);
}

const char *suggest_variable(char *dst, struct str name)
{
    static const struct str prefix = STR_INIT("TLSFAN_");
    char upper[KEY_ENV_MAX];
    size_t n = 0;
    struct suggest s = {.name = str_from_byte(name, prefix.len)};
    s.full = s.name;
    dst[0] = '\0';
    suggest_search(&s);
    const struct candidate *one = suggest_one(&s);
    if (one == NULL && s.n_same > 0)
        one = &s.same[0];
    if (one == NULL)
        return dst;
    if (one->scope != KEY_GLOBAL) {
        snprintf(dst, SUGGEST_MAX, ": there are variables for keys outside of %.*s { } alone",
                 STR_ARG(candidate_section(one)));
        return dst;
    }
    for (; n < one->len && n < sizeof(upper) - 1; n++)
        upper[n] = suggest_upper(one->text[n]);
    snprintf(dst, SUGGEST_MAX, ": did you mean %.*s%.*s?", STR_ARG(prefix), (int)n, upper);
    return dst;
}
