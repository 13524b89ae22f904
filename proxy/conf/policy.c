/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come and where they may go. Addresses are judged as they were resolved. What refuses
 * looks at every IPv4 address that an IPv6 one may lead to, so that no name and no spelling leads
 * around a rule; what allows looks at the address itself, so that none leads through. */
#include "conf/policy.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/base64.h"
#include "conf/rule_index.h"

enum { CREDENTIALS_MAX = 1024, FIELD_MAX = 2048 }; /* bytes decoded, and as the field has them */

bool policy_client(const struct conf *c, const struct addr *peer, struct fault *f)
{
    if (addr_family(peer) == AF_UNIX || netset_has(&c->client.allow, peer))
        return true;
    char ip[ADDR_TEXT];
    fault_set(f, FAULT_DENIED, "clients at %s may not use this proxy: client.allow names who may",
              addr_print_ip(peer, ip));
    f->phrase = "Client address is not allowed by the proxy";
    return false;
}

bool policy_client_here(const struct conf *c, const struct addr *peer, struct fault *f)
{
    struct addr loopback;
    bool is_6 = addr_family(peer) == AF_INET6;
    return policy_client(c, peer, f) ||
           (addr_parse_ip(&loopback, is_6 ? STR("::1") : STR("127.0.0.1"), 0) &&
            netset_has(&c->client.allow, &loopback));
}

bool policy_page(struct str origin, struct str site, struct str own, bool by_tls)
{
    struct str scheme = by_tls ? STR("https://") : STR("http://");
    bool is_own = own.len > 0 && str_istarts(origin, scheme) &&
                  str_ieq(str_from_byte(origin, scheme.len), own);
    return (origin.p == NULL || is_own) && !str_ieq(site, STR("cross-site"));
}

/* "Basic BASE64" (RFC 7617) gives PAIR, "user:password", terminated, in DST of CREDENTIALS_MAX
 * bytes. */
static bool parse_basic(struct str value, char *dst, struct str *pair)
{
    struct str s = str_trim(value);
    if (s.len > FIELD_MAX || !str_istarts(s, STR("Basic ")))
        return false;
    size_t len;
    if (!base64_decode(dst, CREDENTIALS_MAX - 1, str_trim(str_from_byte(s, 6)), &len))
        return false;
    dst[len] = '\0'; /* crypt_r() wants that */
    *pair = str_make(dst, len);
    return str_find(*pair, ':') < len && memchr(dst, '\0', len) == NULL;
}

enum policy_auth policy_auth(const struct conf *c, struct str value)
{
    if (c->htpasswd == NULL)
        return POLICY_AUTH_OK;
    char buffer[CREDENTIALS_MAX];
    struct str pair;
    if (!parse_basic(value, buffer, &pair))
        return POLICY_AUTH_BAD;
    enum policy_auth result = htpasswd_knows(c->htpasswd, pair) ? POLICY_AUTH_OK : POLICY_AUTH_SLOW;
    explicit_bzero(buffer, sizeof(buffer));
    return result;
}

bool policy_auth_slow(const struct conf *c, struct str value)
{
    if (c->htpasswd == NULL)
        return true;
    char buffer[CREDENTIALS_MAX];
    struct str pair;
    bool ok = parse_basic(value, buffer, &pair) && htpasswd_check(c->htpasswd, pair);
    explicit_bzero(buffer, sizeof(buffer));
    return ok;
}

struct str policy_user(struct str value, char *dst, size_t cap)
{
    char buffer[CREDENTIALS_MAX];
    struct str pair;
    size_t n = 0;
    if (parse_basic(value, buffer, &pair)) {
        n = str_find(pair, ':');
        n = n < cap ? n : cap;
        memcpy(dst, pair.p, n);
    }
    explicit_bzero(buffer, sizeof(buffer));
    return str_make(dst, n);
}

struct auth_digest policy_auth_digest(const struct conf *c, struct str value)
{
    struct auth_digest digest = {0, 0};
    char buffer[CREDENTIALS_MAX];
    struct str pair;
    if (c->htpasswd != NULL && parse_basic(value, buffer, &pair))
        digest = htpasswd_digest(c->htpasswd, pair);
    explicit_bzero(buffer, sizeof(buffer));
    return digest;
}

static bool has_port(const struct list_of_ports *ports, uint16_t port)
{
    for (unsigned i = 0; i < ports->n; i++)
        if (ports->v[i] == port)
            return true;
    return ports->n == 0;
}

static bool is_denied(const struct destination_conf *d, struct str host)
{
    return d->deny_hosts.n > 0 && rule_index_has(d->deny_index, host);
}

bool policy_name(const struct conf *c, struct str host)
{
    const struct destination_conf *d = &c->destination;
    return !is_denied(d, host) && (d->allow_hosts.n == 0 || rule_index_has(d->allow_index, host));
}

static bool policy_refuse_name(const struct conf *c, struct str host, struct fault *f)
{
    char shown[256];
    fault_set(f, FAULT_DENIED, "%s is %s", str_escape(shown, sizeof(shown), host),
              is_denied(&c->destination, host) ? "in destination.deny_hosts"
                                               : "not in destination.allow_hosts");
    f->phrase = "Access to %s is not allowed by the proxy";
    return false;
}

