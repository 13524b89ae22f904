/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to the service listener: see caller.h. Hooks only judge and note; libevhtp must not
 * lose a connection under itself, so freeing one is left to a post. */
#include "service/caller.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/log_limit.h"
#include "exchange/answer.h"
#include "net/linger.h"
#include "net/sock.h"
#include "service/guard.h"
#include "service/places.h"

enum {
    HOST_MAX = 512,  /* bytes of a host; a longer one is cut, and then is none of ours */
    PENDING_MAX = 8, /* pieces of output that a refusal is put behind */
    BAD_STATUS = EVHTP_RES_FATAL
};

static bool is_busy(enum caller_state state)
{
    return state == CALLER_BODY || state == CALLER_ANSWER;
}

static void caller_set_state(struct caller *k, enum caller_state to)
{
    k->all->busy += is_busy(to);
    k->all->busy -= is_busy(k->state);
    k->state = to;
}

/* ---- refusing */

/* Something to write to that outlives FD; NULL when descriptors are used up. */
static struct stream *stream_beside(struct callers *all, int fd, const struct addr *peer)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return NULL;
    struct stream *s = stream_new(all->engine->loop, copy, peer);
    stream_start(s);
    return s;
}

/* Gives S, which may be NULL, the answer for F and to itself. */
static void turn_away(struct stream *s, const struct fault *f, bool is_head)
{
    char text[ANSWER_RAW];
    if (s == NULL)
        return;
    linger_with(s, text, answer_raw(text, f, is_head));
}

/* What libevhtp has not written yet goes first. */
static void put_pending(struct stream *s, struct evbuffer *out)
{
    struct evbuffer_iovec pieces[PENDING_MAX];
    int n = evbuffer_peek(out, -1, NULL, pieces, PENDING_MAX);
    for (int i = 0; i < n && i < PENDING_MAX; i++)
        stream_put(s, pieces[i].iov_base, pieces[i].iov_len);
}

void caller_refuse(struct caller *k, const struct fault *f)
{
    if (k->is_doomed || k->state == CALLER_CLOSED)
        return;
    k->is_doomed = true;
    loop_post(k->all->engine->loop, &k->later);
    struct bufferevent *bev = evhtp_connection_get_bev(k->conn);
    int fd = bufferevent_getfd(bev);
    bufferevent_disable(bev, EV_READ | EV_WRITE);
    if (k->has_begun) {
        sock_set_reset(fd);
        return;
    }
    struct stream *s = stream_beside(k->all, fd, &k->from.peer);
    if (s != NULL)
        put_pending(s, bufferevent_get_output(bev));
    turn_away(s, f, k->rq != NULL && k->rq->method == htp_method_HEAD);
}

void caller_refuse_as(struct caller *k, enum fault_code code, const char *text)
{
    struct fault f;
    fault_say(&f, code, text);
    caller_refuse(k, &f);
}

/* ---- answering */

static void answer_field(evhtp_request_t *rq, const char *name, const char *value)
{
    evhtp_headers_add_header(rq->headers_out, evhtp_header_new(name, value, 0, 0));
}

static void answer_length(evhtp_request_t *rq, size_t n)
{
    char digits[24];
    digits[str_put_u64(digits, n)] = '\0';
    evhtp_headers_add_header(rq->headers_out, evhtp_header_new("Content-Length", digits, 0, 1));
}

static struct watch *watch_now(struct callers *all)
{
    all->watch.conf = all->engine->use->conf;
    all->watch.draining = all->engine->draining;
    all->watch.connections = atomic_load(all->connections);
    return &all->watch;
}

