/* SPDX-License-Identifier: Apache-2.0 */
/* The file, read with libConfuse. The parser's tree is made from the table of keys and holds texts
 * only: its validate callbacks, the one place where it knows a value's line, copy each into the
 * settings. Its own include is not used, because it leaves the lexer in the file where an error
 * ended it. */
#include "conf/reader.h"

#include <confuse.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/claim.h"
#include "base/mem.h"
#include "conf/suggest.h"
#include "conf/text.h"

enum { INCLUDE_DEPTH = 10 };

/* One run of the parser; it has no argument for callbacks and is not thread safe. */
struct reader {
    struct settings *settings;
    struct conf_file **files; /* the snapshot's */
    struct conf_faults *faults;
    cfg_t *top;
    const char *file;        /* the one that is read now */
    const struct text *text; /* and its text */
    struct section *open;    /* the rule or forward of which something has been read; NULL: none */
    unsigned depth;
    unsigned n_faults; /* when reading began: tells whether the parser said why it stopped */
};

static struct reader *reading;
static struct claim parser; /* guards it */
static const char parser_name[] = "the reader of configuration files";

static char *where_of(const cfg_t *cfg)
{
    return xasprintf("%s:%d", reading->file, cfg->line);
}

/* The scope of the section CFG. */
static enum key_scope scope_of(const cfg_t *cfg)
{
    if (cfg == reading->top || cfg->title == NULL)
        return KEY_GLOBAL;
    enum key_scope scope = KEY_RULE;
    while (scope < KEY_OAUTH && strcmp(cfg->name, key_section(scope)) != 0)
        scope++;
    return scope;
}

/* The settings of the section CFG; NULL with a fault when its title was there before. */
static struct section *section_of(const cfg_t *cfg)
{
    struct settings *s = reading->settings;
    enum key_scope scope = scope_of(cfg);
    if (scope == KEY_GLOBAL || reading->open != NULL)
        return scope == KEY_GLOBAL ? s->global : reading->open;
    struct str title = str_from(cfg->title);
    unsigned line = text_section_line(reading->text, (unsigned)cfg->line);
    char *where = xasprintf("%s:%u", reading->file, line);
    if (settings_section(s, scope, title, NULL, FROM_FILE) != NULL)
        conf_fault(reading->faults, where, "found duplicate title '%s'", cfg->title);
    else
        reading->open = settings_section(s, scope, title, where, FROM_FILE);
    free(where);
    return reading->open;
}

static const struct key *reader_key_of(const cfg_t *cfg, const char *name)
{
    if (scope_of(cfg) != KEY_GLOBAL || cfg == reading->top)
        return key_find(scope_of(cfg), str_from(name));
    char *dotted = xasprintf("%s.%s", cfg->name, name);
    const struct key *k = key_find(KEY_GLOBAL, str_from(dotted));
    free(dotted);
    return k;
}

/* Brings the setting of a list up to the parser's: it calls for each element, and at the closing
 * brace again. */
static void follow_list(struct setting *s, const struct key *k, cfg_opt_t *opt, const char *where)
{
    unsigned n = cfg_opt_size(opt);
    bool begins_again = n == 1 && s->n > 0 && strcmp(s->v[0].text, cfg_opt_getnstr(opt, 0)) != 0;
    if (n < s->n || begins_again)
        setting_empty(s, FROM_FILE);
    for (unsigned i = s->n; i < n; i++)
        setting_add(reading->settings, s, k, value_at(cfg_opt_getnstr(opt, i), where), FROM_FILE);
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
    if (reading == NULL)
        return 0;
    const struct key *k = reader_key_of(cfg, cfg_opt_name(opt));
    char *where = where_of(cfg);
    struct section *section = k == NULL ? NULL : section_of(cfg);
    struct setting *s = section == NULL ? NULL : section_setting(section, k);
    if (k == NULL)
        conf_fault(reading->faults, where, "unknown key \"%s\"", cfg_opt_name(opt));
    if (s != NULL && key_is_list(k))
        follow_list(s, k, opt, where);
    else if (s != NULL)
        setting_add(reading->settings, s, k, value_at(cfg_opt_getnstr(opt, 0), where), FROM_FILE);
    free(where);
    return s == NULL;
}

/* At the closing brace: lists that were emptied bring no callback of their own. */
static void follow_empty_lists(cfg_t *cfg)
{
    for (cfg_opt_t *opt = cfg->opts; opt != NULL && opt->name != NULL; opt++) {
        const struct key *k = opt->type == CFGT_STR ? reader_key_of(cfg, opt->name) : NULL;
        if (k == NULL || !key_is_list(k) || cfg_opt_size(opt) > 0)
            continue;
        struct setting *s = section_setting(section_of(cfg), k);
        if (s->n > 0 || k->def[0] != '\0')
            setting_empty(s, FROM_FILE);
    }
}

