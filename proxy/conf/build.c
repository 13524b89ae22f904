/* SPDX-License-Identifier: Apache-2.0 */
/* Settings become a snapshot. rules[0] is made first, from the defaults and the upstream and tls
 * sections; every rule starts as its copy, so that a key which is not written needs no further
 * thought. */
#include "conf/build.h"

#include <stdlib.h>

#include "conf/check.h"
#include "conf/htpasswd.h"
#include "conf/oauth.h"
#include "conf/rule.h"
#include "conf/rule_index.h"
#include "conf/value.h"

struct build {
    struct conf *conf;
    struct arena *arena; /* the snapshot's */
    struct conf_faults *faults;
};

static const char *build_keep(struct build *b, const char *text)
{
    return arena_dup(b->arena, str_from(text)).p;
}

/* What holds where nothing is written. */
static void set_default(struct build *b, const struct key *k, void *base)
{
    char err[VALUE_ERR];
    struct str rest = str_from(k->def);
    struct str item = rest;
    /* test_keys holds that each default is valid */
    bool ok = key_is_list(k) || value_set(b->arena, k, base, item, err);
    while (key_is_list(k) && str_next_item(&rest, &item))
        ok = value_set(b->arena, k, base, item, err);
    (void)ok;
}

/* "" and 0 in a rule mean what they mean in the example file: as in upstream and tls. */
static bool takes_base(const struct key *k, const char *text)
{
    return k->inherits && (text[0] == '\0' || (k->type == KEY_NUMBER && strcmp(text, "0") == 0));
}

/* A list in one text is what variables have, and other programs. */
static void build_tell(struct build *b, const struct key *k, const struct value *v, const char *err)
{
    bool is_listed = key_is_list(k) && k->type != KEY_EDITS && strchr(v->text, ',') != NULL;
    const char *advice = v->where[0] == '-' ? "; give the flag once for each of a list"
                                            : "; a list is {\"ONE\", \"TWO\"}";
    char *reason = xasprintf("%s%s", err, is_listed ? advice : "");
    conf_key_fault(b->faults, v->where, k->name, reason);
    free(reason);
}

/* Every value that is wrong is a fault of its own; the field keeps what it had. */
static void set_written(struct build *b, const struct key *k, void *base, const struct setting *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        char err[VALUE_ERR];
        if (takes_base(k, s->v[i].text))
            continue;
        if (!value_set(b->arena, k, base, str_from(s->v[i].text), err)) {
            build_tell(b, k, &s->v[i], err);
        } else if (k->type == KEY_EDITS) {
            struct rule *r = base;
            r->edits[r->n_edits - 1].where = build_keep(b, s->v[i].where);
        }
    }
}

/* Keeps where a text was written. */
static void note_where(struct build *b, struct rule *r, const char *key, const char *where)
{
    r->written = arena_grow(b->arena, r->written, r->n_written, sizeof(r->written[0]));
    r->written[r->n_written++] = (struct written){key, build_keep(b, where)};
}

static void note_text(struct build *b, struct rule *r, const struct key *k, const struct setting *s)
{
    bool is_noted =
        k->type == KEY_TEXT || k->type == KEY_PORTS || k->type == KEY_PINS || k->type == KEY_PARENT;
    if (is_noted && s->n > 0 && !takes_base(k, s->v[0].text))
        note_where(b, r, k->name, s->v[0].where);
}

static void set_key(struct build *b, const struct key *k, void *base, const struct setting *s)
{
    /* Under a value that is wrong, too. */
    if (!key_is_list(k) || s->source == FROM_NOWHERE)
        set_default(b, k, base);
    set_written(b, k, base, s);
}

