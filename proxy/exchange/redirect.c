/* SPDX-License-Identifier: Apache-2.0 */
/* Redirects that go round: see redirect.h. Clients choose hosts, so as many as there is room for
 * are remembered, as the hash of their names; of others nothing is said until a minute is over. */
#include "exchange/redirect.h"

#include <pthread.h>

#include "base/hash.h"
#include "base/log_limit.h"

enum {
    HOSTS_MAX = 64,     /* warned of in a minute */
    QUIET_US = 60000000 /* between two warnings of a host */
};

static struct warned {
    uint64_t host;
    int64_t at; /* µs; 0: free */
    struct log_limit limit;
} warned[HOSTS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards it but for `limit` */

/* A place for HOST once a minute, else NULL. */
static struct warned *redirect_news(struct str host)
{
    uint64_t hash = hash_bytes(host.p, host.len);
    int64_t now = loop_now();
    struct warned *place = NULL;
    bool is_old = false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < HOSTS_MAX; i++) {
        struct warned *w = &warned[i];
        bool is_free = w->at == 0 || now - w->at >= QUIET_US;
        is_old = is_old || (!is_free && w->host == hash);
        if (is_free)
            place = w;
    }
    if (is_old)
        place = NULL;
    if (place != NULL) {
        place->host = hash;
        place->at = now;
    }
    pthread_mutex_unlock(&lock);
    return place;
}

/* True for an answer whose Location a client asks for in the same way as before. */
static bool redirect_repeats(const struct exchange *x, unsigned status)
{
    if (status == 307 || status == 308)
        return true;
    bool is_get = x->head.method.id == METHOD_GET || x->head.method.id == METHOD_HEAD;
    return is_get && status >= 300 && status < 400 && status != 304;
}

static uint16_t http_port(uint16_t port)
{
    return port == 0 ? 80 : port;
}

/* True when PATH, which a fragment may follow, is that of X. */
static bool redirect_is_same_path(const struct exchange *x, struct str path)
{
    struct str asked = x->target.path;
    path.len = str_find(path, '#');
    if (path.len == 0 || path.p[0] == '?') /* "/" before it is left out */
        asked = str_from_byte(asked, asked.len > 0 && asked.p[0] == '/' ? 1 : 0);
    return str_eq(path, asked);
}

/* Only what says http:// itself sends the client back to it: a reference without a scheme may be
 * the same URL, too, but that goes round with or without an upgrade. */
static bool redirect_is_back(struct exchange *x, struct str location)
{
    struct uri_ref to;
    const struct uri_host *asked =
        x->from->fixed.name.p != NULL ? &x->from->fixed : &x->target.host;
    return uri_parse_ref(&to, &x->arena, location) && to.scheme == SCHEME_HTTP &&
           str_eq(to.host.name, asked->name) && http_port(to.host.port) == http_port(asked->port) &&
           redirect_is_same_path(x, to.rest);
}

void redirect_watch(struct exchange *x, const struct h1_head *head)
{
    char host[256];
    if (head->status < 300 || !x->rewrite.is_upgraded || x->rewrite.forward != NULL ||
        !redirect_repeats(x, head->status))
        return;
    const struct field *f = fields_find(&head->fields, FIELD_LOCATION, NULL);
    if (f == NULL || !log_is_enabled(LOG_LEVEL_WARNING) || !redirect_is_back(x, f->value))
        return;
    struct warned *news = redirect_news(x->where.host);
    if (news == NULL)
        return;
    str_escape(host, sizeof(host), x->where.host);
    log_limit_write(&news->limit, LOG_LEVEL_WARNING,
                    "%s redirects a request that was upgraded to TLS back to the same http:// URL: "
                    "a client that follows it goes round for ever. If its plain HTTP is what you "
                    "want: rule \"%s\" { upgrade = off }",
                    host, host);
}
