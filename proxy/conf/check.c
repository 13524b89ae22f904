/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that need more than one key. The first of them keeps tlsfan from becoming an open proxy by
 * a typing error: who listens beyond loopback says who may come. */
#include "conf/check.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/rule.h"
#include "conf/suggest.h"

static void check_open(const struct conf *c, const struct listener *l, struct conf_faults *faults)
{
    if (addr_is_loopback(&l->addr) || c->client.allow_is_set || listener_is_captured(l->kind))
        return;
    if (l->kind == LISTENER_FORWARD)
        conf_fault(faults, l->where,
                   "forward %s is open to other machines and asks for no credentials: set "
                   "client.allow, for example to {\"private\"}",
                   l->text);
    else if (l->kind == LISTENER_TRANSPARENT)
        conf_fault(faults, l->where,
                   "listener %s is open to other machines and asks for no credentials: set "
                   "client.allow, for example to {\"private\"}",
                   l->text);
    else if (l->kind == LISTENER_SERVICE && c->client.auth_file[0] == '\0')
        conf_fault(faults, l->where,
                   "service listener %s is open to other machines: set client.allow, for example "
                   "to {\"private\"}, or client.auth_file",
                   l->text);
    else if (c->client.auth_file[0] == '\0')
        conf_fault(faults, l->where,
                   "listener %s is open to other machines: set client.allow, for example to "
                   "{\"private\"}, or client.auth_file",
                   l->text);
}

/* Both cannot be bound: the same address, or one of them is all addresses of the other's family. */
static bool check_is_same(const struct addr *a, const struct addr *b)
{
    if (addr_equal(a, b))
        return true;
    return addr_family(a) != AF_UNIX && addr_family(a) == addr_family(b) &&
           addr_port(a) == addr_port(b) && (addr_is_any(a) || addr_is_any(b));
}

static const char *listener_called(const struct listener *l)
{
    return l->kind == LISTENER_SERVICE   ? "the service listener"
           : l->kind == LISTENER_FORWARD ? "the forward"
                                         : "the proxy listener";
}

static const char *listener_key(const struct listener *l)
{
    return l->kind == LISTENER_SERVICE ? "service" : "listen";
}

/* Told of the one that somebody wrote. */
static void tell_double(const struct listener *l, const struct listener *other,
                        struct conf_faults *faults)
{
    static const char by_default[] = "default";
    if (strcmp(l->where, by_default) == 0) {
        const struct listener *swap = l;
        l = other;
        other = swap;
    }
    bool is_default = strcmp(other->where, by_default) == 0;
    bool is_written_twice = addr_equal(&l->addr, &other->addr) &&
                            (l->kind == LISTENER_SERVICE) == (other->kind == LISTENER_SERVICE);
    const char *called = l->kind == LISTENER_SERVICE ? "service listener" : "listener";
    if (is_default && addr_equal(&l->addr, &other->addr))
        conf_fault(faults, l->where,
                   "%s %s is also %s (its default): choose another port, or set %s", called,
                   l->text, listener_called(other), listener_key(other));
    else if (is_default)
        conf_fault(faults, l->where,
                   "%s %s takes the port of %s, too (%s, its default): choose another, or set %s",
                   called, l->text, listener_called(other), other->text, listener_key(other));
    else if (is_written_twice)
        conf_fault(faults, l->where, "listener %s is written twice", l->text);
    else
        conf_fault(faults, l->where, "%s %s takes the port of %s %s (%s), too: choose another",
                   called, l->text, listener_called(other), other->text, other->where);
}

static void check_double(const struct conf *c, unsigned at, struct conf_faults *faults)
{
    const struct listener *l = &c->listeners[at];
    bool is_captured = listener_is_captured(l->kind);
    if (is_captured || (addr_family(&l->addr) != AF_UNIX && addr_port(&l->addr) == 0))
        return;
    for (unsigned i = 0; i < at; i++) {
        if (!check_is_same(&c->listeners[i].addr, &l->addr) ||
            listener_is_captured(c->listeners[i].kind))
            continue;
        tell_double(l, &c->listeners[i], faults);
        return;
    }
}

/* Why the file PATH could not be appended to; NULL when it could. Nothing is made or opened. */
static const char *why_not_writable(const char *path)
{
    struct stat st;
    const char *name = strrchr(path, '/');
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return strerror(EISDIR);
        return access(path, W_OK) == 0 ? NULL : strerror(errno);
    }
    if (errno != ENOENT)
        return strerror(errno);
    if (name == NULL)
        return access(".", W_OK | X_OK) == 0 ? NULL : strerror(errno);
    char *dir = xstrndup(path, name == path ? 1 : (size_t)(name - path));
    bool ok = access(dir, W_OK | X_OK) == 0;
    free(dir);
    return ok && name[1] != '\0' ? NULL : strerror(ok ? EISDIR : errno);
}