static void answer_page(struct caller *k)
{
    evhtp_request_t *rq = k->rq;
    const char *after = rq->uri->query == NULL ? NULL : evhtp_kv_find(rq->uri->query, "after");
    unsigned status = page_print(k->page, rq->buffer_out, watch_now(k->all), str_from(after));
    answer_field(rq, "Content-Type", k->page->type);
    answer_field(rq, "Cache-Control", "no-store");
    answer_field(rq, "X-Content-Type-Options", "nosniff");
    if (k->page->policy != NULL)
        answer_field(rq, "Content-Security-Policy", k->page->policy);
    answer_length(rq, evbuffer_get_length(rq->buffer_out));
    if (rq->method == htp_method_HEAD)
        evbuffer_drain(rq->buffer_out, evbuffer_get_length(rq->buffer_out));
    if (k->all->engine->draining)
        evhtp_request_disable_flag(rq, EVHTP_REQ_FLAG_KEEPALIVE);
    evhtp_send_reply(rq, (evhtp_res)status);
}

/* The last answer of a connection is given without libevhtp's parser: reading only shows that the
 * caller leaves. */
static void caller_listen_on(struct caller *k)
{
    struct bufferevent *bev = evhtp_connection_get_bev(k->conn);
    k->is_last = true;
    evhtp_connection_disable_flag(k->conn, EVHTP_CONN_FLAG_PAUSED);
    bufferevent_enable(bev, EV_READ);
    bufferevent_trigger(bev, EV_WRITE, 0); /* in case all was written meanwhile */
}

/* The request is whole and its caller may ask. libevhtp is paused: it would not go on with what is
 * behind a request that it has read already, unless it is resumed. */
static void caller_answer(struct caller *k)
{
    if (k->page->is_batch) {
        call_end(k);
        caller_listen_on(k);
        return;
    }
    answer_page(k);
    if (k->rq->flags & EVHTP_REQ_FLAG_KEEPALIVE)
        evhtp_request_resume(k->rq);
    else
        caller_listen_on(k);
}

static void on_later(void *arg)
{
    struct caller *k = arg;
    if (k->is_doomed)
        evhtp_connection_free(k->conn);
    else if (k->is_whole)
        caller_answer(k);
    else
        feed_caller(k);
}

static void on_auth(void *arg, enum auth_result result)
{
    struct caller *k = arg;
    k->auth = NULL;
    event_del(&k->gone);
    if (result == AUTH_BUSY) {
        caller_refuse_as(k, FAULT_LIMIT, auth_busy);
        return;
    }
    if (result == AUTH_BAD) {
        caller_refuse_as(k, FAULT_UNAUTHORIZED, "the credentials are wrong");
        return;
    }
    if (k->page->is_batch)
        call_open(k);
    if (k->is_doomed)
        return;
    if (!k->is_whole) {
        deadline_set(&k->deadline, caller_limits(k)->body_timeout);
        bufferevent_enable(evhtp_connection_get_bev(k->conn), EV_READ);
    }
    loop_post(k->all->engine->loop, &k->later);
}

/* ---- judging a head */

struct str caller_field(const struct caller *k, const char *name)
{
    return str_from(evhtp_header_find(k->rq->headers_in, name));
}

static unsigned count_fields(const evhtp_request_t *rq, const char *name)
{
    unsigned n = 0;
    evhtp_kv_t *field;
    for (field = TAILQ_FIRST(rq->headers_in); field != NULL; field = TAILQ_NEXT(field, next))
        n += str_ieq(str_make(field->key, field->klen), str_from(name));
    return n;
}

static bool refuse(struct fault *f, enum fault_code code, const char *text)
{
    fault_say(f, code, text);
    return false;
}

static bool check_host(struct caller *k, struct fault *f)
{
    const evhtp_authority_t *authority = k->rq->uri->authority;
    unsigned n = count_fields(k->rq, "Host");
    if (n > 1 || (n == 0 && k->rq->proto == EVHTP_PROTO_11))
        return refuse(f, FAULT_BAD_REQUEST, "an HTTP/1.1 request must have one Host field");
    struct guard_ask ask = {.host = caller_field(k, "Host"),
                            .origin = caller_field(k, "Origin"),
                            .site = caller_field(k, "Sec-Fetch-Site")};
    char host[HOST_MAX];
    if (authority != NULL && authority->hostname != NULL) {
        bool is_ip6 = strchr(authority->hostname, ':') != NULL;
        snprintf(host, sizeof host, is_ip6 ? "[%s]" : "%s", authority->hostname);
        ask.host = str_from(host);
    }
    return guard_page(k->all->engine->use->conf, &ask, f);
}

