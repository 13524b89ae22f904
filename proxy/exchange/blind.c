/* SPDX-License-Identifier: Apache-2.0 */
/* Blind tunnels in the log: see blind.h. The table is one for all workers, and is looked at once a
 * tunnel. */
#include "exchange/blind.h"

#include <pthread.h>

#include "base/hash.h"
#include "base/log_limit.h"

enum { BLIND_NEAR = 8, BLIND_NAME = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the table */
static struct {
    uint64_t key; /* the hash of a name: keyed, so that nobody finds two that share one */
    int64_t at;   /* µs: when it was told; 0: free */
} places[BLIND_PLACES];

bool blind_is_news(struct str name, int64_t now)
{
    uint64_t key = hash_bytes(name.p, name.len);
    unsigned take = BLIND_PLACES;
    bool is_known = false;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < BLIND_NEAR && !is_known; i++) {
        unsigned at = (unsigned)((key + i) % BLIND_PLACES);
        bool is_free =
            places[at].at == 0 || now - places[at].at >= BLIND_AGAIN_S * INT64_C(1000000);
        is_known = !is_free && places[at].key == key;
        if (is_free && take == BLIND_PLACES)
            take = at;
    }
    bool is_news = !is_known && take < BLIND_PLACES;
    if (is_news) {
        places[take].key = key;
        places[take].at = now;
    }
    pthread_mutex_unlock(&lock);
    return is_news;
}

/* Whoever uses interception and has written a rule for this host does not want it here; plain HTTP
 * at port 80 takes upgrade = off; and what is not TLS cannot be read anyway. `tlsfan run` tells of
 * all of them at its end. */
static bool blind_is_meant(const struct exchange *x)
{
    bool is_ruled = x->rule->index != 0 && conf_may_intercept(x->conf);
    bool is_other = x->from->turned != NULL && x->from->turned->is_blind;
    return is_ruled || is_other || x->target.host.port == 80 || x->from->kind == SOURCE_HOST ||
           x->conf->is_run;
}

void blind_tell(const struct exchange *x)
{
    char name[BLIND_NAME];
    char host[BLIND_NAME - 8];
    char port[8] = "";
    if (!log_is_enabled(LOG_LEVEL_INFO) || blind_is_meant(x))
        return;
    const struct uri_host *to = &x->target.host;
    str_escape(host, sizeof(host), to->name);
    snprintf(name, sizeof(name), to->is_ip6 ? "[%s]:%u" : "%s:%u", host, (unsigned)to->port);
    if (!blind_is_news(str_from(name), loop_now()))
        return;
    if (to->port != 443)
        snprintf(port, sizeof(port), ":%u", (unsigned)to->port);
    log_limited(LOG_LEVEL_INFO,
                "%s is reached by a blind tunnel: nothing inside is read, checked or fanned out. "
                "http://%s%s%s%s/ instead of https:// in the program would change that, or "
                "intercept = on in a rule for this host",
                name, to->is_ip6 ? "[" : "", host, to->is_ip6 ? "]" : "", port);
}
