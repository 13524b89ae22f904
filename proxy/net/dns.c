/* SPDX-License-Identifier: Apache-2.0 */
/* c-ares on the loop. Its callbacks only record what came and post; everything else happens from
 * there. Three things live apart, because c-ares can cancel a whole channel but not one request:
 *
 *     query    what a caller holds; many may wait for one lookup
 *     lookup   a name and a family in flight; ends with an answer or with dns.timeout
 *     request  what c-ares holds; outlives its lookup when that was given up, and then only counts
 *
 * A changed resolv.conf makes a new channel; the old one goes when its last request has ended. */
#include "net/dns.h"

#include <ares.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/log_limit.h"
#include "net/dns_cache.h"

enum {
    RESOLV_CHECK = 1000000, /* µs between two looks at resolv.conf */
    HOSTS_TTL = 1,          /* s; entries of /etc/hosts come with TTL 0 */
    TRIES = 3
};

static const char resolv_conf[] = "/etc/resolv.conf";

/* Tells one version of a file from another. */
struct file_id {
    int64_t mtime; /* ns */
    uint64_t inode, size;
};

/* A c-ares channel. Owner: struct dns while it is the newest, then itself. */
struct channel {
    struct list link; /* in dns->channels */
    struct loop *loop;
    ares_channel ares;
    struct list sockets;        /* struct dns_socket */
    struct deadline timer;      /* of c-ares */
    unsigned requests;          /* that c-ares holds */
    bool is_retired, is_reaped; /* retired: it goes when `requests` is 0 */
    struct post check;          /* requests have come or gone */
    struct reap reap;
};

/* A socket that c-ares opened and closes. */
struct dns_socket {
    struct list link;
    struct channel *channel;
    struct event event;
    int fd;
    struct reap reap;
};

struct dns {
    struct loop *loop;
    struct conf *conf;       /* a reference */
    struct channel *channel; /* NULL when none could be made: tried again at the next lookup */
    struct list channels;    /* that one, and retired ones */
    struct dns_cache cache;
    struct lookup *flying; /* by key */
    struct file_id resolv;
    int64_t resolv_checked; /* µs */
    struct reap reap;
};

/* Owner: struct dns, in `flying`, until its answer has been told. */
struct lookup {
    UT_hash_handle hh;
    struct dns *dns;
    struct dns_key key;
    int family;
    struct list queries;       /* struct dns_query; cancelled ones are gone from it */
    struct request *request;   /* NULL when c-ares has answered */
    struct dns_record *answer; /* as soon as there is one */
    int64_t ttl;               /* s, of `answer`; < 0: not kept */
    struct deadline whole;     /* dns.timeout */
    struct post later;
    struct reap reap;
};

/* The argument of a c-ares callback. Freed by it. */
struct request {
    struct lookup *lookup; /* NULL: nobody wants to know */
    struct channel *channel;
};

struct dns_query {
    struct list link;          /* in lookup->queries */
    struct dns_record *answer; /* a reference, of a query that could be answered at once */
    struct post later;
    dns_fn fn;
    void *arg;
};

/* ---- channels */

static void library_init(void)
{
    ares_library_init(ARES_LIB_INIT_ALL);
}

static void socket_free(void *object)
{
    free(object);
}

