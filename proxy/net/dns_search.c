/* SPDX-License-Identifier: Apache-2.0 */
/* The search list: see dns_search.h. Read by us and not by c-ares, which walks the list for each
 * family by itself, stops where glibc goes on, and in newer versions does not show what it read. */
#include "net/dns_search.h"

#include <stdlib.h>

#include "base/mem.h"

enum { NDOTS = 1, NDOTS_MAX = 15, SERVERS_ENOUGH = 128 /* bytes */ };

/* Takes a word off TEXT; false when there is none. */
static bool next_word(struct str *text, struct str *word)
{
    size_t from = 0;
    if (text->len == 0)
        return false; /* of a variable that is not set there is no byte to point to */
    while (from < text->len && str_is_blank(text->p[from]))
        from++;
    size_t to = from;
    while (to < text->len && !str_is_blank(text->p[to]))
        to++;
    *word = str_make(text->p + from, to - from);
    *text = str_from_byte(*text, to);
    return word->len > 0;
}

static void drop_domains(struct dns_search *s)
{
    for (unsigned i = 0; i < s->n; i++)
        free(s->domains[i]);
    s->n = 0;
}

/* "." is the root: the name as it is. */
static void add_domain(struct dns_search *s, struct str domain)
{
    if (str_starts(domain, STR(".")))
        domain = str_from_byte(domain, 1);
    if (domain.len > 0 && domain.p[domain.len - 1] == '.')
        domain.len--;
    if (s->n == DNS_DOMAINS_MAX || domain.len > DNS_NAME_MAX ||
        (domain.len > 0 && memchr(domain.p, '\0', domain.len) != NULL))
        return;
    char *copy = xstrndup(domain.len == 0 ? "" : domain.p, domain.len);
    str_lower(copy, domain);
    s->domains[s->n++] = copy;
}

/* The last list that is written holds. */
static void set_domains(struct dns_search *s, struct str text, bool is_one)
{
    struct str word;
    if (!next_word(&text, &word))
        return;
    drop_domains(s);
    add_domain(s, word);
    while (!is_one && next_word(&text, &word))
        add_domain(s, word);
}

/* As glibc does, with atoi(3). */
static unsigned read_ndots(struct str digits)
{
    char text[16] = "";
    memcpy(text, digits.p, digits.len < sizeof(text) ? digits.len : sizeof(text) - 1);
    long v = strtol(text, NULL, 10);
    return v >= 0 && v <= NDOTS_MAX ? (unsigned)v : NDOTS_MAX;
}

static void set_options(struct dns_search *s, struct str text)
{
    struct str word;
    while (next_word(&text, &word)) {
        if (str_starts(word, STR("ndots:")))
            s->ndots = read_ndots(str_from_byte(word, 6));
        else if (str_starts(word, STR("no-tld-query")) || str_starts(word, STR("no_tld_query")))
            s->no_tld = true;
    }
}

/* "KEY VALUE", from the first byte of the line. */
static bool is_key(struct str line, struct str key)
{
    return str_starts(line, key) && line.len > key.len && str_is_blank(line.p[key.len]);
}

static void add_server(struct dns_search *s, struct str text)
{
    struct str word;
    char *before = s->servers;
    if (!next_word(&text, &word) || (before != NULL && strlen(before) > SERVERS_ENOUGH))
        return;
    s->servers = xasprintf("%s%s%.*s", before == NULL ? "" : before, before == NULL ? "" : ", ",
                           STR_ARG(word));
    free(before);
}

static void read_line(struct dns_search *s, struct str line, bool has_list)
{
    if (is_key(line, STR("nameserver")))
        add_server(s, str_from_byte(line, 10));
    if (is_key(line, STR("search")) && !has_list)
        set_domains(s, str_from_byte(line, 6), false);
    else if (is_key(line, STR("domain")) && !has_list)
        set_domains(s, str_from_byte(line, 6), true);
    else if (is_key(line, STR("options")))
        set_options(s, str_from_byte(line, 7));
}

void dns_search_read(struct dns_search *s, const struct dns_search_source *from)
{
    struct str rest = from->file;
    s->ndots = NDOTS;
    struct str list = str_from(from->localdomain);
    set_domains(s, str_make(list.p, str_find(list, '\n')), false);
    while (rest.len > 0) {
        size_t end = str_find(rest, '\n');
        read_line(s, str_make(rest.p, end), from->localdomain != NULL);
        rest = str_from_byte(rest, end + 1);
    }
    set_options(s, str_from(from->res_options));
    struct str host = str_from(from->host_name);
    size_t dot = str_find(host, '.');
    if (s->n == 0 && from->localdomain == NULL && dot < host.len)
        add_domain(s, str_from_byte(host, dot + 1));
}

void dns_search_clear(struct dns_search *s)
{
    drop_domains(s);
    free(s->servers);
    *s = (struct dns_search){.n = 0};
}

bool dns_search_equal(const struct dns_search *a, const struct dns_search *b)
{
    bool is_equal = a->n == b->n && a->ndots == b->ndots && a->no_tld == b->no_tld;
    for (unsigned i = 0; is_equal && i < a->n; i++)
        is_equal = strcmp(a->domains[i], b->domains[i]) == 0;
    return is_equal;
}

/* NAME with DOMAIN, once. Gives the new count. */
static unsigned search_add_name(char **names, unsigned n, struct str name, const char *domain)
{
    size_t len = strlen(domain);
    if (name.len + (len > 0 ? len + 1 : 0) > DNS_NAME_MAX)
        return n;
    char *text = xasprintf("%.*s%s%s", STR_ARG(name), len > 0 ? "." : "", domain);
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(names[i], text) == 0) {
            free(text);
            return n;
        }
    }
    names[n] = text;
    return n + 1;
}

unsigned dns_search_names(const struct dns_search *s, struct str host, char *names[DNS_NAMES_MAX])
{
    unsigned n = 0, dots = 0;
    bool is_rooted = host.len > 0 && host.p[host.len - 1] == '.';
    if (is_rooted)
        return search_add_name(names, 0, str_make(host.p, host.len - 1), "");
    for (size_t i = 0; i < host.len; i++)
        dots += host.p[i] == '.';
    if (dots >= s->ndots)
        n = search_add_name(names, n, host, "");
    for (unsigned i = 0; i < s->n; i++)
        n = search_add_name(names, n, host, s->domains[i]);
    if (dots > 0 || s->n == 0 || !s->no_tld)
        n = search_add_name(names, n, host, "");
    return n;
}
