/* SPDX-License-Identifier: Apache-2.0 */
/* Settings as text that may be read again (-T). Strings stand in double quotes; what the parser
 * would take for a variable is escaped. */
#include <stdio.h>
#include <stdlib.h>

#include "conf/parent.h"
#include "conf/secret_text.h"
#include "conf/settings.h"

static void put_quoted(FILE *out, struct str s)
{
    putc('"', out);
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\' || s.p[i] == '$')
            putc('\\', out);
        putc(s.p[i], out);
    }
    putc('"', out);
}

/* "Name: ********": the name of a field is no secret, its value may be. */
static void put_masked(FILE *out, const struct key *k, struct str s)
{
    if (k->type == KEY_SECRET) {
        put_quoted(out, STR("********"));
        return;
    }
    size_t colon = str_find(s, ':');
    bool removes = str_trim(str_from_byte(s, colon + 1)).len == 0;
    if (colon == s.len || removes) {
        put_quoted(out, s);
        return;
    }
    char *masked = xasprintf("%.*s: ********", (int)colon, s.p);
    put_quoted(out, str_from(masked));
    free(masked);
}

static bool is_bare(const struct key *k)
{
    return k->type <= KEY_PORT || k->type == KEY_WORKERS || k->type == KEY_FLAG ||
           (k->type == KEY_CHOICE && k->choices[0].word[0] >= 'a');
}

static void dump_put_value(FILE *out, const struct key *k, struct str text)
{
    if (k->type == KEY_PARENT) {
        char *masked = parent_mask(text);
        put_quoted(out, str_from(masked));
        free(masked);
    } else if (k->is_secret && text.len > 0 && !secret_text_names(text))
        put_masked(out, k, text);
    else if (is_bare(k) && text.len > 0)
        fprintf(out, "%.*s", STR_ARG(text));
    else
        put_quoted(out, text);
}

static void put_list(FILE *out, const struct key *k, const struct setting *s)
{
    struct str rest = str_from(k->def);
    struct str item;
    const char *between = "";
    putc('{', out);
    if (s->source == FROM_NOWHERE) {
        for (; str_next_item(&rest, &item); between = ", ") {
            fputs(between, out);
            dump_put_value(out, k, item);
        }
    }
    for (unsigned i = 0; i < s->n; i++, between = ", ") {
        fputs(between, out);
        dump_put_value(out, k, str_from(s->v[i].text));
    }
    putc('}', out);
}

static void put_setting(FILE *out, const char *name, const struct key *k, const struct setting *s)
{
    fprintf(out, "%s = ", name);
    if (key_is_list(k))
        put_list(out, k, s);
    else
        dump_put_value(out, k, str_from(s->n > 0 ? s->v[0].text : k->def));
    putc('\n', out);
}

/* The table has the keys of one section side by side. */
static void put_global(FILE *out, const struct section *section)
{
    unsigned n;
    const struct key *keys = keys_of(KEY_GLOBAL, &n);
    struct str open = STR("");
    for (unsigned i = 0; i < n; i++) {
        struct str name = str_from(keys[i].name);
        size_t dot = str_find(name, '.');
        struct str in = dot == name.len ? STR("") : str_make(name.p, dot);
        if (!str_eq(in, open)) {
            fputs(open.len > 0 ? "}\n" : "", out);
            fprintf(out, "%.*s {\n", STR_ARG(in));
            open = in;
        }
        fputs(open.len > 0 ? "  " : "", out);
        put_setting(out, keys[i].name + (dot == name.len ? 0 : dot + 1), &keys[i],
                    &section->settings[i]);
    }
    fputs(open.len > 0 ? "}\n" : "", out);
}

/* Only what was written: the rest comes from the sections above. */
static void put_section(FILE *out, const struct section *section)
{
    unsigned n;
    const struct key *keys = keys_of(section->scope, &n);
    fprintf(out, "%s ", key_section(section->scope));
    put_quoted(out, str_from(section->title));
    fputs(" {\n", out);
    for (unsigned i = 0; i < n; i++) {
        if (section->settings[i].source == FROM_NOWHERE)
            continue;
        fputs("  ", out);
        put_setting(out, keys[i].name, &keys[i], &section->settings[i]);
    }
    fputs("}\n", out);
}

char *settings_print(struct settings *s)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        return xstrdup("");
    put_global(out, s->global);
    for (unsigned i = 0; i < s->n_rules; i++)
        put_section(out, s->rules[i]);
    for (unsigned i = 0; i < s->n_forwards; i++)
        put_section(out, s->forwards[i]);
    for (unsigned i = 0; i < s->n_oauths; i++)
        put_section(out, s->oauths[i]);
    fclose(out);
    return text;
}
