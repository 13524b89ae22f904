/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses and networks. There are two questions about IPv4 inside IPv6. Where a packet may
 * end: in any IPv4 address that a translator on the way could take out, so whoever refuses looks at
 * all of them. Who somebody is: the address itself, for anybody may have one of 2002::/16; only
 * ::ffff:0:0/96 is the kernel's own way to write IPv4. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { INNER_MAX = ADDR_READINGS - 1 }; /* ways to read an IPv4 address out of an IPv6 one */

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
static const uint8_t local_nat64[6] = {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01};

bool addr_parse_ip(struct addr *a, struct str ip, uint16_t port)
{
    char text[INET6_ADDRSTRLEN];
    if (ip.len == 0 || ip.len >= sizeof(text) || memchr(ip.p, '\0', ip.len) != NULL)
        return false;
    memcpy(text, ip.p, ip.len);
    text[ip.len] = '\0';
    memset(a, 0, sizeof(*a));
    if (inet_pton(AF_INET, text, &a->in4.sin_addr) == 1) {
        a->in4.sin_family = AF_INET;
        a->len = sizeof(a->in4);
    } else if (inet_pton(AF_INET6, text, &a->in6.sin6_addr) == 1) {
        a->in6.sin6_family = AF_INET6;
        a->len = sizeof(a->in6);
    } else {
        return false;
    }
    addr_set_port(a, port);
    return true;
}

static bool parse_unix(struct addr *a, struct str path)
{
    memset(a, 0, sizeof(*a));
    if (path.len >= sizeof(a->un.sun_path) || !str_starts(path, STR("/")))
        return false;
    if (memchr(path.p, '\0', path.len) != NULL)
        return false;
    a->un.sun_family = AF_UNIX;
    memcpy(a->un.sun_path, path.p, path.len);
    a->len = sizeof(a->un);
    return true;
}

bool addr_parse(struct addr *a, struct str text)
{
    if (str_starts(text, STR("unix:")))
        return parse_unix(a, str_from_byte(text, 5));
    bool bracketed = str_starts(text, STR("["));
    struct str rest = str_from_byte(text, bracketed ? 1 : 0);
    struct str ip = str_make(rest.p, str_find(rest, bracketed ? ']' : ':'));
    rest = str_from_byte(rest, ip.len + (bracketed ? 1 : 0));
    uint64_t port;
    if (!str_starts(rest, STR(":")) || !str_to_u64(str_from_byte(rest, 1), &port) || port > 65535)
        return false;
    if (bracketed != (str_find(ip, ':') < ip.len)) /* brackets are for IPv6 */
        return false;
    return addr_parse_ip(a, ip, (uint16_t)port);
}

void addr_from_sockaddr(struct addr *a, const struct sockaddr *sa, socklen_t len)
{
    memset(a, 0, sizeof(*a));
    a->len = len <= sizeof(a->un) ? len : (socklen_t)sizeof(a->un);
    if (a->len > 0)
        memcpy(&a->un, sa, a->len);
}

static const char *print_unix(const struct addr *a, char *dst)
{
    int n = (int)strnlen(a->un.sun_path, sizeof(a->un.sun_path));
    snprintf(dst, ADDR_TEXT, "unix:%.*s", n, a->un.sun_path);
    return dst;
}

/* By hand, where inet_ntop() takes printf(): it is in the line of each request. Gives its end. */
static char *put_ip4(const struct addr *a, char *p)
{
    const uint8_t *ip = (const uint8_t *)&a->in4.sin_addr;
    for (int i = 0; i < 4; i++) {
        p += str_put_u64(p, ip[i]);
        *p++ = '.';
    }
    *--p = '\0';
    return p;
}

const char *addr_print_ip(const struct addr *a, char *dst)
{
    switch (addr_family(a)) {
    case AF_INET:
        put_ip4(a, dst);
        return dst;
    case AF_INET6:
        return inet_ntop(AF_INET6, &a->in6.sin6_addr, dst, ADDR_TEXT);
    case AF_UNIX:
        return print_unix(a, dst);
    default:
        dst[0] = '-';
        dst[1] = '\0';
        return dst;
    }
}

static const char *print_ip4(const struct addr *a, char *dst)
{
    char *p = put_ip4(a, dst);
    *p++ = ':';
    p += str_put_u64(p, addr_port(a));
    *p = '\0';
    return dst;
}

const char *addr_print(const struct addr *a, char *dst)
{
    char ip[ADDR_TEXT];
    switch (addr_family(a)) {
    case AF_INET:
        return print_ip4(a, dst);
    case AF_INET6:
        snprintf(dst, ADDR_TEXT, "[%.64s]:%u", addr_print_ip(a, ip), (unsigned)addr_port(a));
        return dst;
    default:
        return addr_print_ip(a, dst);
    }
}