static void check_writable(const struct conf *c, struct conf_faults *faults, const char *key,
                           const char *path)
{
    const char *why = why_not_writable(path);
    if (why == NULL)
        return;
    char *reason = xasprintf("%s cannot be written: %s", path, why);
    conf_key_fault(faults, rule_where(c, &c->rules[0], key), key, reason);
    free(reason);
}

/* The word that ACCESS is, or that was meant: it would be a file in the directory where tlsfan was
 * started. NULL: a file. */
static const char *access_word(struct str access)
{
    static const char *const words[] = {"off", "stderr", "stdout", "syslog"};
    size_t n = sizeof(words) / sizeof(words[0]);
    if (str_find(access, '/') < access.len || str_find(access, '.') < access.len)
        return NULL;
    if (str_eq(access, STR("none")))
        return "off";
    for (size_t i = 0; i < n; i++)
        if (suggest_is_near(access, str_from(words[i])))
            return words[i];
    return NULL;
}

/* log_open() would find the same, but not where it was written, and only when all else is done. */
static void check_access_log(const struct conf *c, struct conf_faults *faults)
{
    const char *access_log = log_sink_name(c->log.access);
    const char *where = rule_where(c, &c->rules[0], "log.access");
    const char *word = access_word(str_from(access_log));
    if (access_log[0] == '\0') {
        conf_key_fault(faults, where, "log.access",
                       "is empty: write off, stderr, stdout, syslog or a file");
        return;
    }
    if (word != NULL && strcmp(word, access_log) != 0) {
        char *reason = xasprintf("did you mean %s? A file of that name is ./%s", word, access_log);
        conf_key_fault(faults, where, "log.access", reason);
        free(reason);
    }
    if (word != NULL)
        return;
    check_writable(c, faults, "log.access", access_log);
}

static bool has_same(const struct rule *a, const struct rule *b)
{
    return a->match_port == b->match_port && strcmp(a->host, b->host) == 0;
}

/* A later rule with the same pattern would never match. Sorted, so that 10,000 rules are checked at
 * once. */
static int compare_rules(const void *pa, const void *pb)
{
    const struct rule *a = *(const struct rule *const *)pa;
    const struct rule *b = *(const struct rule *const *)pb;
    int d = strcmp(a->host, b->host);
    if (d == 0)
        d = (int)a->match_port - (int)b->match_port;
    return d != 0 ? d : (a->index < b->index ? -1 : 1);
}

static void check_rules(const struct conf *c, struct conf_faults *faults)
{
    unsigned n = c->n_rules - 1;
    const struct rule **sorted = xcalloc(n + 1, sizeof(*sorted));
    for (unsigned i = 0; i < n; i++)
        sorted[i] = &c->rules[i + 1];
    qsort(sorted, n, sizeof(*sorted), compare_rules);
    for (unsigned i = 1; i < n; i++)
        if (has_same(sorted[i], sorted[i - 1]) && sorted[i]->host[0] != '\0')
            conf_fault(faults, sorted[i]->where, "rule \"%s\": %s has the same pattern",
                       sorted[i]->pattern, sorted[i - 1]->where);
    free(sorted);
}

/* A pin is a second lock behind verification. Without that there is no chain whose keys mean
 * anything, and a rule that writes both would seem to be safer than it is. */
static void check_pins(const struct conf *c, struct conf_faults *faults)
{
    for (unsigned i = 1; i < c->n_rules; i++) {
        const struct rule *r = &c->rules[i];
        if (r->tls.pins.n == 0 || r->tls.verify)
            continue;
        char *name = xasprintf("rule \"%s\": pin_sha256", r->pattern);
        conf_key_fault(faults, rule_where(c, r, "pin_sha256"), name,
                       "needs verify = on; to take a certificate that no CA has issued, name its "
                       "file in ca_file");
        free(name);
    }
}

/* Two files of which one is no use without the other. */
struct pair {
    const char *keys[2], *values[2];
};

static void check_pair(const struct conf *c, const struct pair *p, struct conf_faults *faults)
{
    unsigned set = p->values[0][0] == '\0';
    if (p->values[set][0] == '\0' || p->values[!set][0] != '\0')
        return;
    char *reason = xasprintf("is set, but %s is not", p->keys[!set]);
    conf_key_fault(faults, rule_where(c, &c->rules[0], p->keys[set]), p->keys[set], reason);
    free(reason);
}

