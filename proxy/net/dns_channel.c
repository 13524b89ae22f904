/* SPDX-License-Identifier: Apache-2.0 */
/* c-ares on the loop. Its callbacks only record what came and post; everything else happens from
 * there. c-ares can cancel a whole channel but not one request, so a request outlives a question
 * that was forgotten, and then only counts. */
#include "net/dns_channel.h"

#include <ares.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "net/dns.h"

enum {
    TRIES_MIN = 3,
    FIRST_TRY_MIN = 100,     /* ms */
    TIMEOUT_DEFAULT = 20000, /* ms */
    LOOK_PAUSE = 20,         /* ms between two looks at all that c-ares waits for */
    ASKED_MAX = 1000,        /* from one port */
    SERVERS_SHOWN = 128      /* bytes */
};

struct dns_channel {
    struct list link; /* in a list of the owner's */
    struct loop *loop;
    ares_channel ares;     /* asks the servers */
    ares_channel files;    /* reads the file of hosts, at once */
    char *servers;         /* heap: both ask these; for sentences, cut */
    struct list sockets;   /* struct dns_socket */
    struct deadline timer; /* of c-ares */
    unsigned requests;     /* that c-ares holds */
    unsigned n_asked;      /* of the servers, since it held none */
    bool is_retired;       /* goes when `requests` is 0 */
    bool is_reaped;
    struct post check; /* requests have come or gone */
    struct reap reap;
};

/* A socket that c-ares opened and closes. */
struct dns_socket {
    struct list link;
    struct dns_channel *channel;
    struct event event;
    int fd;
    struct reap reap;
};

/* The argument of a c-ares callback. Freed by it. */
struct dns_request {
    struct dns_question *question; /* NULL: nobody wants to know */
    struct dns_channel *channel;
    int family;
    bool is_file;
    char name[]; /* for messages */
};

/* ---- channels */

static void socket_free(void *object)
{
    free(object);
}