bool policy_any_port(const struct conf *c, struct str host, struct fault *f)
{
    return policy_name(c, host) || policy_refuse_name(c, host, f);
}

bool policy_connect_port(const struct conf *c, uint16_t port)
{
    return has_port(&c->destination.connect_ports, port);
}

bool policy_host(const struct conf *c, struct str host, uint16_t port, bool is_connect,
                 struct fault *f)
{
    const struct destination_conf *d = &c->destination;
    if (!policy_name(c, host))
        return policy_refuse_name(c, host, f);
    if (has_port(is_connect ? &d->connect_ports : &d->ports, port))
        return true;
    char shown[256];
    fault_set(f, FAULT_DENIED, "port %u of %s is not in destination.%s", port,
              str_escape(shown, sizeof(shown), host), is_connect ? "connect_ports" : "ports");
    f->phrase = "Port of %s is not allowed by the proxy";
    return false;
}

bool policy_full_host(const struct conf *c, struct str host, struct str full, struct fault *f)
{
    const struct destination_conf *d = &c->destination;
    if (!is_denied(d, full))
        return true;
    char name[256], shown[256];
    fault_set(f, FAULT_DENIED, "%s is %s by the search list, which is in destination.deny_hosts",
              str_escape(name, sizeof(name), host), str_escape(shown, sizeof(shown), full));
    f->phrase = "Access to %s is not allowed by the proxy";
    return false;
}

/* What is not for all the world (the registries of special addresses, RFC 6890). */
static struct netset not_public;
static pthread_once_t not_public_once = PTHREAD_ONCE_INIT;

static void fill_not_public(void)
{
    static const char *const nets[] = {
        "loopback",       "private",       "linklocal",      "0.0.0.0/8",      "100.64.0.0/10",
        "192.0.0.0/24",   "192.0.2.0/24",  "192.88.99.0/24", "198.18.0.0/15",  "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/3",   "::/128",         "64:ff9b:1::/48", "100::/64",
        "2001::/23",      "2001:db8::/32", "3fff::/20",      "5f00::/16",      "fec0::/10",
        "ff00::/8"};
    for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++)
        if (!netset_add(&not_public, str_from(nets[i])))
            abort();
}

static bool is_public(const struct addr *a)
{
    pthread_once(&not_public_once, fill_not_public);
    return !netset_touches(&not_public, a);
}

static bool policy_refuse_bound(const struct addr *a, const struct bound *b, struct policy_who who,
                                struct fault *f)
{
    struct addr live;
    char shown[ADDR_TEXT], page[ADDR_TEXT];
    addr_print(a, shown);
    if (bound_is_open(b))
        fault_set(f, FAULT_ADDRESS_DENIED,
                  "%s is a listener of this proxy: who is on its machine may ask it through the "
                  "proxy by its address, with http://, but not in a batch",
                  shown);
    else if (who.is_local && !who.exempt && bound_service(&live))
        fault_set(f, FAULT_ADDRESS_DENIED,
                  "%s is a listener of this proxy, and has no pages; live page: http://%s/", shown,
                  bound_shown(&live, page));
    else
        fault_set(f, FAULT_ADDRESS_DENIED, "%s is a listener of this proxy", shown);
    f->phrase = "Address of %s is this proxy itself";
    return false;
}

/* A is a reading of an address, IS_ITSELF the first one. */
static bool policy_bound(const struct addr *a, bool is_itself, struct policy_who who,
                         struct fault *f)
{
    struct bound b;
    char shown[ADDR_TEXT];
    if (bound_find(a, &b))
        return (who.is_bound && bound_is_open(&b)) || policy_refuse_bound(a, &b, who, f);
    if (!who.is_bound || !is_itself)
        return true;
    fault_set(f, FAULT_ADDRESS_DENIED, "%s is no listener of this proxy any more",
              addr_print(a, shown));
    return false;
}

bool policy_address(const struct conf *c, const struct addr *a, struct policy_who who,
                    struct fault *f)
{
    struct addr readings[ADDR_READINGS];
    unsigned n = addr_readings(a, readings);
    bool is_machine = false;
    char shown[ADDR_TEXT];
    for (unsigned i = 0; i < n; i++) {
        if (!policy_bound(&readings[i], i == 0, who, f))
            return false;
        is_machine = is_machine || addr_is_loopback(&readings[i]) || addr_is_any(&readings[i]);
    }
    if (who.exempt || netset_has(&c->destination.allow, a))
        return true;
    if (netset_touches(&c->destination.deny, a)) {
        fault_set(f, FAULT_ADDRESS_DENIED,
                  "%s is in destination.deny; destination.allow makes exceptions",
                  addr_print_ip(a, shown));
        return false;
    }
    if (who.is_public && !is_public(a)) {
        fault_set(f, FAULT_ADDRESS_DENIED,
                  "%s is no public address; destination.allow makes exceptions",
                  addr_print_ip(a, shown));
        return false;
    }
    if (!who.is_local && is_machine) {
        fault_set(f, FAULT_ADDRESS_DENIED,
                  "%s is this proxy's own machine, which clients of other machines reach only "
                  "through destination.allow",
                  addr_print_ip(a, shown));
        f->phrase = "Address of %s is this proxy's own machine";
        return false;
    }
    return true;
}
