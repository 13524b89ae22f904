/* SPDX-License-Identifier: Apache-2.0 */
/* The file, read with libConfuse, and the life of a snapshot. The parser's tree is made from the
 * table of keys and holds texts only: its validate callbacks, the one place where it knows a
 * value's line, copy each into the settings. Its own include is not used, because it leaves the
 * lexer in the file where an error ended it. */
#include "conf/conf.h"

#include <confuse.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/claim.h"
#include "conf/build.h"
#include "conf/files.h"
#include "conf/policy.h"
#include "conf/text.h"

enum {
    INCLUDE_DEPTH = 10,
    FAULTS_SHOWN = 200 /* lines: each is compared with those before it */
};

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

void conf_fault(struct conf_faults *f, const char *where, const char *fmt, ...)
{
    char reason[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    f->n++;
    if (f->n > FAULTS_SHOWN + 1)
        return;
    if (f->n > FAULTS_SHOWN)
        snprintf(reason, sizeof(reason), "this and what follows is not shown: mend the others");
    char *text = xasprintf("%s%s: %s\n", f->text == NULL ? "" : f->text, where, reason);
    free(f->text);
    f->text = text;
}

void conf_key_fault(struct conf_faults *f, const char *where, const char *key, const char *reason)
{
    if (f->n > FAULTS_SHOWN) {
        f->n++;
        return;
    }
    bool names_key = where[0] == '-' || str_starts(str_from(where), STR("TLSFAN_"));
    char *text = xasprintf("%s%s%s", names_key ? "" : key, names_key ? "" : ": ", reason);
    char *line = xasprintf("%s: %s\n", where, text);
    if (f->text == NULL || strstr(f->text, line) == NULL)
        conf_fault(f, where, "%s", text);
    free(line);
    free(text);
}

static char *where_of(const cfg_t *cfg)
{
    return xasprintf("%s:%d", reading->file, cfg->line);
}

/* The scope of the section CFG. */
static enum key_scope scope_of(const cfg_t *cfg)
{
    if (cfg == reading->top || cfg->title == NULL)
        return KEY_GLOBAL;
    return strcmp(cfg->name, "rule") == 0 ? KEY_RULE : KEY_FORWARD;
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

static const struct key *key_of(const cfg_t *cfg, const char *name)
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
        setting_add(s, k, value_at(cfg_opt_getnstr(opt, i), where), FROM_FILE);
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
    if (reading == NULL)
        return 0;
    const struct key *k = key_of(cfg, cfg_opt_name(opt));
    char *where = where_of(cfg);
    struct section *section = k == NULL ? NULL : section_of(cfg);
    struct setting *s = section == NULL ? NULL : section_setting(section, k);
    if (k == NULL)
        conf_fault(reading->faults, where, "unknown key \"%s\"", cfg_opt_name(opt));
    if (s != NULL && key_is_list(k))
        follow_list(s, k, opt, where);
    else if (s != NULL)
        setting_add(s, k, value_at(cfg_opt_getnstr(opt, 0), where), FROM_FILE);
    free(where);
    return s == NULL;
}

/* At the closing brace: lists that were emptied bring no callback of their own. */
static void follow_empty_lists(cfg_t *cfg)
{
    for (cfg_opt_t *opt = cfg->opts; opt != NULL && opt->name != NULL; opt++) {
        const struct key *k = opt->type == CFGT_STR ? key_of(cfg, opt->name) : NULL;
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

PRINTF_LIKE(2, 0)
static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    if (reading == NULL)
        return;
    char *where = where_of(cfg);
    char reason[400];
    vsnprintf(reason, sizeof(reason), fmt, ap);
    /* Ours say "key"; and a section's name tells where it was looked for. */
    static const char unknown[] = "no such option '";
    if (strncmp(reason, unknown, sizeof(unknown) - 1) == 0) {
        size_t len = strlen(reason) - sizeof(unknown);
        conf_fault(reading->faults, where, "unknown key \"%s%s%.*s\"",
                   cfg == reading->top ? "" : cfg->name, cfg == reading->top ? "" : ".", (int)len,
                   reason + sizeof(unknown) - 1);
    } else {
        conf_fault(reading->faults, where, "%s", reason);
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

/* "{\"a\", \"b\"}", so that += adds to the default. Heap; NULL for an empty list. */
static char *list_default(const struct key *k)
{
    if (!key_is_list(k) || k->def[0] == '\0')
        return NULL;
    char *text = xstrdup("{");
    struct str rest = str_from(k->def);
    struct str item;
    for (const char *between = ""; str_next_item(&rest, &item); between = ",") {
        char *longer = xasprintf("%s%s\"%.*s\"", text, between, STR_ARG(item));
        free(text);
        text = longer;
    }
    char *closed = xasprintf("%s}", text);
    free(text);
    return closed;
}

/* The options of one section: keys called PREFIX.name, or (PREFIX empty) those without a dot. N
 * gets the end; TEXTS collects what libConfuse borrows until cfg_init() has copied it. */
static unsigned add_options(cfg_opt_t *opts, enum key_scope scope, struct str prefix, char **texts)
{
    unsigned n_keys, n = 0;
    const struct key *keys = keys_of(scope, &n_keys);
    for (unsigned i = 0; i < n_keys; i++) {
        struct str name = str_from(keys[i].name);
        size_t dot = str_find(name, '.');
        struct str in = dot == name.len ? STR("") : str_make(name.p, dot);
        if (!str_eq(in, prefix))
            continue;
        opts[n] = text_option(&keys[i], name.p + (dot == name.len ? 0 : dot + 1));
        if (scope == KEY_GLOBAL) {
            texts[i] = list_default(&keys[i]);
            opts[n].def.parsed = texts[i];
        }
        n++;
    }
    cfg_opt_t end = CFG_END();
    opts[n] = end;
    return n;
}

static const char *const sections[] = {"client",  "upstream",    "dns",   "tls",
                                       "rewrite", "destination", "batch", "log"};
enum { N_SECTIONS = sizeof(sections) / sizeof(sections[0]), OPTIONS = 128 };

static cfg_t *make_parser(void)
{
    cfg_opt_t top[OPTIONS], sub[N_SECTIONS][OPTIONS / 4], rule[OPTIONS / 4], forward[OPTIONS / 4];
    char *texts[OPTIONS] = {NULL};
    unsigned n = add_options(top, KEY_GLOBAL, STR(""), texts);
    for (unsigned i = 0; i < N_SECTIONS; i++) {
        add_options(sub[i], KEY_GLOBAL, str_from(sections[i]), texts);
        cfg_opt_t section = CFG_SEC(sections[i], sub[i], CFGF_NONE);
        top[n] = section;
        top[n++].validcb = on_section;
    }
    add_options(rule, KEY_RULE, STR(""), texts);
    add_options(forward, KEY_FORWARD, STR(""), texts);
    const cfg_flag_t titled = CFGF_MULTI | CFGF_TITLE;
    cfg_opt_t tail[] = {CFG_SEC("rule", rule, titled), CFG_SEC("forward", forward, titled),
                        CFG_FUNC("include", on_include), CFG_END()};
    tail[0].validcb = tail[1].validcb = on_section;
    memcpy(&top[n], tail, sizeof(tail));
    cfg_t *cfg = cfg_init(top, CFGF_NONE);
    for (unsigned i = 0; i < OPTIONS; i++)
        free(texts[i]);
    return cfg;
}

static void add_file(struct settings *s, struct conf_file **files, const char *path,
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

/* Gives the key NAME a value that nobody wrote. */
static void imply(struct settings *s, const char *name, const char *text)
{
    const struct key *k = key_find(KEY_GLOBAL, str_from(name));
    struct setting *setting = section_setting(s->global, k);
    if (setting->source == FROM_NOWHERE)
        setting_add(setting, k, value_at(text, name), FROM_IMPLIED);
}

/* COMMAND knows neither networks nor passwords of the file. Unless -l made further listeners,
 * nobody but this machine can come, and credentials are not asked for. */
static void open_for_command(struct settings *s)
{
    const struct key *k = key_find(KEY_GLOBAL, STR("client.allow"));
    struct setting *allow = section_setting(s->global, k);
    if (allow->source != FROM_NOWHERE)
        setting_add(allow, k, value_at("loopback", "run"), allow->source);
    k = key_find(KEY_GLOBAL, STR("listen"));
    if (section_setting(s->global, k)->n > 1)
        return;
    k = key_find(KEY_GLOBAL, STR("client.auth_file"));
    setting_add(section_setting(s->global, k), k, value_at("", "run"), FROM_IMPLIED);
}

static void drop_listeners(struct settings *s)
{
    setting_reset(section_setting(s->global, key_find(KEY_GLOBAL, STR("listen"))));
    setting_reset(section_setting(s->global, key_find(KEY_GLOBAL, STR("service"))));
    settings_drop_forwards(s, FROM_FILE);
}

/* Values that follow from others, once all sources are read. */
static void imply_all(struct settings *s, bool is_run)
{
    if (is_run) {
        imply(s, "listen", "127.0.0.1:0");
        imply(s, "service", "off");
        imply(s, "log.access", "off");
        imply(s, "log.level", "warning");
        open_for_command(s);
    }
    const struct key *k = key_find(KEY_GLOBAL, STR("client.auth_file"));
    const struct setting *file = section_setting(s->global, k);
    if (file->n > 0 && file->v[0].text[0] != '\0')
        imply(s, "client.allow", "any");
}

struct conf *conf_load(const struct conf_source *src, struct conf_faults *faults)
{
    static unsigned generation;
    unsigned before = faults->n;
    struct settings s;
    struct conf *c = xcalloc(1, sizeof(*c));
    atomic_init(&c->refs, 1);
    settings_init(&s);
    if (src->running != NULL)
        conf_files_keep(&c->files, src->running->files);
    if (src->file != NULL)
        add_file(&s, &c->files, src->file, faults);
    if (src->is_run)
        drop_listeners(&s);
    settings_add_environment(&s, src->environment, src->is_run, faults);
    for (unsigned i = 0; i < src->n_options; i++)
        settings_add_option(&s, src->options[i], faults);
    imply_all(&s, src->is_run);

    build_conf(c, &s, faults);
    if (src->check != NULL && !s.is_partial)
        (void)src->check(c, faults);
    settings_clear(&s);
    if (faults->n > before)
        conf_unref(&c);
    else
        c->generation = ++generation;
    return c;
}

char *conf_dump(const struct conf *c)
{
    return xstrdup(c->text);
}

static void strings_clear(struct strings *s)
{
    for (unsigned i = 0; i < s->n; i++)
        free(s->v[i]);
    free(s->v);
}

static void rule_clear(struct rule *r)
{
    char *texts[] = {r->pattern,
                     r->where,
                     r->host,
                     r->connect_host,
                     r->sni,
                     r->tls.ca_file,
                     r->tls.ca_dir,
                     r->tls.ca_extra,
                     r->tls.crl_file,
                     r->tls.client_cert,
                     r->tls.client_key,
                     r->tls.ciphers,
                     r->tls.ciphersuites};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]);
    for (unsigned i = 0; i < r->n_edits; i++) {
        free(r->edits[i].name);
        free(r->edits[i].value);
    }
    free(r->edits);
    for (unsigned i = 0; i < r->n_written; i++)
        free(r->written[i].where);
    free(r->written);
}

static void listeners_clear(struct conf *c)
{
    for (unsigned i = 0; i < c->n_listeners; i++) {
        free(c->listeners[i].text);
        free(c->listeners[i].where);
    }
    free(c->listeners);
    for (unsigned i = 0; i < c->n_forwards; i++) {
        free(c->forwards[i].listener);
        free(c->forwards[i].host);
        free(c->forwards[i].path);
        strings_clear(&c->forwards[i].hosts);
        strings_clear(&c->forwards[i].origins);
    }
    free(c->forwards);
}

static void destination_clear(struct destination_conf *d)
{
    free(d->ports.v);
    free(d->connect_ports.v);
    netset_clear(&d->deny);
    netset_clear(&d->allow);
    strings_clear(&d->allow_hosts);
    strings_clear(&d->deny_hosts);
    rule_index_free(d->allow_index);
    rule_index_free(d->deny_index);
}

static void conf_free(struct conf *c)
{
    if (c->on_free != NULL)
        c->on_free(c);
    rule_index_free(c->index);
    for (unsigned i = 0; i < c->n_rules; i++)
        rule_clear(&c->rules[i]);
    free(c->rules);
    listeners_clear(c);
    for (unsigned i = 0; i < c->n_connect_to; i++) {
        free(c->connect_to[i].host);
        free(c->connect_to[i].to_host);
    }
    free(c->connect_to);
    netset_clear(&c->client.allow);
    free(c->client.auth_file);
    strings_clear(&c->dns.servers);
    destination_clear(&c->destination);
    strings_clear(&c->service_hosts);
    free(c->log.access);
    htpasswd_free(c->htpasswd);
    conf_files_clear(&c->files);
    free(c->text);
    free(c);
}

struct conf *conf_ref(struct conf *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void conf_unref(struct conf **c)
{
    struct conf *gone = *c;
    *c = NULL;
    if (gone != NULL && atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) == 1)
        conf_free(gone);
}

const struct connect_to *conf_connect_to(const struct conf *c, struct str host, uint16_t port)
{
    for (unsigned i = 0; i < c->n_connect_to; i++) {
        const struct connect_to *to = &c->connect_to[i];
        bool has_host = to->host[0] == '\0' || str_eq(str_from(to->host), host);
        if (has_host && (to->port == 0 || to->port == port))
            return to;
    }
    return NULL;
}