/* "host" or "host:port" from the section's title. */
static void set_pattern(struct build *b, struct rule *r, const struct section *section)
{
    struct str text = str_from(section->title);
    struct str host, port;
    char err[VALUE_ERR] = "is not a name, \"*.suffix\" or \"*\", with \":port\" optionally";
    bool ok = str_find(text, '/') == text.len && value_split(text, &host, &port) &&
              value_pattern(b->arena, host, &r->host, err) &&
              (port.len == 0 || value_port(port, &r->match_port, err));
    bool is_url = str_find(text, '/') < text.len;
    if (!ok)
        conf_fault(b->faults, section->where, "rule \"%s\": %s%s", section->title, err,
                   is_url ? "; a rule is for hosts, without scheme and path" : "");
    r->pattern = build_keep(b, section->title);
    r->where = build_keep(b, section->where);
}

static bool build_is_set(struct section *section, const char *name)
{
    const struct key *k = key_find(section->scope, str_from(name));
    const struct setting *s = section_setting(section, k);
    return s->source != FROM_NOWHERE && s->n > 0 && s->v[0].text[0] != '\0';
}

/* Of a key that is set. */
static const char *setting_where(struct section *section, const char *name)
{
    return section_setting(section, key_find(section->scope, str_from(name)))->v[0].where;
}

/* A rule is a copy of its base, and what it writes over it. */
static void build_rule(struct build *b, struct rule *r, struct section *section)
{
    *r = b->conf->rules[0];
    r->host = "";
    r->written = NULL;
    r->n_written = 0;
    set_pattern(b, r, section);
    unsigned n;
    const struct key *keys = keys_of(KEY_RULE, &n);
    for (unsigned i = 0; i < n; i++) {
        if (section->settings[i].source == FROM_NOWHERE)
            continue;
        set_written(b, &keys[i], r, &section->settings[i]);
        note_text(b, r, &keys[i], &section->settings[i]);
    }
    /* "set = only this" holds for the rule's file too: a private CA is not joined by others. */
    if (build_is_set(section, "ca_file"))
        r->tls.ca_dir = r->tls.ca_extra = "";
    if (build_is_set(section, "client_cert") && !build_is_set(section, "client_key")) {
        r->tls.client_key = r->tls.client_cert;
        note_where(b, r, "client_key", setting_where(section, "client_cert"));
    }
}

static void build_rules(struct build *b, struct settings *s)
{
    struct conf *c = b->conf;
    c->n_rules = s->n_rules + 1;
    for (unsigned i = 1; i < c->n_rules; i++) {
        build_rule(b, &c->rules[i], s->rules[i - 1]);
        c->rules[i].index = i;
    }
    c->index = rule_index_new(c->rules, c->n_rules);
}

static void build_forward(struct build *b, struct forward *f, struct section *section,
                          bool is_partial)
{
    *f = (struct forward){.listener = build_keep(b, section->title), .host = "", .path = ""};
    unsigned n;
    const struct key *keys = keys_of(KEY_FORWARD, &n);
    for (unsigned i = 0; i < n; i++) {
        const struct setting *s = &section->settings[i];
        bool is_missing = keys[i].type == KEY_TO && s->source == FROM_NOWHERE;
        if (is_missing && !is_partial)
            conf_fault(b->faults, section->where, "forward \"%s\": to is not set", section->title);
        if (!is_missing)
            set_key(b, &keys[i], f, s);
    }
}

static void add_forward_listener(struct build *b, struct forward *f, const struct section *section)
{
    struct conf *c = b->conf;
    static const struct key listen = {
        .name = "forward", .type = KEY_LISTEN, .offset = offsetof(struct conf, listeners)};
    char err[VALUE_ERR];
    if (!value_set(b->arena, &listen, c, str_from(section->title), err)) {
        conf_key_fault(b->faults, section->where, listen.name, err);
        return;
    }
    struct listener *l = &c->listeners[c->n_listeners - 1];
    if (l->kind != LISTENER_PROXY) {
        conf_fault(b->faults, section->where,
                   "forward \"%s\": a listener for one origin is ADDR:PORT, unix:/path or "
                   "tls:ADDR:PORT",
                   section->title);
        return;
    }
    l->kind = LISTENER_FORWARD;
    l->forward = f;
    f->client_tls = l->tls;
    l->where = build_keep(b, section->where);
}

