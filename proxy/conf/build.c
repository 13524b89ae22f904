/* SPDX-License-Identifier: Apache-2.0 */
/* Settings become a snapshot. rules[0] is made first, from the defaults and the upstream and tls
 * sections; every rule starts as its copy, so that a key which is not written needs no further
 * thought. */
#include "conf/build.h"

#include <stdlib.h>

#include "conf/files.h"
#include "conf/policy.h"
#include "conf/value.h"

/* What holds where nothing is written. A rule's own defaults came with its base. */
static void set_default(const struct key *k, void *base)
{
    char err[VALUE_ERR];
    if (!key_is_list(k)) {
        if (k->def[0] != '\0' || !k->inherits) {
            bool ok = value_set(k, base, str_from(k->def), err);
            (void)ok; /* test_keys holds that each default is valid */
        }
        return;
    }
    struct str rest = str_from(k->def);
    struct str item;
    while (str_next_item(&rest, &item)) {
        bool ok = value_set(k, base, item, err);
        (void)ok;
    }
}

/* "" and 0 in a rule mean what they mean in the example file: as in upstream and tls. */
static bool takes_base(const struct key *k, const char *text)
{
    return k->inherits && (text[0] == '\0' || (k->type == KEY_NUMBER && strcmp(text, "0") == 0));
}

/* Every value that is wrong is a fault of its own; the field keeps what it had. */
static void set_written(const struct key *k, void *base, const struct setting *s,
                        struct conf_faults *faults)
{
    for (unsigned i = 0; i < s->n; i++) {
        char err[VALUE_ERR];
        if (takes_base(k, s->v[i].text))
            continue;
        if (!value_set(k, base, str_from(s->v[i].text), err))
            conf_key_fault(faults, s->v[i].where, k->name, err);
    }
}

/* Keeps where a text was written. */
static void note_where(struct rule *r, const char *key, const char *where)
{
    r->written = xrealloc(r->written, (r->n_written + 1) * sizeof(r->written[0]));
    r->written[r->n_written++] = (struct written){key, xstrdup(where)};
}

static void note_text(struct rule *r, const struct key *k, const struct setting *s)
{
    if (k->type == KEY_TEXT && s->n > 0 && !takes_base(k, s->v[0].text))
        note_where(r, k->name, s->v[0].where);
}

static void set_key(const struct key *k, void *base, const struct setting *s,
                    struct conf_faults *faults)
{
    if (s->source == FROM_NOWHERE)
        set_default(k, base);
    else
        set_written(k, base, s, faults);
}

/* All texts of a rule are there from the beginning, so that nobody tests for NULL. */
static void init_base(struct rule *r)
{
    *r = (struct rule){.pattern = xstrdup("*"), .where = xstrdup(""), .host = xstrdup("*")};
    r->upgrade = true;
    r->connect_host = xstrdup("");
    r->sni = xstrdup("");
    r->tls = (struct tls_policy){.verify = true,
                                 .ca_file = xstrdup(""),
                                 .ca_dir = xstrdup(""),
                                 .ca_extra = xstrdup(""),
                                 .crl_file = xstrdup(""),
                                 .client_cert = xstrdup(""),
                                 .client_key = xstrdup(""),
                                 .ciphers = xstrdup(""),
                                 .ciphersuites = xstrdup("")};
}

static void copy_base(struct rule *r, const struct rule *base)
{
    *r = *base;
    r->pattern = r->where = r->host = NULL;
    r->written = NULL;
    r->n_written = 0;
    r->connect_host = xstrdup(base->connect_host);
    r->sni = xstrdup(base->sni);
    r->tls.ca_file = xstrdup(base->tls.ca_file);
    r->tls.ca_dir = xstrdup(base->tls.ca_dir);
    r->tls.ca_extra = xstrdup(base->tls.ca_extra);
    r->tls.crl_file = xstrdup(base->tls.crl_file);
    r->tls.client_cert = xstrdup(base->tls.client_cert);
    r->tls.client_key = xstrdup(base->tls.client_key);
    r->tls.ciphers = xstrdup(base->tls.ciphers);
    r->tls.ciphersuites = xstrdup(base->tls.ciphersuites);
}

/* "host" or "host:port" from the section's title. */
static void set_pattern(struct rule *r, const struct section *section, struct conf_faults *faults)
{
    struct str text = str_from(section->title);
    struct str host, port;
    char err[VALUE_ERR] = "is not a name, \"*.suffix\" or \"*\", with \":port\" optionally";
    bool ok = str_find(text, '/') == text.len && value_split(text, &host, &port) &&
              value_pattern(host, &r->host, err) &&
              (port.len == 0 || value_port(port, &r->match_port, err));
    if (!ok)
        conf_fault(faults, section->where, "rule \"%s\": %s", section->title, err);
    if (r->host == NULL)
        r->host = xstrdup("");
    r->pattern = xstrdup(section->title);
    r->where = xstrdup(section->where);
}

static bool is_set(struct section *section, const char *name)
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

static void build_rule(struct rule *r, const struct rule *base, struct section *section,
                       struct conf_faults *faults)
{
    copy_base(r, base);
    set_pattern(r, section, faults);
    unsigned n;
    const struct key *keys = keys_of(KEY_RULE, &n);
    for (unsigned i = 0; i < n; i++) {
        if (section->settings[i].source == FROM_NOWHERE)
            continue;
        set_written(&keys[i], r, &section->settings[i], faults);
        note_text(r, &keys[i], &section->settings[i]);
    }
    /* "set = only this" holds for the rule's file too: a private CA is not joined by others. */
    if (is_set(section, "ca_file"))
        r->tls.ca_dir[0] = r->tls.ca_extra[0] = '\0';
    if (is_set(section, "client_cert") && !is_set(section, "client_key")) {
        free(r->tls.client_key);
        r->tls.client_key = xstrdup(r->tls.client_cert);
        note_where(r, "client_key", setting_where(section, "client_cert"));
    }
}