/* At its closing brace. A rule or forward is there even when nothing is written in it. The parser
 * forgets it, or it would look through all before it at each one. */
static int on_section(cfg_t *cfg, cfg_opt_t *opt)
{
    (void)cfg;
    if (reading == NULL)
        return 0;
    unsigned last = cfg_opt_size(opt) - 1;
    cfg_t *section = cfg_opt_getnsec(opt, last);
    if (section_of(section) == NULL)
        return 1;
    follow_empty_lists(section);
    reading->open = NULL;
    if ((opt->flags & CFGF_TITLE) != 0)
        cfg_opt_rmnsec(opt, last);
    return 0;
}

/* What is to be written where the parser complains of REASON, which has a name at its end. */
static const char *reader_advice(const char *reason)
{
    static const struct {
        const char *begin, *advice;
    } rows[] = {
        {"missing parenthesis for function", ": write include(\"FILE\")"},
        {"missing opening brace for section", ": write NAME { KEY = VALUE }, and before the { of a "
                                              "rule, forward or oauth its title in quotes"},
        {"missing title for section", ": write it in quotes before the {"},
        {"missing equal sign after option", ": write KEY = VALUE"},
        {"unexpected token", ": is there a \",\", a \"=\" or a quote missing before it?"},
        {"premature end of file", ": a value or a \"}\" is missing"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strncmp(reason, rows[i].begin, strlen(rows[i].begin)) == 0)
            return rows[i].advice;
    return "";
}

/* Ours say "key"; and a section's name tells where it was looked for. */
static void tell_unknown(const cfg_t *cfg, const char *where, struct str name)
{
    char hint[SUGGEST_MAX];
    bool is_top = cfg == reading->top;
    struct str section = is_top ? STR("") : str_from(cfg->name);
    conf_fault(reading->faults, where, "unknown key \"%s%s%.*s\"%s", is_top ? "" : cfg->name,
               is_top ? "" : ".", STR_ARG(name),
               suggest_in_file(hint, scope_of(cfg), section, name));
}

PRINTF_LIKE(2, 0)
static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    if (reading == NULL)
        return;
    char *where = where_of(cfg);
    char reason[400];
    vsnprintf(reason, sizeof(reason), fmt, ap);
    static const char unknown[] = "no such option '";
    if (strncmp(reason, unknown, sizeof(unknown) - 1) == 0) {
        size_t len = strlen(reason) - sizeof(unknown);
        tell_unknown(cfg, where, str_make(reason + sizeof(unknown) - 1, len));
    } else {
        conf_fault(reading->faults, where, "%s%s", reason, reader_advice(reason));
    }
    free(where);
}

/* Parses the text of PATH into CFG. False with a fault. */
static bool read_file(cfg_t *cfg, const char *path, const char *where)
{
    struct text text;
    struct reader *r = reading;
    if (!text_read(&text, r->files, path, where, r->faults))
        return false;
    /* An empty text cannot be opened as a file. */
    FILE *fp = text.len == 0 ? fopen("/dev/null", "re") : fmemopen(text.p, text.len, "r");
    struct reader outer = *r;
    int line = cfg->line;
    bool ok = fp != NULL;
    if (ok) {
        r->file = path;
        r->text = &text;
        ok = cfg_parse_fp(cfg, fp) == CFG_SUCCESS;
        if (!ok && r->faults->n == r->n_faults) {
            char *at = where_of(cfg);
            conf_fault(r->faults, at, "syntax error");
            free(at);
        }
        fclose(fp);
        r->file = outer.file;
        r->text = outer.text;
    }
    cfg->line = line;
    text_clear(&text);
    return ok;
}

/* include("FILE"), a relative one from the directory of the file that says so. */
static int on_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
    (void)opt;
    struct reader *r = reading;
    char *where = where_of(cfg);
    bool ok = false;
    const char *slash = strrchr(r->file, '/');
    if (argc != 1 || argv[0][0] == '\0') {
        conf_fault(r->faults, where, "write include(\"FILE\")");
    } else if (r->depth == INCLUDE_DEPTH) {
        conf_fault(r->faults, where, "includes are nested too deeply");
    } else {
        int dir = argv[0][0] == '/' || slash == NULL ? 0 : (int)(slash - r->file) + 1;
        char *path = xasprintf("%.*s%s", dir, r->file, argv[0]);
        r->depth++;
        ok = read_file(cfg, path, where);
        r->depth--;
        free(path);
    }
    free(where);
    return ok ? 0 : 1;
}