static void build_forwards(struct build *b, struct settings *s)
{
    struct conf *c = b->conf;
    c->forwards = arena_alloc(b->arena, s->n_forwards * sizeof(c->forwards[0]));
    c->n_forwards = s->n_forwards;
    for (unsigned i = 0; i < s->n_forwards; i++) {
        build_forward(b, &c->forwards[i], s->forwards[i], s->is_partial);
        add_forward_listener(b, &c->forwards[i], s->forwards[i]);
    }
}

static void build_oauths(struct build *b, struct settings *s)
{
    struct conf *c = b->conf;
    c->oauths = arena_alloc(b->arena, s->n_oauths * sizeof(c->oauths[0]));
    c->n_oauths = s->n_oauths;
    for (unsigned i = 0; i < s->n_oauths; i++) {
        struct section *section = s->oauths[i];
        struct oauth_conf *o = &c->oauths[i];
        *o = (struct oauth_conf){.name = build_keep(b, section->title),
                                 .where = build_keep(b, section->where),
                                 .url = "",
                                 .host = ""};
        unsigned n;
        const struct key *keys = keys_of(KEY_OAUTH, &n);
        for (unsigned k = 0; k < n; k++)
            if (keys[k].type != KEY_TOKEN || section->settings[k].source != FROM_NOWHERE)
                set_key(b, &keys[k], o, &section->settings[k]);
        const struct setting *secret =
            section_setting(section, key_find(KEY_OAUTH, STR("client_secret")));
        o->secret_where = secret->n > 0 ? build_keep(b, secret->v[0].where) : o->where;
    }
}

/* Listeners are set one by one, so that each knows where it was written. */
static void build_listeners(struct build *b, const struct key *k, const struct setting *s)
{
    struct conf *c = b->conf;
    unsigned before = c->n_listeners;
    if (s->source == FROM_NOWHERE) {
        set_default(b, k, c);
        for (unsigned i = before; i < c->n_listeners; i++)
            c->listeners[i].where = "default";
        return;
    }
    for (unsigned i = 0; i < s->n; i++) {
        struct setting one = {.v = &s->v[i], .n = 1, .source = s->source};
        before = c->n_listeners;
        set_written(b, k, c, &one);
        if (c->n_listeners > before)
            c->listeners[before].where = build_keep(b, s->v[i].where);
    }
}

/* Needs all global keys; a missing file is a fault where its name was written. */
static void load_users(struct build *b, struct settings *s)
{
    struct conf *c = b->conf;
    if (c->client.auth_file[0] == '\0')
        return;
    const struct setting *file =
        section_setting(s->global, key_find(KEY_GLOBAL, STR("client.auth_file")));
    const char *where = file->n > 0 ? file->v[0].where : "";
    c->htpasswd = htpasswd_load(&c->files, c->client.auth_file, where, b->faults);
}

/* The base of the rules, from the defaults of their own keys; those it shares with the sections
 * above come after it. */
static void build_base(struct build *b, struct rule *base)
{
    *base = (struct rule){.pattern = "*", .where = "", .host = "*"};
    unsigned n;
    const struct key *keys = keys_of(KEY_RULE, &n);
    for (unsigned i = 0; i < n; i++)
        if (!keys[i].inherits)
            set_default(b, &keys[i], base);
}