static bool check_page(struct caller *k, struct fault *f)
{
    const evhtp_request_t *rq = k->rq;
    k->page = rq->uri->path == NULL ? NULL : page_find(str_from(rq->uri->path->full));
    if (!places_may_ask(k, k->page, f))
        return false;
    if (k->page == NULL)
        return refuse(f, FAULT_NOT_FOUND,
                      "there is /, /status, /metrics, /healthz, /readyz and /batch here");
    if (k->page->is_batch && rq->method != htp_method_POST)
        return refuse(f, FAULT_NOT_POST, "a batch call is a POST");
    if (!k->page->is_batch && rq->method != htp_method_GET && rq->method != htp_method_HEAD)
        return refuse(f, FAULT_NOT_GET, "this page takes GET and HEAD alone");
    return true;
}

/* libevhtp takes framing that two readers could disagree on: only one plain length gets by, and
 * that with a batch call. */
static bool check_length(struct caller *k, struct fault *f)
{
    size_t max = k->all->engine->use->conf->batch.max_size;
    unsigned n = count_fields(k->rq, "Content-Length");
    uint64_t length = 0;
    if (count_fields(k->rq, "Transfer-Encoding") > 0)
        return refuse(f, FAULT_NO_LENGTH, "no transfer coding is taken here: send Content-Length");
    if (n == 0 && k->page->is_batch)
        return refuse(f, FAULT_NO_LENGTH, "a batch call needs Content-Length here");
    if (n > 1 || (n == 1 && !str_to_u64(caller_field(k, "Content-Length"), &length)))
        return refuse(f, FAULT_BAD_REQUEST, "Content-Length must be one number");
    if (length > 0 && !k->page->is_batch)
        return refuse(f, FAULT_TOO_LARGE, "this page takes no body");
    k->body_left = length;
    if (length <= max)
        return true;
    fault_set(f, FAULT_TOO_LARGE, "the body has more than %zu bytes (batch.max_size)", max);
    return false;
}

static bool check_head(struct caller *k, struct fault *f)
{
    if (htparser_get_major(k->conn->parser) != 1 || htparser_get_minor(k->conn->parser) > 1)
        return refuse(f, FAULT_VERSION, "HTTP/1.1 and 1.0 are spoken here");
    if (k->rq->uri == NULL)
        return refuse(f, FAULT_BAD_REQUEST, "the target must be a path");
    return check_host(k, f) && check_page(k, f) && check_length(k, f);
}

/* The end of the caller's side is its leaving, as on proxy listeners. */
static void on_gone(evutil_socket_t fd, short what, void *arg)
{
    struct caller *k = arg;
    (void)fd;
    (void)what;
    evhtp_connection_free(k->conn);
}

/* Nothing more is read while credentials are hashed, and libevhtp gets no body (feed.c); but nobody
 * hashes for a caller who has left. */
static bool start_auth(struct caller *k, struct str credentials, struct fault *f)
{
    struct engine *e = k->all->engine;
    struct bufferevent *bev = evhtp_connection_get_bev(k->conn);
    struct auth_ask ask = {.conf = e->use->conf, .from = &k->from, .value = credentials};
    k->auth = auth_start(e->loop, &ask, on_auth, k);
    if (k->auth == NULL)
        return refuse(f, FAULT_LIMIT, auth_busy);
    bufferevent_disable(bev, EV_READ);
    deadline_clear(&k->deadline); /* who waits here is not slow */
    event_assign(&k->gone, e->loop->base, bufferevent_getfd(bev), EV_CLOSED, on_gone, k);
    event_add(&k->gone, NULL);
    return true;
}