int addr_family(const struct addr *a)
{
    return a->sa.sa_family;
}

uint16_t addr_port(const struct addr *a)
{
    if (addr_family(a) == AF_INET)
        return ntohs(a->in4.sin_port);
    return addr_family(a) == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

void addr_set_port(struct addr *a, uint16_t port)
{
    if (addr_family(a) == AF_INET)
        a->in4.sin_port = htons(port);
    else if (addr_family(a) == AF_INET6)
        a->in6.sin6_port = htons(port);
}

bool addr_same_ip(const struct addr *a, const struct addr *b)
{
    if (addr_family(a) != addr_family(b))
        return false;
    switch (addr_family(a)) {
    case AF_INET:
        return a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
    case AF_INET6:
        return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0 &&
               a->in6.sin6_scope_id == b->in6.sin6_scope_id;
    case AF_UNIX:
        return strncmp(a->un.sun_path, b->un.sun_path, sizeof(a->un.sun_path)) == 0;
    default:
        return false;
    }
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    return addr_same_ip(a, b) && addr_port(a) == addr_port(b);
}

/* 64:ff9b:1::/48 is read as each prefix length of RFC 6052 §2.2 says (96, 48, 56, 64): nothing
 * tells which one the local translator has. Readings in 0.0.0.0/8 are an artefact of the others,
 * unless there is nothing else. */
static unsigned read_local_nat64(const uint8_t *ip, uint8_t out[INNER_MAX][4])
{
    static const uint8_t places[INNER_MAX][4] = {
        {12, 13, 14, 15}, {6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}};
    unsigned n = 0;
    for (unsigned i = 0; i < INNER_MAX; i++) {
        if (ip[places[i][0]] == 0)
            continue;
        for (unsigned k = 0; k < 4; k++)
            out[n][k] = ip[places[i][k]];
        n++;
    }
    if (n > 0)
        return n;
    memcpy(out[0], ip + 12, 4);
    return 1;
}

/* Where the IPv4 address is in IP, for the prefixes that say it; 0 when there is none. */
static unsigned embedded_at(const uint8_t *ip)
{
    static const uint8_t zero[12];
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t translated[12] = {[8] = 0xff, [9] = 0xff}; /* RFC 2765 §2.1 */
    if (memcmp(ip, mapped, 12) == 0 || memcmp(ip, nat64, 12) == 0 ||
        memcmp(ip, translated, 12) == 0)
        return 12;
    if (memcmp(ip, zero, 12) == 0) {
        bool special = memcmp(ip + 12, zero, 3) == 0 && ip[15] <= 1; /* :: and ::1 */
        return special ? 0 : 12;
    }
    return ip[0] == 0x20 && ip[1] == 0x02 ? 2 : 0;
}

/* The IPv4 addresses that may be meant by A; gives how many. */
static unsigned embedded(const struct addr *a, uint8_t out[INNER_MAX][4])
{
    if (addr_family(a) != AF_INET6)
        return 0;
    const uint8_t *ip = a->in6.sin6_addr.s6_addr;
    if (memcmp(ip, local_nat64, sizeof(local_nat64)) == 0)
        return read_local_nat64(ip, out);
    unsigned at = embedded_at(ip);
    if (at == 0)
        return 0;
    memcpy(out[0], ip + at, 4);
    return 1;
}

static struct addr ip4_of(const struct addr *a, const uint8_t *ip)
{
    struct addr inner;
    memset(&inner, 0, sizeof(inner));
    inner.in4.sin_family = AF_INET;
    inner.in4.sin_port = a->in6.sin6_port;
    memcpy(&inner.in4.sin_addr, ip, 4);
    inner.len = sizeof(inner.in4);
    return inner;
}

struct addr addr_plain(const struct addr *a)
{
    const uint8_t *ip = a->in6.sin6_addr.s6_addr;
    bool is_mapped = addr_family(a) == AF_INET6 && memcmp(ip, mapped, sizeof(mapped)) == 0;
    return is_mapped ? ip4_of(a, ip + 12) : *a;
}

void addr_host_key(const struct addr *a, uint8_t key[ADDR_HOST_KEY])
{
    struct addr plain = addr_plain(a);
    memset(key, 0, ADDR_HOST_KEY);
    if (addr_family(&plain) == AF_INET) {
        memcpy(key, mapped, sizeof(mapped));
        memcpy(key + sizeof(mapped), &plain.in4.sin_addr, 4);
    } else if (addr_family(&plain) == AF_INET6) {
        memcpy(key, &plain.in6.sin6_addr, 8);
        key[15] = 1; /* not what unix: has */
    }
}

unsigned addr_readings(const struct addr *a, struct addr out[ADDR_READINGS])
{
    uint8_t ip4[INNER_MAX][4];
    unsigned n = embedded(a, ip4);
    out[0] = *a;
    for (unsigned i = 0; i < n; i++)
        out[i + 1] = ip4_of(a, ip4[i]);
    return n + 1;
}

bool addr_is_loopback(const struct addr *a)
{
    struct addr inner = addr_plain(a);
    switch (addr_family(&inner)) {
    case AF_INET:
        return ntohl(inner.in4.sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&inner.in6.sin6_addr);
    default:
        return addr_family(&inner) == AF_UNIX;
    }
}

bool addr_is_any(const struct addr *a)
{
    struct addr inner = addr_plain(a);
    if (addr_family(&inner) == AF_INET)
        return inner.in4.sin_addr.s_addr == htonl(INADDR_ANY);
    return addr_family(&inner) == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&inner.in6.sin6_addr);
}

