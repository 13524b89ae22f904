/* SPDX-License-Identifier: Apache-2.0 */
/* Values that stand elsewhere: see secret.h. What a source holds is read once for all texts that
 * name it. */
#include "conf/secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "conf/files.h"
#include "conf/oauth.h"
#include "conf/parent.h"
#include "conf/rule.h"

static const char edits_key[] = "request_header";
static const char secret_key_name[] = "client_secret";
static const char secret_too_long[] = "is longer than 64 KiB";

/* What is being loaded. */
struct secret_load {
    struct conf *conf;
    const struct conf *last; /* NULL: none */
    struct conf_faults *faults;
};

/* ---- reading */

static char *secret_key(const struct secret_part *p)
{
    return xasprintf("%s%s", secret_text_begin(p->kind).p + 1, p->text);
}

/* Why S cannot be a secret; NULL when it can. */
static const char *secret_wrong(struct str s)
{
    if (s.len == 0)
        return "is empty";
    if (s.len > SECRET_MAX)
        return secret_too_long;
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return "has a control byte in it, or more than one line";
    return NULL;
}

/* Without the end of its last line. */
static struct str secret_line(struct str s)
{
    if (s.len > 0 && s.p[s.len - 1] == '\n')
        s.len -= s.len > 1 && s.p[s.len - 2] == '\r' ? 2 : 1;
    return s;
}

static void secret_warn_of_readers(const char *path, const char *where)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IROTH) != 0)
        log_warning("%s: {file:%s} can be read by every user of this machine: chmod o-r", where,
                    path);
}

/* What a fault says of a secret that is not there begins after its name: " is empty", ": No such
 * file or directory". */
static const char *secret_gap(const char *why)
{
    return why[0] >= 'A' && why[0] <= 'Z' ? ": " : " ";
}

/* Reads PATH for C; NULL with *WHY. */
static struct secret_bytes *secret_read(struct conf *c, const char *path, const char **why)
{
    size_t len;
    struct secret_bytes *k = NULL;
    /* A line end more; /dev/zero has no end. */
    char *text = conf_files_read_short(&c->files, path, SECRET_MAX + 3, &len);
    if (text == NULL) {
        *why = errno == EFBIG ? secret_too_long : strerror(errno);
        return NULL;
    }
    struct str line = secret_line(str_make(text, len));
    *why = secret_wrong(line);
    if (*why == NULL)
        k = secret_new(&c->secrets, line);
    explicit_bzero(text, len);
    free(text);
    return k;
}

static struct secret_bytes *secret_get(struct conf *c, const char *name, const char **why)
{
    const char *text = getenv(name);
    *why = text == NULL ? "is not set" : secret_wrong(str_from(text));
    return *why == NULL ? secret_new(&c->secrets, str_from(text)) : NULL;
}

/* What was good before holds on where it is good no more. */
static struct secret_bytes *secret_of_before(const struct secret_load *l, const char *key,
                                             const char *where, const char *why)
{
    const struct secret_bytes *old = l->last == NULL ? NULL : secret_find(&l->last->secrets, key);
    if (old == NULL)
        return NULL;
    log_warning("%s: {%s}%s%s: the last value stays in use", where, key, secret_gap(why), why);
    return secret_new(&l->conf->secrets, str_make(old->text, old->len));
}

/* Reads what P, called NAME, stands for. NULL with *WHY. */
static struct secret_bytes *secret_fetch(const struct secret_load *l, const struct secret_part *p,
                                         const char *name, const char *where, const char **why)
{
    struct conf *c = l->conf;
    bool is_file = p->kind == SECRET_FILE;
    struct secret_bytes *k = is_file ? secret_read(c, p->text, why) : secret_get(c, p->text, why);
    if (k != NULL && is_file)
        secret_warn_of_readers(p->text, where);
    if (k == NULL)
        k = secret_of_before(l, name, where, *why);
    if (k == NULL)
        return NULL;
    secret_name(&c->secrets, k, name);
    return k;
}

/* What P, no text and no token, stands for is known from now on. False with a fault. */
static bool secret_source(const struct secret_load *l, const struct secret_part *p,
                          const char *where, const char *key)
{
    const char *why = NULL;
    char *name = secret_key(p);
    bool ok = secret_find(&l->conf->secrets, name) != NULL ||
              secret_fetch(l, p, name, where, &why) != NULL;
    if (!ok) {
        char *reason = xasprintf("{%s}%s%s", name, secret_gap(why), why);
        conf_key_fault(l->faults, where, key, reason);
        free(reason);
    }
    free(name);
    return ok;
}

static struct str secret_part_value(const struct conf *c, const struct secret_part *p,
                                    struct str token)
{
    if (p->kind == SECRET_TEXT)
        return str_from(p->text);
    if (p->kind == SECRET_OAUTH)
        return token;
    char *name = secret_key(p);
    const struct secret_bytes *k = secret_find(&c->secrets, name);
    free(name);
    return k == NULL ? STR("") : str_make(k->text, k->len);
}

static size_t secret_text_size(const struct conf *c, const struct secret_text *t, struct str token)
{
    size_t n = 0;
    for (unsigned i = 0; i < t->n; i++)
        n += secret_part_value(c, &t->parts[i], token).len;
    return n;
}