static bool check_client(struct caller *k, struct fault *f)
{
    struct str credentials = caller_field(k, "Authorization");
    if (credentials.len == 0)
        credentials = caller_field(k, "Proxy-Authorization");
    if (k->page->is_open)
        return true;
    if (k->page->is_batch && k->all->is_ending)
        return refuse(f, FAULT_LIMIT, "tlsfan is ending; try again");
    switch (guard_client(k->all->engine->use->conf, &k->from.peer, credentials, f)) {
    case POLICY_AUTH_OK:
        if (k->page->is_batch)
            call_open(k);
        return true;
    case POLICY_AUTH_SLOW:
        return start_auth(k, credentials, f);
    default:
        return false;
    }
}

/* ---- what libevhtp tells */

static evhtp_res on_headers(evhtp_request_t *rq, evhtp_headers_t *fields, void *arg)
{
    struct caller *k = arg;
    struct fault f;
    (void)fields;
    k->rq = rq;
    caller_set_state(k, CALLER_BODY);
    deadline_set(&k->deadline, caller_limits(k)->body_timeout);
    if (!check_head(k, &f) || !check_client(k, &f))
        caller_refuse(k, &f);
    else if (rq->proto == EVHTP_PROTO_11 && caller_field(k, "Expect").p != NULL && k->body_left > 0)
        evbuffer_add(bufferevent_get_output(evhtp_connection_get_bev(k->conn)),
                     "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return k->is_doomed ? BAD_STATUS : EVHTP_RES_OK;
}

static evhtp_res on_read(evhtp_request_t *rq, struct evbuffer *data, void *arg)
{
    struct caller *k = arg;
    (void)rq;
    deadline_set(&k->deadline, caller_limits(k)->body_timeout);
    if (k->batch != NULL)
        call_body(k, data);
    return k->is_doomed ? BAD_STATUS : EVHTP_RES_OK;
}

void callers_take(evhtp_request_t *rq, void *callers)
{
    struct caller *k = caller_of(rq->conn);
    (void)callers;
    k->is_whole = true;
    deadline_clear(&k->deadline);
    caller_set_state(k, CALLER_ANSWER);
    evhtp_request_pause(rq);
    if (k->auth == NULL)
        loop_post(k->all->engine->loop, &k->later);
}

/* The request is over, and libevhtp may go on with the next one. */
static evhtp_res on_request_fini(evhtp_request_t *rq, void *arg)
{
    struct caller *k = arg;
    (void)rq;
    if (k->state == CALLER_CLOSED)
        return EVHTP_RES_OK;
    k->rq = NULL;
    k->page = NULL;
    k->is_whole = false;
    caller_set_state(k, CALLER_IDLE);
    deadline_set(&k->deadline, caller_limits(k)->idle_timeout);
    if (evbuffer_get_length(k->in) > 0)
        loop_post(k->all->engine->loop, &k->later);
    return EVHTP_RES_OK;
}

static void caller_free(void *arg)
{
    free(arg);
}

static void caller_close(struct caller *k)
{
    if (k->state == CALLER_CLOSED)
        return;
    caller_set_state(k, CALLER_CLOSED);
    share_set(&k->share, 0);
    k->conn = NULL;
    k->rq = NULL;
    call_cancel(k);
    evbuffer_free(k->in);
    k->in = NULL;
    if (k->auth != NULL)
        event_del(&k->gone);
    auth_cancel(k->auth);
    deadline_close(&k->deadline);
    loop_unpost(&k->later);
    places_leave(k);
    loop_reap(k->all->engine->loop, &k->reap, caller_free, k);
}

/* The last look at a connection, whatever ended it. What libevhtp's parser did not like has got no
 * answer yet. */
static evhtp_res on_connection_fini(evhtp_connection_t *conn, void *arg)
{
    struct caller *k = arg;
    if (htparser_get_error(conn->parser) != htparse_error_none && k->state != CALLER_ANSWER)
        caller_refuse_as(k, FAULT_BAD_REQUEST,
                         "this is no request that is taken here, or it has a line of over 8 KiB");
    if (k->has_begun && k->batch != NULL) /* a FIN could be taken for the end of the answer */
        sock_set_reset(bufferevent_getfd(evhtp_connection_get_bev(conn)));
    caller_close(k);
    return EVHTP_RES_OK;
}

static evhtp_res on_write(evhtp_connection_t *conn, void *arg)
{
    (void)conn;
    feed_count(arg);
    call_drain(arg);
    return EVHTP_RES_OK;
}

void caller_begin_head(struct caller *k)
{
    caller_set_state(k, CALLER_HEAD);
    deadline_set(&k->deadline, caller_limits(k)->header_timeout);
}

static void on_deadline(void *arg)
{
    struct caller *k = arg;
    if (k->state == CALLER_IDLE)
        evhtp_connection_free(k->conn);
    else if (k->state == CALLER_HEAD)
        caller_refuse_as(k, FAULT_REQUEST_TIMEOUT,
                         "the request head took longer than client.header_timeout");
    else
        caller_refuse_as(k, FAULT_REQUEST_TIMEOUT,
                         "the request body made a pause longer than client.body_timeout");
}

/* ---- life */

void callers_init(struct callers *all, struct engine *e, const struct watch *w)
{
    memset(all, 0, sizeof *all);
    all->engine = e;
    all->watch = *w;
    all->next_id = e->next_id;
    places_init(&all->places);
}

static void peer_of(const evhtp_connection_t *conn, struct addr *peer)
{
    socklen_t len = conn->saddr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                      : sizeof(struct sockaddr_in6);
    addr_from_sockaddr(peer, conn->saddr, len);
}

evhtp_res callers_admit(evhtp_connection_t *conn, void *callers)
{
    (void)callers;
    (void)fcntl(conn->sock, F_SETFD, FD_CLOEXEC);
    return EVHTP_RES_OK;
}

static void set_hooks(evhtp_connection_t *conn, struct caller *k)
{
    static const struct {
        evhtp_hook_type type;
        evhtp_hook hook;
    } hooks[] = {
        {evhtp_hook_on_headers, (evhtp_hook)on_headers},
        {evhtp_hook_on_read, (evhtp_hook)on_read},
        {evhtp_hook_on_write, (evhtp_hook)on_write},
        {evhtp_hook_on_request_fini, (evhtp_hook)on_request_fini},
        {evhtp_hook_on_connection_fini, (evhtp_hook)on_connection_fini},
    };
    for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++)
        evhtp_connection_set_hook(conn, hooks[i].type, hooks[i].hook, k);
}

evhtp_res callers_accept(evhtp_connection_t *conn, void *callers)
{
    struct callers *all = callers;
    struct caller *k = xcalloc(1, sizeof *k);
    int64_t ms = all->engine->use->conf->client.write_timeout;
    struct timeval slow = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    k->all = all;
    k->conn = conn;
    peer_of(conn, &k->from.peer);
    addr_print_ip(&k->from.peer, k->from.peer_text);
    k->from.is_local = addr_is_loopback(&k->from.peer);
    k->from.id = ++all->next_id;
    deadline_init(&k->deadline, all->engine->loop, on_deadline, k);
    post_init(&k->later, on_later, k);
    list_init(&k->link);
    set_hooks(conn, k);
    feed_open(k);
    evhtp_connection_set_timeouts(conn, NULL, ms > 0 ? &slow : NULL);
    deadline_set(&k->deadline, caller_limits(k)->header_timeout); /* it came to ask something */
    places_take(k);
    return EVHTP_RES_OK;
}

void callers_close(struct callers *all)
{
    struct list *it;
    while ((it = list_first(&all->places.members)) != NULL ||
           (it = list_first(&all->places.guests)) != NULL)
        evhtp_connection_free(container_of(it, struct caller, link)->conn);
}