/* c-ares looks at all that it waits for, to say when it wants to be called. */
static void arm_timer(struct dns_channel *ch)
{
    struct timeval tv;
    if (ares_timeout(ch->ares, NULL, &tv) == NULL) {
        deadline_clear(&ch->timer);
        return;
    }
    int64_t ms = (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1;
    deadline_set(&ch->timer, ms > LOOK_PAUSE ? ms : LOOK_PAUSE);
}

/* Requests have come or gone. c-ares is not asked for the time now: it walks all requests, which
 * for each of them would be quadratic. Before this timer no request's first try is over. */
static void arm_timer_soon(struct dns_channel *ch)
{
    if (ch->requests == 0)
        deadline_clear(&ch->timer);
    else if (!deadline_is_set(&ch->timer) || ch->timer.at > loop_now() + FIRST_TRY_MIN * 1000)
        deadline_set(&ch->timer, FIRST_TRY_MIN);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct dns_socket *s = arg;
    struct dns_channel *ch = s->channel;
    ares_process_fd(ch->ares, (what & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
                    (what & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
    arm_timer_soon(ch);
}

static void channel_on_timer(void *arg)
{
    struct dns_channel *ch = arg;
    ares_process_fd(ch->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timer(ch);
}

static struct dns_socket *find_socket(struct dns_channel *ch, int fd)
{
    list_foreach (it, &ch->sockets) {
        struct dns_socket *s = container_of(it, struct dns_socket, link);
        if (s->fd == fd)
            return s;
    }
    return NULL;
}

/* c-ares waits for other events of a socket than before; for none when it is about to close it. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct dns_channel *ch = arg;
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
    struct dns_channel *ch = object;
    struct list *it;
    ares_destroy(ch->files);
    ares_destroy(ch->ares); /* ends every request still there */
    while ((it = list_pop(&ch->sockets)) != NULL) {
        struct dns_socket *s = container_of(it, struct dns_socket, link);
        event_del(&s->event);
        free(s);
    }
    loop_unpost(&ch->check);
    free(ch->servers);
    free(ch);
}

static void channel_close(struct dns_channel *ch)
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
    struct dns_channel *ch = arg;
    if (ch->is_retired && ch->requests == 0)
        channel_close(ch);
}

void dns_channel_retire(struct dns_channel *ch)
{
    if (ch == NULL)
        return;
    ch->is_retired = true;
    loop_post(ch->loop, &ch->check);
}

bool dns_channel_is_worn(const struct dns_channel *ch)
{
    return ch->n_asked >= ASKED_MAX;
}

/* "ADDR,ADDR:PORT", with COMMA between them; NULL without servers. Heap. */
static char *server_list(const struct strings *servers, const char *comma)
{
    char *all = NULL;
    for (unsigned i = 0; i < servers->n; i++) {
        char *longer =
            xasprintf("%s%s%s", all == NULL ? "" : all, all == NULL ? "" : comma, servers->v[i]);
        free(all);
        all = longer;
    }
    return all;
}

/* Both know the same names for files and servers; only one of the two is ever asked. */
static int open_ares(ares_channel *to, struct ares_options *options, int mask, const char *lookups)
{
    char which[2] = {lookups[0], '\0'};
    options->lookups = which;
    /* No list of domains, no aliases: a question is one name. */
    options->flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
    options->ndots = 0;
    options->ndomains = 0;
    return ares_init_options(
        to, options, mask | ARES_OPT_LOOKUPS | ARES_OPT_FLAGS | ARES_OPT_NDOTS | ARES_OPT_DOMAINS);
}

/* c-ares doubles the time at each try; a server that does not answer must leave some of dns.timeout
 * for the next server, and for each name that comes next. The last try ends after all of it. */
static void set_patience(struct ares_options *options, int64_t timeout, unsigned names)
{
    int64_t whole = timeout > 0 && timeout < TIMEOUT_DEFAULT ? timeout : TIMEOUT_DEFAULT;
    int64_t first = whole / 4 / (names > 0 ? names : 1);
    options->timeout = (int)(first > FIRST_TRY_MIN ? first : FIRST_TRY_MIN);
    options->tries = TRIES_MIN;
    while (((int64_t)options->timeout << options->tries) < whole + options->timeout)
        options->tries++;
}

static int open_both(struct dns_channel *ch, const struct dns_conf *c, unsigned names)
{
    struct ares_options options = {.sock_state_cb = on_socket_state, .sock_state_cb_data = ch};
    set_patience(&options, c->timeout, names);
    int err = open_ares(&ch->ares, &options,
                        ARES_OPT_SOCK_STATE_CB | ARES_OPT_TRIES | ARES_OPT_TIMEOUTMS, "b");
    if (err != ARES_SUCCESS)
        return err;
    char *servers = server_list(&c->servers, ",");
    if (servers != NULL)
        err = ares_set_servers_ports_csv(ch->ares, servers);
    free(servers);
    if (err == ARES_SUCCESS)
        err = open_ares(&ch->files, &options, 0, "f");
    if (err != ARES_SUCCESS)
        ares_destroy(ch->ares);
    return err;
}

static void library_init(void)
{
    ares_library_init(ARES_LIB_INIT_ALL);
}

struct dns_channel *dns_channel_new(struct loop *l, struct list *channels, const struct dns_conf *c,
                                    const struct dns_search *search)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
    struct dns_channel *ch = xcalloc(1, sizeof(*ch));
    ch->loop = l;
    list_init(&ch->sockets);
    int err = open_both(ch, c, search->n + 1);
    if (err != ARES_SUCCESS) {
        free(ch);
        errno = err == ARES_ENOMEM ? ENOMEM : EINVAL;
        return NULL;
    }
    ch->servers = server_list(&c->servers, ", ");
    /* Without any, this machine is asked. */
    if (ch->servers == NULL)
        ch->servers = xstrdup(search->servers == NULL ? "127.0.0.1" : search->servers);
    deadline_init(&ch->timer, l, channel_on_timer, ch);
    post_init(&ch->check, on_check, ch);
    list_push_back(channels, &ch->link);
    return ch;
}

void dns_channels_close(struct list *channels)
{
    struct list *it;
    while ((it = list_first(channels)) != NULL)
        channel_close(container_of(it, struct dns_channel, link));
}

/* ---- questions */

/* Adds A to R, unless it is there: an address that is listed twice is not tried twice. */
static void record_add(struct dns_record *r, const struct ares_addrinfo_node *a)
{
    struct addr *addr = &r->addrs[r->n];
    addr_from_sockaddr(addr, a->ai_addr, a->ai_addrlen);
    for (unsigned i = 0; i < r->n; i++)
        if (addr_equal(&r->addrs[i], addr))
            return;
    r->n++;
}

/* Copies what c-ares found for FAMILY; *TTL is the least of addresses and CNAMEs, in seconds. It
 * gives what stands in the answer, whatever the question was. */
static struct dns_record *record_of(const struct ares_addrinfo *info, int family, int64_t *ttl)
{
    unsigned n = 0;
    for (const struct ares_addrinfo_node *a = info->nodes; a != NULL && n < DNS_ADDRS_MAX;
         a = a->ai_next)
        n += a->ai_family == family;
    struct dns_record *r = n > 0 ? dns_record_new(NULL, n) : NULL;
    if (r != NULL)
        r->n = 0;
    *ttl = INT32_MAX;
    unsigned i = 0;
    for (const struct ares_addrinfo_node *a = info->nodes; a != NULL; a = a->ai_next) {
        if (a->ai_family == family && i++ < n)
            record_add(r, a);
        if (a->ai_ttl < *ttl)
            *ttl = a->ai_ttl;
    }
    for (const struct ares_addrinfo_cname *c = info->cnames; c != NULL; c = c->next) {
        if (c->ttl < *ttl)
            *ttl = c->ttl;
    }
    return r;
}

struct dns_record *dns_channel_fault(const struct dns_channel *ch, enum fault_code code,
                                     const char *reason, struct str host)
{
    char shown[SERVERS_SHOWN];
    if (ch == NULL)
        return dns_record_fault(code, reason, host);
    bool is_cut = strlen(ch->servers) >= sizeof(shown);
    str_escape(shown, sizeof(shown), str_from(ch->servers));
    char *why = xasprintf("%s (asked: %s%s)", reason, shown, is_cut ? "..." : "");
    struct dns_record *r = dns_record_fault(code, why, host);
    free(why);
    return r;
}

/* What a question without addresses says. */
static struct dns_record *record_of_error(const struct dns_request *rq, int status)
{
    struct str name = str_from(rq->name);
    if (rq->is_file)
        return dns_record_nodata(name, rq->family);
    switch (status) {
    case ARES_SUCCESS:
    case ARES_ENODATA:
        return dns_record_nodata(name, rq->family);
    case ARES_ENOTFOUND:
        return dns_record_absent(name);
    case ARES_ETIMEOUT:
        return dns_channel_fault(rq->channel, FAULT_DNS_TIMEOUT, "no DNS server answered", name);
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
    case ARES_ECONNREFUSED:
        /* c-ares gives the last for servers that answer with a failure, too. */
        return dns_channel_fault(rq->channel, FAULT_DNS, "no DNS server could answer", name);
    case ARES_EBADNAME: /* so nobody was asked */
        return dns_record_fault(FAULT_DNS, "no name that can be in the DNS", name);
    default:
        return dns_channel_fault(rq->channel, FAULT_DNS, ares_strerror(status), name);
    }
}

/* From c-ares, maybe inside ares_getaddrinfo(): records and posts. */
static void on_ares(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct dns_request *rq = arg;
    struct dns_question *q = rq->question;
    struct dns_channel *ch = rq->channel;
    (void)timeouts;
    ch->requests--;
    if (ch->is_retired && !ch->is_reaped)
        loop_post(ch->loop, &ch->check);
    if (q != NULL) {
        q->request = NULL;
        if (status == ARES_SUCCESS && info != NULL)
            q->answer = record_of(info, rq->family, &q->ttl);
        if (q->answer == NULL)
            q->answer = record_of_error(rq, status);
        loop_post(q->loop, q->later);
    }
    free(rq);
    if (info != NULL)
        ares_freeaddrinfo(info);
}

static void channel_ask(struct dns_channel *ch, struct dns_request *rq)
{
    ares_channel ares = rq->is_file ? ch->files : ch->ares;
    struct ares_addrinfo_hints hints = {
        .ai_family = rq->family, .ai_flags = ARES_AI_NOSORT, .ai_socktype = SOCK_STREAM};
    /* RQ may be gone before the call has returned, and its name with it. */
    char name[DNS_NAME_MAX + 1];
    memcpy(name, rq->name, strlen(rq->name) + 1);
    if (ch->requests == 0)
        ch->n_asked = 0;
    ch->n_asked += !rq->is_file;
    ch->requests++;
    ares_getaddrinfo(ares, name, NULL, &hints, on_ares, rq);
    arm_timer_soon(ch);
}

static struct dns_request *request_new(struct dns_channel *ch, struct dns_question *q,
                                       const char *name, int family)
{
    size_t len = strnlen(name, DNS_NAME_MAX);
    struct dns_request *rq = xcalloc(1, sizeof(*rq) + len + 1);
    memcpy(rq->name, name, len);
    rq->channel = ch;
    rq->family = family;
    rq->question = q;
    q->request = rq;
    return rq;
}

void dns_channel_ask(struct dns_channel *ch, struct dns_question *q, const char *name, int family)
{
    channel_ask(ch, request_new(ch, q, name, family));
}

void dns_channel_ask_file(struct dns_channel *ch, struct dns_question *q, const char *name,
                          int family)
{
    struct dns_request *rq = request_new(ch, q, name, family);
    rq->is_file = true;
    channel_ask(ch, rq);
}

void dns_question_forget(struct dns_question *q)
{
    if (q->request != NULL)
        q->request->question = NULL;
    q->request = NULL;
}
