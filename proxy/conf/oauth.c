/* SPDX-License-Identifier: Apache-2.0 */
/* Where access tokens come from: see oauth.h. */
#include "conf/oauth.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/base64.h"
#include "conf/rule.h"

const struct oauth_conf *oauth_find(const struct conf *c, const char *name)
{
    for (unsigned i = 0; i < c->n_oauths; i++)
        if (strcmp(c->oauths[i].name, name) == 0)
            return &c->oauths[i];
    return NULL;
}

bool oauth_is_same(const struct oauth_conf *a, const struct oauth_conf *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->url, b->url) == 0 &&
           str_eq(a->authorization, b->authorization) && str_eq(a->body, b->body);
}

/* ---- what is sent: application/x-www-form-urlencoded (RFC 6749 appendix B) */

/* Owner: the snapshot, once it is whole; made twice, to be counted first. */
struct form {
    char *p; /* NULL: counted only */
    size_t n;
};

static void form_put(struct form *f, struct str s)
{
    if (f->p != NULL && s.len > 0)
        memcpy(f->p + f->n, s.p, s.len);
    f->n += s.len;
}

static void form_encode(struct form *f, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        char hex[3] = {'%', digits[c >> 4], digits[c & 15]};
        if (isalnum(c) || strchr("*-._", c) != NULL)
            form_put(f, str_make(text, 1));
        else if (c == ' ')
            form_put(f, STR("+"));
        else
            form_put(f, str_make(hex, sizeof(hex)));
    }
}

static void form_add(struct form *f, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    if (f->n > 0)
        form_put(f, STR("&"));
    form_put(f, str_from(name));
    form_put(f, STR("="));
    form_encode(f, value);
}

/* Names and values of a server are in any order (§4.4.2). */
static void oauth_write_body(struct form *f, const struct oauth_conf *o, const char *secret)
{
    form_add(f, "grant_type", "client_credentials");
    form_add(f, "scope", o->scope);
    form_add(f, "audience", o->audience);
    if (!o->in_body)
        return;
    form_add(f, "client_id", o->client_id);
    form_add(f, "client_secret", secret);
}

/* Each is encoded before they are joined: a secret may have a colon in it (§2.3.1). */
static void oauth_write_pair(struct form *f, const struct oauth_conf *o, const char *secret)
{
    form_encode(f, o->client_id);
    form_put(f, STR(":"));
    form_encode(f, secret);
}

typedef void (*oauth_write_fn)(struct form *f, const struct oauth_conf *o, const char *secret);

/* What WRITE makes. Heap; LEN gets its bytes. */
static char *oauth_make(const struct oauth_conf *o, const char *secret, oauth_write_fn write,
                        size_t *len)
{
    struct form counted = {0};
    write(&counted, o, secret);
    struct form f = {.p = xmalloc(counted.n + 1)};
    write(&f, o, secret);
    *len = f.n;
    return f.p;
}

static void oauth_free(char *p, size_t n)
{
    explicit_bzero(p, n);
    free(p);
}

static struct str oauth_keep(struct secret_store *store, const char *p, size_t n)
{
    return str_make(secret_new(store, str_make(p, n))->text, n);
}

static void oauth_make_basic(struct oauth_conf *o, const char *secret, struct secret_store *store)
{
    static const char word[] = "Basic ";
    const size_t before = sizeof(word) - 1;
    size_t n;
    char *pair = oauth_make(o, secret, oauth_write_pair, &n);
    size_t room = before + base64_encoded(n);
    char *value = xmalloc(room);
    memcpy(value, word, before);
    size_t len = before + base64_encode(value + before, str_make(pair, n));
    o->authorization = oauth_keep(store, value, len);
    oauth_free(pair, n);
    oauth_free(value, room);
}

/* ---- checks */

/* A value that was no good has been told of. */
static bool oauth_is_told(const struct conf_faults *faults, const char *key)
{
    char *name = xasprintf(": %s: ", key);
    bool is_told = faults->text != NULL && strstr(faults->text, name) != NULL;
    free(name);
    return is_told;
}

static bool oauth_is_whole(const struct oauth_conf *o, struct conf_faults *faults)
{
    const struct {
        const char *key;
        bool is_set;
    } keys[] = {{"token_url", o->host[0] != '\0'},
                {"client_id", o->client_id[0] != '\0'},
                {"client_secret", o->secret.n > 0}};
    bool ok = true;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (keys[i].is_set)
            continue;
        ok = false;
        if (!oauth_is_told(faults, keys[i].key))
            conf_fault(faults, o->where, "oauth \"%s\": %s is not set", o->name, keys[i].key);
    }
    return ok;
}

bool oauth_check(const struct oauth_conf *o, const struct conf *c, struct conf_faults *faults)
{
    if (!oauth_is_whole(o, faults))
        return false;
    if (rule_find(c, str_from(o->host), o->port)->tls.verify)
        return true;
    conf_fault(faults, o->where,
               "oauth \"%s\": a secret goes nowhere without verification: verify is off in the "
               "rule for %s",
               o->name, o->host);
    return false;
}

static void oauth_write_secret(struct form *f, const struct oauth_conf *o, const char *secret)
{
    (void)o;
    form_encode(f, secret);
}

void oauth_finish(struct oauth_conf *o, const char *secret, struct secret_store *store)
{
    size_t n;
    o->store = store;
    o->value = secret;
    char *body = oauth_make(o, secret, oauth_write_body, &n);
    o->body = oauth_keep(store, body, n);
    oauth_free(body, n);
    char *encoded = oauth_make(o, secret, oauth_write_secret, &n);
    o->encoded = oauth_keep(store, encoded, n);
    oauth_free(encoded, n);
    if (!o->in_body)
        oauth_make_basic(o, secret, store);
}