static void build_globals(struct build *b, struct settings *s)
{
    struct conf *c = b->conf;
    unsigned n;
    const struct key *keys = keys_of(KEY_GLOBAL, &n);
    for (unsigned i = 0; i < n; i++) {
        const struct setting *setting = &s->global->settings[i];
        if (keys[i].type == KEY_LISTEN || keys[i].type == KEY_SERVICE)
            build_listeners(b, &keys[i], setting);
        else
            set_key(b, &keys[i], keys[i].in_base ? (void *)&c->rules[0] : c, setting);
        note_text(b, &c->rules[0], &keys[i], setting);
    }
    c->destination.allow_index = rule_index_of(&c->destination.allow_hosts);
    c->destination.deny_index = rule_index_of(&c->destination.deny_hosts);
    c->upstream.no_proxy.index = rule_index_of(&c->upstream.no_proxy.hosts);
    /* Nobody chose what another key implied: the check of open listeners must not take it so. */
    const struct key *allow = key_find(KEY_GLOBAL, STR("client.allow"));
    c->client.allow_is_set = section_setting(s->global, allow)->source > FROM_IMPLIED;
}

/* The flags of `tlsfan run` are what rules begin with. */
static void build_run(struct build *b, const struct conf_run *run)
{
    static const struct key only = {.name = "run --intercept",
                                    .type = KEY_HOSTS,
                                    .offset = offsetof(struct conf, intercept.only)};
    struct conf *c = b->conf;
    struct str rest = str_from(run->intercept), item;
    char err[VALUE_ERR];
    c->rules[0].readahead = run->readahead;
    c->rules[0].intercept = run->intercept != NULL;
    c->intercept.run_ca = run->ca;
    while (run->intercept != NULL && str_next_item(&rest, &item))
        if (!value_set(b->arena, &only, c, item, err))
            conf_fault(b->faults, only.name, "%s", err);
    if (c->intercept.only.n > 0)
        c->intercept.only_index = rule_index_of(&c->intercept.only);
}

static void build_captured(struct build *b, const struct list_of_ports *ports,
                           enum listener_kind kind, const char *key)
{
    struct conf *c = b->conf;
    const struct str any[] = {STR("0.0.0.0"), STR("::")},
                     loopback[] = {STR("127.0.0.1"), STR("::1")};
    for (unsigned i = 0; i < 2 * ports->n; i++) {
        struct listener l = {.kind = kind, .where = key, .text = key};
        struct str ip = kind == LISTENER_HOST ? loopback[i % 2] : any[i % 2];
        if (!addr_parse_ip(&l.addr, ip, ports->v[i / 2]))
            continue;
        l.text = arena_printf(b->arena, "port %u", ports->v[i / 2]).p;
        c->listeners = arena_grow(b->arena, c->listeners, c->n_listeners, sizeof l);
        c->listeners[c->n_listeners++] = l;
    }
}

/* Nobody but COMMAND comes, so there are no other listeners but the service's. */
static void build_capture(struct build *b)
{
    struct conf *c = b->conf;
    const struct capture_conf *k = &c->capture;
    unsigned n = 0;
    c->capture.is_on = true;
    for (unsigned i = 0; i < c->n_listeners; i++) {
        if (c->listeners[i].kind == LISTENER_SERVICE)
            c->listeners[n++] = c->listeners[i];
    }
    c->n_listeners = n;
    build_captured(b, &k->http, LISTENER_CAPTURED_HTTP, "capture.http");
    build_captured(b, &k->tunnel, LISTENER_CAPTURED, "capture.tunnel");
    build_captured(b, &k->host_loopback, LISTENER_HOST, "capture.host_loopback");
}

void build_conf(struct conf *c, struct settings *s, const struct conf_run *run,
                struct conf_faults *faults)
{
    struct build b = {.conf = c, .arena = &c->arena, .faults = faults};
    c->rules = arena_alloc(b.arena, (s->n_rules + 1) * sizeof(c->rules[0]));
    c->n_rules = 1;
    build_base(&b, &c->rules[0]);
    build_globals(&b, s);
    build_run(&b, run);
    build_rules(&b, s);
    build_forwards(&b, s);
    build_oauths(&b, s);
    if (run->capture)
        build_capture(&b);
    load_users(&b, s);
    if (!s->is_partial)
        check_conf(c, faults);
    c->text = settings_print(s);
}