static void secret_text_write(char *dst, const struct conf *c, const struct secret_text *t,
                              struct str token)
{
    for (unsigned i = 0; i < t->n; i++) {
        struct str s = secret_part_value(c, &t->parts[i], token);
        if (s.len > 0)
            memcpy(dst, s.p, s.len);
        dst += s.len;
    }
    *dst = '\0';
}

struct str secret_text_with(struct arena *arena, const struct conf *c, const struct secret_text *t,
                            struct str token)
{
    size_t n = secret_text_size(c, t, token);
    char *text = arena_alloc(arena, n + 1);
    secret_text_write(text, c, t, token);
    return str_make(text, n);
}

static const char *secret_resolve(const struct secret_load *l, const struct secret_text *t,
                                  const char *where, const char *key)
{
    struct conf *c = l->conf;
    bool ok = true;
    for (unsigned i = 0; i < t->n; i++)
        if (t->parts[i].kind == SECRET_FILE || t->parts[i].kind == SECRET_ENV)
            ok = secret_source(l, &t->parts[i], where, key) && ok;
    size_t n = ok ? secret_text_size(c, t, STR("")) : 0;
    if (n > SECRET_MAX)
        conf_key_fault(l->faults, where, key, "is longer than 64 KiB with its secrets in it");
    if (!ok || n > SECRET_MAX)
        return NULL;
    struct secret_bytes *k = secret_room(&c->secrets, n);
    secret_text_write(k->text, c, t, STR(""));
    return k->text;
}

/* ---- all of a snapshot */

/* Where R sends to may not hear of E. */
static const char *secret_denied(const struct rule *r)
{
    if (strcmp(r->host, "*") == 0)
        return "a secret is for hosts that are named, not for \"*\"";
    if (!r->tls.verify)
        return "a secret goes nowhere without verification: verify is off in this rule";
    if (!r->upgrade)
        return "a secret goes nowhere without TLS: upgrade is off in this rule";
    return NULL;
}

/* One rule is for one token, by which a 401 is known to be about it. */
static void secret_link_token(const struct secret_load *l, struct rule *r,
                              const struct header_edit *e)
{
    for (unsigned i = 0; i < e->text.n; i++) {
        const struct secret_part *p = &e->text.parts[i];
        if (p->kind != SECRET_OAUTH)
            continue;
        const struct oauth_conf *o = oauth_find(l->conf, p->text);
        char *reason = NULL;
        if (o == NULL)
            reason = xasprintf("there is no oauth \"%s\"", p->text);
        else if (r->oauth != NULL && r->oauth != o)
            reason = xasprintf("{oauth:%s} is a second token in one rule, beside {oauth:%s}",
                               p->text, r->oauth->name);
        if (reason != NULL)
            conf_key_fault(l->faults, e->where, edits_key, reason);
        else
            r->oauth = o;
        free(reason);
    }
}

static void secret_load_edit(const struct secret_load *l, struct rule *r, struct header_edit *e)
{
    const char *why = secret_denied(r);
    if (why != NULL) {
        conf_key_fault(l->faults, e->where, edits_key, why);
        return;
    }
    const char *value = secret_resolve(l, &e->text, e->where, edits_key);
    e->value = e->text.is_token ? NULL : value;
    secret_link_token(l, r, e);
}

static void secret_load_oauth(const struct secret_load *l, struct oauth_conf *o)
{
    const char *value = NULL;
    if (!oauth_check(o, l->conf, l->faults))
        return;
    if (o->secret.is_token)
        conf_key_fault(l->faults, o->secret_where, secret_key_name, "is no place for {oauth:}");
    else
        value = secret_resolve(l, &o->secret, o->secret_where, secret_key_name);
    if (value != NULL)
        oauth_finish(o, value, &l->conf->secrets);
}

/* A parent that a rule inherits is the base's. */
static void secret_load_parent(const struct secret_load *l, const struct rule *r)
{
    const struct conf *c = l->conf;
    const char *key = r->index == 0 ? "upstream.proxy" : "proxy";
    struct parent *p = r->parent;
    if (p == NULL || p->password.n == 0 || (r->index > 0 && p == c->rules[0].parent))
        return;
    const char *password = secret_resolve(l, &p->password, rule_where(c, r, key), key);
    if (password != NULL)
        parent_finish(p, password, &l->conf->secrets);
}

void secrets_load(struct conf *c, const struct conf *last, struct conf_faults *faults)
{
    const struct secret_load load = {c, last, faults};
    for (unsigned i = 0; i < c->n_oauths; i++)
        secret_load_oauth(&load, &c->oauths[i]);
    for (unsigned i = 0; i < c->n_rules; i++)
        secret_load_parent(&load, &c->rules[i]);
    for (unsigned i = 1; i < c->n_rules; i++) {
        struct rule *r = &c->rules[i];
        for (unsigned n = 0; n < r->n_edits; n++)
            if (r->edits[n].text.is_secret)
                secret_load_edit(&load, r, &r->edits[n]);
    }
}

bool secrets_have_variable(const struct conf *c, struct str name)
{
    char *key = xasprintf("env:%.*s", STR_ARG(name));
    bool has = secret_find(&c->secrets, key) != NULL;
    free(key);
    return has;
}