static bool parse_net(struct net *net, struct str text)
{
    size_t slash = str_find(text, '/');
    struct addr a;
    if (!addr_parse_ip(&a, str_make(text.p, slash), 0))
        return false;
    memset(net, 0, sizeof(*net));
    net->family = addr_family(&a);
    bool is_ip4 = net->family == AF_INET;
    uint64_t longest = is_ip4 ? 32 : 128;
    uint64_t bits = longest;
    if (slash < text.len && !str_to_u64(str_from_byte(text, slash + 1), &bits))
        return false;
    if (bits > longest)
        return false;
    net->bits = (unsigned)bits;
    memcpy(net->ip, is_ip4 ? (void *)&a.in4.sin_addr : (void *)&a.in6.sin6_addr, is_ip4 ? 4 : 16);
    /* The whole /96 is that spelling of addresses, and not all of IPv4. */
    if (!is_ip4 && bits > 96 && memcmp(net->ip, mapped, sizeof(mapped)) == 0) {
        net->family = AF_INET;
        net->bits -= 96;
        memmove(net->ip, net->ip + 12, 4);
    }
    return true;
}

/* The names that stand for networks. */
static const struct {
    const char *name;
    const char *nets; /* comma list */
} named_nets[] = {
    {"loopback", "127.0.0.0/8, ::1"},
    {"private", "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7"},
    {"linklocal", "169.254.0.0/16, fe80::/10"},
    {"any", "0.0.0.0/0, ::/0"},
};

static struct str nets_of_name(struct str name)
{
    for (size_t i = 0; i < sizeof(named_nets) / sizeof(named_nets[0]); i++) {
        if (str_ieq(name, str_from(named_nets[i].name)))
            return str_from(named_nets[i].nets);
    }
    return name;
}

bool netset_add(struct netset *s, struct str text)
{
    struct str list = nets_of_name(text);
    struct str item;
    if (list.p == text.p && str_find(text, ',') < text.len)
        return false;
    bool found = false;
    while (str_next_item(&list, &item)) {
        struct net net;
        if (!parse_net(&net, item))
            return false;
        s->nets = xrealloc(s->nets, (s->n + 1) * sizeof(net));
        s->nets[s->n++] = net;
        found = true;
    }
    return found;
}

static bool net_has(const struct net *net, int family, const uint8_t *ip)
{
    unsigned whole = net->bits / 8;
    unsigned rest = net->bits % 8;
    if (net->family != family || memcmp(net->ip, ip, whole) != 0)
        return false;
    return rest == 0 || (net->ip[whole] ^ ip[whole]) >> (8 - rest) == 0;
}

static bool any_net_has(const struct netset *s, const struct addr *a)
{
    int family = addr_family(a);
    const void *ip = family == AF_INET ? (const void *)&a->in4.sin_addr : &a->in6.sin6_addr;
    if (family != AF_INET && family != AF_INET6)
        return false;
    for (unsigned i = 0; i < s->n; i++) {
        if (net_has(&s->nets[i], family, ip))
            return true;
    }
    return false;
}

bool netset_has(const struct netset *s, const struct addr *a)
{
    if (any_net_has(s, a))
        return true;
    struct addr plain = addr_plain(a);
    return addr_family(&plain) != addr_family(a) && any_net_has(s, &plain);
}

bool netset_touches(const struct netset *s, const struct addr *a)
{
    struct addr readings[ADDR_READINGS];
    unsigned n = addr_readings(a, readings);
    for (unsigned i = 0; i < n; i++) {
        if (any_net_has(s, &readings[i]))
            return true;
    }
    return false;
}

void netset_clear(struct netset *s)
{
    free(s->nets);
    s->nets = NULL;
    s->n = 0;
}