static void arm_timer(struct channel *ch)
{
    struct timeval tv;
    if (ares_timeout(ch->ares, NULL, &tv) == NULL)
        deadline_clear(&ch->timer);
    else
        deadline_set(&ch->timer, (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct dns_socket *s = arg;
    struct channel *ch = s->channel;
    ares_process_fd(ch->ares, (what & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
                    (what & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
    arm_timer(ch);
}

static void on_timer(void *arg)
{
    struct channel *ch = arg;
    ares_process_fd(ch->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timer(ch);
}

static struct dns_socket *find_socket(struct channel *ch, int fd)
{
    list_foreach (it, &ch->sockets) {
        struct dns_socket *s = container_of(it, struct dns_socket, link);
        if (s->fd == fd)
            return s;
    }
    return NULL;
}

/* c-ares wants to know other things of a socket than before; nothing at all when it is about to
 * close it. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct channel *ch = arg;
    struct dns_socket *s = find_socket(ch, fd);
    if (s != NULL)
        event_del(&s->event);
    if (!readable && !writable) {
        if (s == NULL)
            return;
        list_remove(&s->link);
        loop_reap(ch->loop, &s->reap, socket_free, s);
        return;
    }
    if (s == NULL) {
        s = xcalloc(1, sizeof(*s));
        s->channel = ch;
        s->fd = fd;
        list_push_back(&ch->sockets, &s->link);
    }
    short what = (short)(EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
    event_assign(&s->event, ch->loop->base, fd, what, on_socket, s);
    event_add(&s->event, NULL);
}

static void channel_free(void *object)
{
    struct channel *ch = object;
    struct list *it;
    ares_destroy(ch->ares); /* ends every request still there */
    while ((it = list_pop(&ch->sockets)) != NULL) {
        struct dns_socket *s = container_of(it, struct dns_socket, link);
        event_del(&s->event);
        free(s);
    }
    loop_unpost(&ch->check);
    free(ch);
}

static void channel_close(struct channel *ch)
{
    if (ch->is_reaped)
        return;
    ch->is_reaped = true;
    list_remove(&ch->link);
    deadline_close(&ch->timer);
    loop_unpost(&ch->check);
    loop_reap(ch->loop, &ch->reap, channel_free, ch);
}

static void on_check(void *arg)
{
    struct channel *ch = arg;
    if (ch->is_retired && ch->requests == 0)
        channel_close(ch);
}

/* CH takes no new request. */
static void channel_retire(struct channel *ch)
{
    if (ch == NULL)
        return;
    ch->is_retired = true;
    loop_post(ch->loop, &ch->check);
}

/* "ADDR,ADDR:PORT"; NULL without servers. Heap. */
static char *server_list(const struct strings *servers)
{
    char *all = NULL;
    for (unsigned i = 0; i < servers->n; i++) {
        char *longer =
            xasprintf("%s%s%s", all == NULL ? "" : all, all == NULL ? "" : ",", servers->v[i]);
        free(all);
        all = longer;
    }
    return all;
}

static struct channel *channel_new(struct loop *l, struct list *all, const struct dns_conf *c)
{
    struct channel *ch = xcalloc(1, sizeof(*ch));
    struct ares_options options = {
        .sock_state_cb = on_socket_state, .sock_state_cb_data = ch, .tries = TRIES};
    int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_TRIES;
    if (c->timeout > 0) {
        /* c-ares doubles it at each try: three of them would end after the whole time is over. */
        options.timeout =
            c->timeout < 400 ? 100 : (int)(c->timeout < 20000 ? c->timeout / 4 : 5000);
        mask |= ARES_OPT_TIMEOUTMS;
    }
    ch->loop = l;
    list_init(&ch->sockets);
    int err = ares_init_options(&ch->ares, &options, mask);
    char *servers = server_list(&c->servers);
    if (err == ARES_SUCCESS && servers != NULL) {
        err = ares_set_servers_ports_csv(ch->ares, servers);
        if (err != ARES_SUCCESS)
            ares_destroy(ch->ares);
    }
    free(servers);
    if (err != ARES_SUCCESS) {
        free(ch);
        errno = err == ARES_ENOMEM ? ENOMEM : EINVAL;
        return NULL;
    }
    deadline_init(&ch->timer, l, on_timer, ch);
    post_init(&ch->check, on_check, ch);
    list_push_back(all, &ch->link);
    return ch;
}

/* ---- answers */

/* Copies what c-ares found; *TTL is the least of addresses and CNAMEs, in seconds. */
static struct dns_record *record_of(const struct ares_addrinfo *info, int64_t *ttl)
{
    struct addr addrs[DNS_ADDRS_MAX];
    unsigned n = 0;
    *ttl = INT32_MAX;
    for (const struct ares_addrinfo_node *a = info->nodes; a != NULL; a = a->ai_next) {
        if (n < DNS_ADDRS_MAX)
            addr_from_sockaddr(&addrs[n++], a->ai_addr, a->ai_addrlen);
        if (a->ai_ttl < *ttl)
            *ttl = a->ai_ttl;
    }
    for (const struct ares_addrinfo_cname *c = info->cnames; c != NULL; c = c->next) {
        if (c->ttl < *ttl)
            *ttl = c->ttl;
    }
    return n > 0 ? dns_record_new(addrs, n) : NULL;
}

static struct str lookup_host(const struct lookup *k)
{
    return str_make(k->key.p + 1, k->key.len - 1);
}

/* What a lookup without addresses says, and for how long. */
static struct dns_record *record_of_error(struct lookup *k, int status)
{
    struct str host = lookup_host(k);
    k->ttl = -1;
    switch (status) {
    case ARES_SUCCESS:
    case ARES_ENODATA:
        k->ttl = k->dns->conf->dns.negative_ttl / 1000;
        return dns_record_nodata(host, k->family);
    case ARES_ENOTFOUND:
        k->ttl = k->dns->conf->dns.negative_ttl / 1000;
        return dns_record_fault(FAULT_DNS, "there is no such name in the DNS", host);
    case ARES_ETIMEOUT:
        return dns_record_fault(FAULT_DNS_TIMEOUT, "no DNS server answered", host);
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
    case ARES_ECONNREFUSED:
        /* c-ares gives the last for servers that answer with a failure, too. */
        return dns_record_fault(FAULT_DNS, "no DNS server could answer", host);
    default:
        return dns_record_fault(FAULT_DNS, ares_strerror(status), host);
    }
}

/* From c-ares, maybe inside ares_getaddrinfo(): records and posts. */
static void on_ares(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct request *rq = arg;
    struct lookup *k = rq->lookup;
    struct channel *ch = rq->channel;
    (void)timeouts;
    ch->requests--;
    if (ch->is_retired && !ch->is_reaped)
        loop_post(ch->loop, &ch->check);
    free(rq);
    if (k != NULL) {
        k->request = NULL;
        if (status == ARES_SUCCESS && info != NULL)
            k->answer = record_of(info, &k->ttl);
        if (k->answer == NULL)
            k->answer = record_of_error(k, status);
        loop_post(k->dns->loop, &k->later);
    }
    if (info != NULL)
        ares_freeaddrinfo(info);
}

/* ---- lookups */

static void lookup_free(void *object)
{
    struct lookup *k = object;
    dns_record_unref(k->answer);
    free(k);
}

/* K is nobody's any more; what c-ares still does for it only counts. */
static void lookup_close(struct lookup *k)
{
    HASH_DEL(k->dns->flying, k);
    if (k->request != NULL)
        k->request->lookup = NULL;
    k->request = NULL;
    deadline_close(&k->whole);
    loop_unpost(&k->later);
    loop_reap(k->dns->loop, &k->reap, lookup_free, k);
}

/* Ends Q with R; nothing of Q is left when its owner is told. */
static void query_tell(struct dns_query *q, const struct dns_record *r)
{
    dns_fn fn = q->fn;
    void *arg = q->arg;
    struct dns_answer a = {
        .addrs = r->addrs, .n = r->n, .is_nodata = r->is_nodata, .fault = r->fault};
    list_remove(&q->link);
    free(q);
    fn(arg, &a);
}

static void keep_answer(struct lookup *k)
{
    const struct dns_conf *c = &k->dns->conf->dns;
    int64_t us = k->ttl * 1000000;
    if (k->ttl < 0 || k->answer->fault != NULL)
        us = k->ttl < 0 ? 0 : c->negative_ttl * 1000;
    else if (k->ttl == 0)
        us = HOSTS_TTL * 1000000;
    if (k->answer->fault == NULL && us > c->ttl_max * 1000)
        us = c->ttl_max * 1000;
    if (us > 0)
        dns_cache_put(&k->dns->cache, &k->key, k->answer, loop_now() + us);
}

/* Tells everybody who waits for K. They may look up and cancel as they like meanwhile. */
static void lookup_tell(struct lookup *k)
{
    struct list queries;
    struct list *it;
    list_init(&queries);
    list_move(&queries, &k->queries);
    lookup_close(k); /* the answer lives until the reaper comes */
    while ((it = list_first(&queries)) != NULL)
        query_tell(container_of(it, struct dns_query, link), k->answer);
}

static void on_answer(void *arg)
{
    struct lookup *k = arg;
    keep_answer(k);
    lookup_tell(k);
}

static void on_whole(void *arg)
{
    struct lookup *k = arg;
    if (k->answer == NULL)
        k->answer = dns_record_fault(FAULT_DNS_TIMEOUT, "no DNS server answered within dns.timeout",
                                     lookup_host(k));
    lookup_tell(k);
}

/* Begins K on the channel. */
static void lookup_send(struct lookup *k)
{
    struct dns *d = k->dns;
    char name[DNS_NAME_MAX + 1];
    struct str host = lookup_host(k);
    memcpy(name, host.p, host.len);
    name[host.len] = '\0';
    struct ares_addrinfo_hints hints = {
        .ai_family = k->family, .ai_flags = ARES_AI_NOSORT, .ai_socktype = SOCK_STREAM};
    struct channel *ch = d->channel;
    struct request *rq = xcalloc(1, sizeof(*rq));
    rq->lookup = k;
    rq->channel = ch;
    k->request = rq;
    ch->requests++;
    ares_getaddrinfo(ch->ares, name, NULL, &hints, on_ares, rq);
    arm_timer(ch);
}

static struct lookup *lookup_new(struct dns *d, const struct dns_key *key, int family)
{
    struct lookup *k = xcalloc(1, sizeof(*k));
    k->dns = d;
    k->key = *key;
    k->family = family;
    list_init(&k->queries);
    deadline_init(&k->whole, d->loop, on_whole, k);
    post_init(&k->later, on_answer, k);
    HASH_ADD_KEYPTR(hh, d->flying, k->key.p, k->key.len, k);
    deadline_set(&k->whole, d->conf->dns.timeout);
    return k;
}

/* ---- resolv.conf */

static struct file_id identify(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return (struct file_id){0};
    return (struct file_id){(int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, st.st_ino,
                            (uint64_t)st.st_size};
}

static bool same_file(const struct file_id *a, const struct file_id *b)
{
    return a->mtime == b->mtime && a->inode == b->inode && a->size == b->size;
}

/* A new channel when there is none or resolv.conf has changed. */
static void refresh(struct dns *d)
{
    int64_t now = loop_now();
    bool is_due = d->conf->dns.servers.n == 0 && now - d->resolv_checked >= RESOLV_CHECK;
    if (d->channel != NULL && !is_due)
        return;
    struct file_id id = identify(resolv_conf);
    d->resolv_checked = now;
    if (d->channel != NULL && same_file(&id, &d->resolv))
        return;
    struct channel *fresh = channel_new(d->loop, &d->channels, &d->conf->dns);
    if (fresh == NULL) {
        log_limited(LOG_LEVEL_WARNING, "no DNS resolver could be set up: %s", strerror(errno));
        return;
    }
    d->resolv = id;
    channel_retire(d->channel);
    d->channel = fresh;
}

/* ---- queries */

static void on_ready(void *arg)
{
    struct dns_query *q = arg;
    struct dns_record *r = q->answer;
    query_tell(q, r);
    dns_record_unref(r);
}

static void query_join(struct dns *d, struct dns_query *q, const struct dns_key *key, int family)
{
    struct lookup *k;
    HASH_FIND(hh, d->flying, key->p, key->len, k);
    if (k != NULL) {
        list_push_back(&k->queries, &q->link);
        return;
    }
    refresh(d);
    k = lookup_new(d, key, family);
    list_push_back(&k->queries, &q->link);
    if (d->channel != NULL) {
        lookup_send(k);
        return;
    }
    k->ttl = -1;
    k->answer = dns_record_fault(FAULT_DNS, "the DNS resolver could not be set up", lookup_host(k));
    loop_post(d->loop, &k->later);
}

struct dns_query *dns_lookup(struct dns *d, struct str host, int family, dns_fn fn, void *arg)
{
    struct dns_query *q = xcalloc(1, sizeof(*q));
    list_init(&q->link);
    post_init(&q->later, on_ready, q);
    q->fn = fn;
    q->arg = arg;
    q->answer = dns_record_known(host, family);
    if (q->answer == NULL) {
        struct dns_key key;
        dns_key_set(&key, host, family);
        struct dns_record *cached = dns_cache_get(&d->cache, &key, loop_now());
        if (cached == NULL) {
            query_join(d, q, &key, family);
            return q;
        }
        q->answer = dns_record_ref(cached);
    }
    loop_post(d->loop, &q->later);
    return q;
}

void dns_cancel(struct dns_query *q)
{
    list_remove(&q->link);
    loop_unpost(&q->later);
    dns_record_unref(q->answer);
    free(q);
}

/* ---- the resolver */

struct dns *dns_new(struct loop *l, const struct conf *c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
    struct dns *d = xcalloc(1, sizeof(*d));
    list_init(&d->channels);
    d->resolv = identify(resolv_conf);
    d->resolv_checked = loop_now();
    d->channel = channel_new(l, &d->channels, &c->dns);
    if (d->channel == NULL) {
        free(d);
        return NULL;
    }
    d->loop = l;
    d->conf = conf_ref((struct conf *)c);
    dns_cache_init(&d->cache);
    return d;
}

void dns_configure(struct dns *d, const struct conf *c)
{
    struct conf *old = d->conf;
    d->conf = conf_ref((struct conf *)c);
    conf_unref(&old);
    dns_cache_clear(&d->cache);
    channel_retire(d->channel);
    d->channel = NULL;
    refresh(d);
}

static void dns_free(void *object)
{
    struct dns *d = object;
    conf_unref(&d->conf);
    free(d);
}

void dns_close(struct dns *d)
{
    struct lookup *k;
    struct lookup *tmp;
    struct list *it;
    if (d == NULL)
        return;
    HASH_ITER (hh, d->flying, k, tmp) {
        while ((it = list_first(&k->queries)) != NULL)
            dns_cancel(container_of(it, struct dns_query, link));
        lookup_close(k);
    }
    dns_cache_clear(&d->cache);
    while ((it = list_first(&d->channels)) != NULL)
        channel_close(container_of(it, struct channel, link));
    d->channel = NULL;
    loop_reap(d->loop, &d->reap, dns_free, d);
}

struct loop *dns_loop(const struct dns *d)
{
    return d->loop;
}
