/* SPDX-License-Identifier: Apache-2.0 */
/* "No such name" for one type means that the name does not exist for any (musl takes it so): what a
 * name is told does not depend on the type but for the record itself. */
#include "own/name_rule.h"

#include <stdio.h>

#include "conf/rule.h"
#include "conf/rule_index.h"
#include "http/uri.h"
#include "upstream/way.h"

enum { OCTETS = 4, HTTPS_PORT = 443 }; /* of an IPv4 address */

void name_rule_nothing(struct name_reply *r, enum dns_code code)
{
    r->reply = (struct dns_reply){.code = code, .ttl = NAME_NEGATIVE_TTL};
}

static void tell_address(struct name_reply *r)
{
    r->reply = (struct dns_reply){.address = &r->address, .ttl = NAME_TTL};
}

/* ANY is one of all records, of the server's choice (RFC 8482). */
static bool wants_address(const struct dns_asked *q)
{
    return q->type == DNS_TYPE_A || q->type == DNS_TYPE_ANY;
}

void name_rule_exists(const struct dns_asked *q, struct name_reply *r)
{
    if (!wants_address(q))
        name_rule_nothing(r, DNS_CODE_NOERROR);
    else if (name_map_get(dns_asked_name(q), &r->address))
        tell_address(r);
    else
        name_rule_nothing(r, DNS_CODE_SERVFAIL);
}

/* ---- what needs no server */

/* "1.0.18.198" backwards. */
static bool parse_backwards(struct str digits, struct addr *a)
{
    struct str part[OCTETS];
    char text[ADDR_TEXT];
    for (int i = 0; i < OCTETS; i++) {
        size_t n = str_find(digits, '.');
        bool is_last = n == digits.len;
        part[i] = str_make(digits.p, n);
        if (n == 0 || n > 3 || is_last != (i == OCTETS - 1))
            return false;
        digits = str_from_byte(digits, n + 1);
    }
    int n = snprintf(text, sizeof(text), "%.*s.%.*s.%.*s.%.*s", STR_ARG(part[3]), STR_ARG(part[2]),
                     STR_ARG(part[1]), STR_ARG(part[0]));
    return addr_parse_ip(a, str_make(text, (size_t)n), 0);
}

/* NAME is an address. */
static bool is_reverse(struct str name)
{
    return str_iends(name, STR(".in-addr.arpa")) || str_iends(name, STR(".ip6.arpa"));
}

static void tell_pointer(struct str name, struct name_reply *r)
{
    struct str suffix = STR(".in-addr.arpa");
    struct addr a;
    bool is_v4 =
        str_iends(name, suffix) && parse_backwards(str_make(name.p, name.len - suffix.len), &a);
    if (is_v4 && name_map_find(&a, r->pointer))
        r->reply = (struct dns_reply){.pointer = str_from(r->pointer), .ttl = NAME_TTL};
    else
        name_rule_nothing(r, DNS_CODE_NXDOMAIN);
}

/* RFC 6761 §6.3. */
static void tell_loopback(const struct dns_asked *q, struct name_reply *r)
{
    struct str ip = q->type == DNS_TYPE_AAAA ? STR("::1") : STR("127.0.0.1");
    bool has_address = wants_address(q) || q->type == DNS_TYPE_AAAA;
    if (has_address && addr_parse_ip(&r->address, ip, 0))
        tell_address(r);
    else
        name_rule_nothing(r, DNS_CODE_NOERROR);
}

/* What is no question of data, and whoever may ask for it asks elsewhere. */
static enum dns_code refusal(const struct dns_asked *q)
{
    if (q->class != DNS_CLASS_IN || q->type == DNS_TYPE_AXFR || q->type == DNS_TYPE_IXFR)
        return DNS_CODE_REFUSED;
    bool is_meta = q->type == DNS_TYPE_OPT || (q->type >= DNS_TYPE_TKEY && q->type < DNS_TYPE_ANY);
    return is_meta ? DNS_CODE_NOTIMP : DNS_CODE_NOERROR;
}

/* True where the answer to Q is known; it is in R. */
static bool answer_known(const struct dns_asked *q, struct name_reply *r)
{
    struct str name = dns_asked_name(q);
    enum dns_code code = refusal(q);
    if (code != DNS_CODE_NOERROR)
        name_rule_nothing(r, code);
    else if (!q->is_plain || addr_parse_ip(&r->address, name, 0))
        /* No host has such a name, none could be asked for it; and no domain is a number. */
        name_rule_nothing(r, DNS_CODE_NXDOMAIN);
    else if (name.len == 0)
        name_rule_nothing(r, DNS_CODE_NOERROR);
    else if (q->type == DNS_TYPE_PTR && is_reverse(name))
        tell_pointer(name, r);
    else if (uri_is_loopback_name(name))
        tell_loopback(q, r);
    else
        return false;
    return true;
}

/* ---- what the operator wrote */

static bool is_led_by_map(const struct conf *c, struct str name)
{
    for (unsigned i = 0; i < c->n_connect_to; i++) {
        const struct connect_to *to = &c->connect_to[i];
        bool has_name = to->host[0] == '\0' || str_eq(str_from(to->host), name);
        if (has_name && to->to_host[0] != '\0')
            return true;
    }
    return false;
}

/* A rule for one host names it. A pattern is no list of the names that exist, and where a resolver
 * tries "www.example.com.example.com" it must not; but if it says where to connect, no name that it
 * matches has to exist. */
static bool has_rule(const struct conf *c, struct str name)
{
    for (unsigned i = 1; i < c->n_rules; i++) {
        const struct rule *r = &c->rules[i];
        struct str host = str_from(r->host);
        if (str_eq(host, name) || (r->connect_host[0] != '\0' && rule_pattern_matches(host, name)))
            return true;
    }
    return false;
}

/* It is left to a parent proxy to resolve, which cannot be asked. */
static bool has_parent(const struct conf *c, struct str name)
{
    struct up_where where = {.conf = c, .host = name, .port = HTTPS_PORT, .tls = true};
    where.rule = rule_find(c, name, HTTPS_PORT);
    return way_parent(&where) != NULL;
}

/* No server is asked for NAME when it is connected to, so none has to know it. */
static bool is_led_elsewhere(const struct conf *c, struct str name)
{
    return uri_is_internal_name(name) || is_led_by_map(c, name) || has_rule(c, name) ||
           has_parent(c, name);
}

enum name_verdict name_rule_judge(const struct conf *c, const struct dns_asked *q,
                                  struct name_reply *r)
{
    if (answer_known(q, r))
        return NAME_IS_ANSWERED;
    return is_led_elsewhere(c, dns_asked_name(q)) ? NAME_EXISTS : NAME_IS_ASKED;
}