static void build_rules(struct conf *c, struct settings *s, struct conf_faults *faults)
{
    c->rules = xrealloc(c->rules, (s->n_rules + 1) * sizeof(c->rules[0]));
    c->n_rules = s->n_rules + 1;
    c->rules[0].tunnel_timeout = c->client.tunnel_timeout;
    for (unsigned i = 1; i < c->n_rules; i++) {
        build_rule(&c->rules[i], &c->rules[0], s->rules[i - 1], faults);
        c->rules[i].index = i;
    }
    c->index = rule_index_new(c->rules, c->n_rules);
}

static void build_forward(struct forward *f, struct section *section, bool is_partial,
                          struct conf_faults *faults)
{
    f->listener = xstrdup(section->title);
    unsigned n;
    const struct key *keys = keys_of(KEY_FORWARD, &n);
    for (unsigned i = 0; i < n; i++) {
        const struct setting *s = &section->settings[i];
        bool is_missing = keys[i].type == KEY_TO && s->source == FROM_NOWHERE;
        if (is_missing && !is_partial)
            conf_fault(faults, section->where, "forward \"%s\": to is not set", section->title);
        if (!is_missing)
            set_key(&keys[i], f, s, faults);
    }
    if (f->host == NULL)
        f->host = xstrdup("");
    if (f->path == NULL)
        f->path = xstrdup("");
}

static void add_forward_listener(struct conf *c, const struct forward *f,
                                 const struct section *section, struct conf_faults *faults)
{
    static const struct key listen = {
        .name = "forward", .type = KEY_LISTEN, .offset = offsetof(struct conf, listeners)};
    char err[VALUE_ERR];
    if (!value_set(&listen, c, str_from(section->title), err)) {
        conf_key_fault(faults, section->where, listen.name, err);
        return;
    }
    c->listeners[c->n_listeners - 1].forward = f;
    c->listeners[c->n_listeners - 1].where = xstrdup(section->where);
}

static void build_forwards(struct conf *c, struct settings *s, struct conf_faults *faults)
{
    c->forwards = xcalloc(s->n_forwards + 1, sizeof(c->forwards[0]));
    c->n_forwards = s->n_forwards;
    for (unsigned i = 0; i < s->n_forwards; i++) {
        build_forward(&c->forwards[i], s->forwards[i], s->is_partial, faults);
        add_forward_listener(c, &c->forwards[i], s->forwards[i], faults);
    }
}

/* Listeners are set one by one, so that each knows where it was written. */
static void build_listeners(struct conf *c, const struct key *k, const struct setting *s,
                            struct conf_faults *faults)
{
    unsigned before = c->n_listeners;
    if (s->source == FROM_NOWHERE) {
        set_default(k, c);
        for (unsigned i = before; i < c->n_listeners; i++)
            c->listeners[i].where = xstrdup("default");
        return;
    }
    for (unsigned i = 0; i < s->n; i++) {
        struct setting one = {.v = &s->v[i], .n = 1, .source = s->source};
        before = c->n_listeners;
        set_written(k, c, &one, faults);
        if (c->n_listeners > before)
            c->listeners[before].where = xstrdup(s->v[i].where);
    }
}

/* Needs all global keys; a missing file is a fault where its name was written. */
static void load_users(struct conf *c, struct settings *s, struct conf_faults *faults)
{
    if (c->client.auth_file[0] == '\0')
        return;
    const struct setting *file =
        section_setting(s->global, key_find(KEY_GLOBAL, STR("client.auth_file")));
    const char *where = file->n > 0 ? file->v[0].where : "";
    conf_files_note(&c->files, c->client.auth_file);
    c->htpasswd = htpasswd_load(c->client.auth_file, where, faults);
}

void build_conf(struct conf *c, struct settings *s, struct conf_faults *faults)
{
    c->rules = xcalloc(1, sizeof(c->rules[0]));
    c->n_rules = 1;
    init_base(&c->rules[0]);
    unsigned n;
    const struct key *keys = keys_of(KEY_GLOBAL, &n);
    for (unsigned i = 0; i < n; i++) {
        const struct setting *setting = &s->global->settings[i];
        if (keys[i].type == KEY_LISTEN || keys[i].type == KEY_SERVICE)
            build_listeners(c, &keys[i], setting, faults);
        else
            set_key(&keys[i], keys[i].in_base ? (void *)&c->rules[0] : c, setting, faults);
        note_text(&c->rules[0], &keys[i], setting);
    }
    c->destination.allow_index = rule_index_of(&c->destination.allow_hosts);
    c->destination.deny_index = rule_index_of(&c->destination.deny_hosts);
    /* Nobody chose what another key implied: the check of open listeners must not take it so. */
    const struct key *allow = key_find(KEY_GLOBAL, STR("client.allow"));
    c->client.allow_is_set = section_setting(s->global, allow)->source > FROM_IMPLIED;
    if (c->client.auth_file == NULL)
        c->client.auth_file = xstrdup("");
    if (c->log.access == NULL)
        c->log.access = xstrdup("off");
    build_rules(c, s, faults);
    build_forwards(c, s, faults);
    load_users(c, s, faults);
    if (!s->is_partial)
        check_conf(c, faults);
    c->text = settings_print(s);
}
