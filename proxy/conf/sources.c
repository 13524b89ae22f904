/* SPDX-License-Identifier: Apache-2.0 */
/* Variables and options: a name, "=" and a text each, which the table of keys makes sense of. */
#include "conf/sources.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/log.h"
#include "conf/suggest.h"

/* A list in the environment is one text, split at commas; an empty one is the empty list. */
static void add_elements(struct settings *s, struct setting *to, const struct key *k,
                         struct value v)
{
    setting_empty(to, FROM_ENVIRONMENT);
    struct str rest = str_from(v.text);
    struct str item;
    while (str_next_part(&rest, ',', &item)) {
        char *text = xstrndup(item.p, item.len);
        setting_add(s, to, k, value_at(text, v.where), FROM_ENVIRONMENT);
        free(text);
    }
}

/* LISTENER=URL */
static bool add_forward(struct settings *s, struct str text, const char *where,
                        enum setting_source source)
{
    size_t eq = str_find(text, '=');
    if (eq == 0 || eq + 1 >= text.len)
        return false;
    struct str listener = str_make(text.p, eq);
    struct section *section = settings_section(s, KEY_FORWARD, listener, where, source);
    const struct key *k = key_find(KEY_FORWARD, STR("to"));
    char *url = xstrndup(text.p + eq + 1, text.len - eq - 1);
    setting_add(s, section_setting(section, k), k, value_at(url, where), source);
    free(url);
    return true;
}

/* True for what Kubernetes puts into the environment for a service that is called tlsfan. */
static bool is_from_kubernetes(struct str name)
{
    if (str_eq(name, STR("TLSFAN_SERVICE_HOST")) || str_eq(name, STR("TLSFAN_PORT")))
        return true;
    if (str_starts(name, STR("TLSFAN_SERVICE_PORT")))
        return name.len == sizeof("TLSFAN_SERVICE_PORT") - 1 ||
               name.p[sizeof("TLSFAN_SERVICE_PORT") - 1] == '_';
    struct str rest = str_from_byte(name, sizeof("TLSFAN_PORT_") - 1);
    return str_starts(name, STR("TLSFAN_PORT_")) && rest.len > 0 &&
           isdigit((unsigned char)rest.p[0]);
}

/* A key's variable, or one that only looks like ours. */
static void add_variable(struct settings *s, struct str name, const char *text)
{
    char *where = xstrndup(name.p, name.len);
    const struct key *k = key_find_env(name);
    if (k != NULL) {
        struct setting *setting = section_setting(s->global, k);
        if (key_is_list(k))
            add_elements(s, setting, k, value_at(text, where));
        else
            setting_add(s, setting, k, value_at(text, where), FROM_ENVIRONMENT);
    } else if (!is_from_kubernetes(name)) {
        char hint[SUGGEST_MAX];
        log_warning("%s: unknown variable, ignored%s", where, suggest_variable(hint, name));
    }
    free(where);
}

static void add_forwards(struct settings *s, const char *text, struct conf_faults *faults)
{
    struct str rest = str_from(text);
    struct str item;
    while (str_next_part(&rest, ',', &item))
        if (!add_forward(s, item, "TLSFAN_FORWARD", FROM_ENVIRONMENT))
            conf_fault(faults, "TLSFAN_FORWARD", "write LISTENER=URL, not \"%.*s\"", STR_ARG(item));
}

void sources_add_environment(struct settings *s, char **environment, bool is_run,
                             struct conf_faults *faults)
{
    for (char **e = environment; e != NULL && *e != NULL; e++) {
        struct str entry = str_from(*e);
        struct str name = str_make(entry.p, str_find(entry, '='));
        if (!str_starts(name, STR("TLSFAN_")) || name.len == entry.len)
            continue;
        const char *text = *e + name.len + 1;
        bool is_listener = str_eq(name, STR("TLSFAN_LISTEN")) ||
                           str_eq(name, STR("TLSFAN_FORWARD")) ||
                           str_eq(name, STR("TLSFAN_SERVICE"));
        if (is_listener && is_run)
            continue;
        if (str_eq(name, STR("TLSFAN_FORWARD")))
            add_forwards(s, text, faults);
        else
            add_variable(s, name, text);
    }
}

/* Splits "rule[TITLE].key" in SCOPE, TITLE and KEY; any other name is a key outside sections. */
static void split_name(struct str name, enum key_scope *scope, struct str *title, struct str *key)
{
    static const struct str prefixes[KEY_SCOPES] = {[KEY_RULE] = STR_INIT("rule["),
                                                    [KEY_FORWARD] = STR_INIT("forward["),
                                                    [KEY_OAUTH] = STR_INIT("oauth[")};
    *scope = KEY_GLOBAL;
    *title = STR("");
    *key = name;
    for (unsigned i = KEY_RULE; i < KEY_SCOPES; i++) {
        if (!str_starts(name, prefixes[i]))
            continue;
        /* A pattern may hold brackets of its own: "rule[[::1]:443].port". */
        for (size_t at = name.len; at > prefixes[i].len + 1; at--) {
            if (name.p[at - 2] != ']' || name.p[at - 1] != '.')
                continue;
            *scope = (enum key_scope)i;
            *title = str_make(name.p + prefixes[i].len, at - 2 - prefixes[i].len);
            *key = str_from_byte(name, at);
            return;
        }
    }
}

/* NAME=TEXT where NAME may be that of a key in a rule or forward, which is made when it is new. */
static void add_named(struct settings *s, struct str name, const char *text, const char *where,
                      struct conf_faults *faults)
{
    enum key_scope scope;
    struct str title, key_name;
    split_name(name, &scope, &title, &key_name);
    const struct key *k = key_find(scope, key_name);
    if (k == NULL) {
        char hint[SUGGEST_MAX];
        struct str before = str_make(name.p, name.len - key_name.len);
        conf_fault(faults, where, "unknown key%s", suggest_option(hint, scope, before, key_name));
        return;
    }
    struct section *section = settings_section(s, scope, title, where, FROM_OPTION);
    struct setting *setting = section_setting(section, k);
    if (key_is_list(k) && *text == '\0')
        setting_empty(setting, FROM_OPTION);
    else
        setting_add(s, setting, k, value_at(text, where), FROM_OPTION);
}

void sources_add_option(struct settings *s, const char *option, const char *flag,
                        struct conf_faults *faults)
{
    struct str o = str_from(option);
    size_t eq = str_find(o, '=');
    if (eq == o.len || eq == 0) {
        conf_fault(faults, "-o", "write KEY=VALUE, not \"%s\"", option);
        return;
    }
    struct str name = str_make(o.p, eq);
    bool is_forward = str_eq(name, STR("forward"));
    const char *own = flag == NULL && is_forward ? "-f" : flag;
    /* A flag of its own has its value for a name. */
    char *where = own == NULL || strcmp(own, "-o") == 0
                      ? xasprintf("-o %.*s", (int)(is_forward ? o.len : eq), option)
                      : xasprintf("%s %s", own, option + eq + 1);
    if (!is_forward)
        add_named(s, name, option + eq + 1, where, faults);
    else if (!add_forward(s, str_from_byte(o, eq + 1), where, FROM_OPTION))
        conf_fault(faults, where, "write LISTENER=URL");
    free(where);
}