static cfg_opt_t text_option(const struct key *k, const char *name)
{
    cfg_opt_t list = CFG_STR_LIST(name, NULL, CFGF_NONE);
    cfg_opt_t text = CFG_STR(name, NULL, CFGF_NONE);
    cfg_opt_t opt = key_is_list(k) ? list : text;
    opt.validcb = on_value;
    return opt;
}

/* "{\"a\",\"b\"}", so that += adds to the default. NULL for an empty list. */
static char *list_default(struct arena *arena, const struct key *k)
{
    if (!key_is_list(k) || k->def[0] == '\0')
        return NULL;
    struct str text = STR("{");
    struct str rest = str_from(k->def);
    struct str item;
    for (const char *between = ""; str_next_item(&rest, &item); between = ",")
        text = arena_printf(arena, "%.*s%s\"%.*s\"", STR_ARG(text), between, STR_ARG(item));
    return (char *)arena_printf(arena, "%.*s}", STR_ARG(text)).p;
}

/* "client" of "client.allow"; empty for a key outside sections. */
static struct str prefix_of(const struct key *k)
{
    struct str name = str_from(k->name);
    size_t dot = str_find(name, '.');
    return dot == name.len ? STR("") : str_make(name.p, dot);
}

/* The options of one section: keys called PREFIX.name, or (PREFIX empty) those without a dot. N
 * gets their number; behind them is room for as many again and TAIL more. */
enum { TAIL = 5 };
static cfg_opt_t *options_of(struct arena *arena, enum key_scope scope, struct str prefix,
                             unsigned *n)
{
    unsigned n_keys;
    const struct key *keys = keys_of(scope, &n_keys);
    cfg_opt_t *opts = arena_alloc(arena, (2 * n_keys + TAIL) * sizeof(*opts));
    *n = 0;
    for (unsigned i = 0; i < n_keys; i++) {
        if (!str_eq(prefix_of(&keys[i]), prefix))
            continue;
        cfg_opt_t *opt = &opts[(*n)++];
        *opt = text_option(&keys[i], keys[i].name + prefix.len + (prefix.len > 0));
        if (scope == KEY_GLOBAL)
            opt->def.parsed = list_default(arena, &keys[i]);
    }
    cfg_opt_t end = CFG_END();
    opts[*n] = end;
    return opts;
}

static cfg_opt_t section_option(struct arena *arena, struct str name, enum key_scope scope)
{
    unsigned n;
    bool is_titled = scope != KEY_GLOBAL;
    cfg_opt_t *opts = options_of(arena, scope, is_titled ? STR("") : name, &n);
    cfg_opt_t section =
        CFG_SEC(arena_dup(arena, name).p, opts, is_titled ? CFGF_MULTI | CFGF_TITLE : CFGF_NONE);
    section.validcb = on_section;
    return section;
}

/* What libConfuse is given it copies. NULL when it has no memory. */
static cfg_t *make_parser(void)
{
    struct arena arena = {0};
    unsigned n, n_keys;
    cfg_opt_t *top = options_of(&arena, KEY_GLOBAL, STR(""), &n);
    const struct key *keys = keys_of(KEY_GLOBAL, &n_keys);
    struct str last = STR("");
    /* The table has the keys of one section side by side. */
    for (unsigned i = 0; i < n_keys; i++) {
        struct str prefix = prefix_of(&keys[i]);
        if (!str_eq(prefix, last))
            top[n++] = section_option(&arena, prefix, KEY_GLOBAL);
        last = prefix;
    }
    cfg_opt_t tail[TAIL] = {section_option(&arena, STR("rule"), KEY_RULE),
                            section_option(&arena, STR("forward"), KEY_FORWARD),
                            section_option(&arena, STR("oauth"), KEY_OAUTH),
                            CFG_FUNC("include", on_include), CFG_END()};
    memcpy(&top[n], tail, sizeof(tail));
    cfg_t *cfg = cfg_init(top, CFGF_NONE);
    arena_clear(&arena);
    return cfg;
}

void reader_add_file(struct settings *s, struct conf_file **files, const char *path,
                     struct conf_faults *faults)
{
    cfg_t *cfg = make_parser();
    if (cfg == NULL) {
        conf_fault(faults, path, "out of memory");
        return;
    }
    cfg_set_error_function(cfg, on_error);
    struct reader r = {.settings = s,
                       .files = files,
                       .faults = faults,
                       .top = cfg,
                       .file = path,
                       .n_faults = faults->n};
    claim_take(&parser, parser_name);
    reading = &r;
    if (read_file(cfg, path, path)) {
        struct text none = {0};
        r.text = &none;
        follow_empty_lists(cfg);
    } else {
        s->is_partial = true;
    }
    reading = NULL;
    claim_give(&parser, parser_name);
    cfg_free(cfg);
}