static void check_tls(const struct conf *c, struct conf_faults *faults)
{
    const struct client_conf *k = &c->client;
    check_pair(c, &(struct pair){{"client.cert", "client.key"}, {k->cert, k->key}}, faults);
    for (unsigned i = 0; i < c->n_listeners; i++)
        if (c->listeners[i].tls && k->cert[0] == '\0' && k->key[0] == '\0')
            conf_fault(faults, c->listeners[i].where,
                       "listener %s has no certificate to show: set client.cert and client.key",
                       c->listeners[i].text);
}

/* Each rule by itself, for each is an operator's line. `run --intercept`, which the first one
 * tells, brings a CA of its own; -t makes none. */
static void check_intercept(const struct conf *c, struct conf_faults *faults)
{
    const struct intercept_conf *i = &c->intercept;
    const struct pair ca = {{"intercept.ca_cert", "intercept.ca_key"}, {i->ca_cert, i->ca_key}};
    check_pair(c, &ca, faults);
    for (unsigned n = 1; n < c->n_rules && i->ca_cert[0] == '\0' && !c->rules[0].intercept; n++)
        if (c->rules[n].intercept)
            conf_fault(
                faults, c->rules[n].where,
                "rule \"%s\": intercept is on, but there is no CA: set intercept.ca_cert and "
                "intercept.ca_key; tlsfan --make-ca DIR makes them",
                c->rules[n].pattern);
}

enum { DNS_PORT = 53, CAPTURE_LISTS = 3 };

/* What the ports of COMMAND are to be, in the order of their keys. */
static const char *const capture_keys[CAPTURE_LISTS] = {"capture.http", "capture.tunnel",
                                                        "capture.host_loopback"};

/* The key that has PORT among the first N_LISTS, of the last one in front of entry AT; or NULL. */
static const char *find_port(const struct capture_conf *k, unsigned n_lists, unsigned at,
                             uint16_t port)
{
    const struct list_of_ports *lists[CAPTURE_LISTS] = {&k->http, &k->tunnel, &k->host_loopback};
    for (unsigned i = 0; i < n_lists; i++) {
        unsigned end = i + 1 == n_lists ? at : lists[i]->n;
        for (unsigned n = 0; n < end; n++)
            if (lists[i]->v[n] == port)
                return capture_keys[i];
    }
    return NULL;
}

/* PORT of KEY is in OTHER, too: told where it was written, for one may be a default. */
static void check_port_twice(const struct conf *c, const char *key, const char *other,
                             uint16_t port, struct conf_faults *faults)
{
    const char *where = rule_where(c, &c->rules[0], key);
    bool is_default = where[0] == '\0';
    char *reason = xasprintf("port %u is in %s already", port, is_default ? key : other);
    if (is_default)
        conf_key_fault(faults, rule_where(c, &c->rules[0], other), other, reason);
    else
        conf_key_fault(faults, where, key, reason);
    free(reason);
}

/* A port of COMMAND leads to one place. */
static void check_capture(const struct conf *c, struct conf_faults *faults)
{
    const struct capture_conf *k = &c->capture;
    const struct list_of_ports *lists[CAPTURE_LISTS] = {&k->http, &k->tunnel, &k->host_loopback};
    for (unsigned i = 0; i < CAPTURE_LISTS; i++) {
        const char *key = capture_keys[i];
        for (unsigned n = 0; n < lists[i]->n; n++) {
            const char *other = find_port(k, i + 1, n, lists[i]->v[n]);
            if (lists[i]->v[n] == DNS_PORT)
                conf_key_fault(faults, rule_where(c, &c->rules[0], key), key,
                               "port 53 is where the command asks for names");
            else if (other != NULL)
                check_port_twice(c, key, other, lists[i]->v[n], faults);
        }
    }
}

void check_conf(const struct conf *c, struct conf_faults *faults)
{
    unsigned n_proxy = 0;
    for (unsigned i = 0; i < c->n_listeners; i++) {
        n_proxy += c->listeners[i].kind != LISTENER_SERVICE;
        check_open(c, &c->listeners[i], faults);
        check_double(c, i, faults);
    }
    check_capture(c, faults);
    if (n_proxy == 0 && !c->capture.is_on && faults->n == 0)
        conf_fault(faults, "listen", "there is no listener");
    check_access_log(c, faults);
    if (c->rules[0].tls.keylog[0] != '\0')
        check_writable(c, faults, "tls.keylog", c->rules[0].tls.keylog);
    check_rules(c, faults);
    check_pins(c, faults);
    check_tls(c, faults);
    check_intercept(c, faults);
}
