/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to the service listener: see service_conn.h. Hooks only judge and note; libevhtp must
 * not lose a connection under itself, so freeing one is left to a post. */
#include "service/service_conn.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/log_limit.h"
#include "exchange/answer.h"
#include "net/linger.h"
#include "net/sock.h"
#include "service/guard.h"
#include "service/admission.h"

enum {
    PENDING_MAX = 8, /* pieces of output that a refusal is put behind */
    BAD_STATUS = EVHTP_RES_FATAL
};

static bool is_busy(enum service_conn_state state)
{
    return state == SERVICE_CONN_BODY || state == SERVICE_CONN_ANSWER;
}

static void service_conn_set_state(struct service_conn *c, enum service_conn_state to)
{
    c->all->busy += is_busy(to);
    c->all->busy -= is_busy(c->state);
    c->state = to;
}

/* ---- refusing */

/* Something to write to that outlives FD; NULL when descriptors are used up. */
static struct stream *stream_beside(struct service_conns *all, int fd, const struct addr *peer)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return NULL;
    struct stream *s = stream_new(all->engine->loop, copy, peer);
    stream_start(s);
    return s;
}

/* Gives S, which may be NULL, the answer for F and to itself. */
static void service_conn_turn_away(struct stream *s, const struct fault *f, bool is_head)
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

void service_conn_refuse(struct service_conn *c, const struct fault *f)
{
    if (c->is_doomed || c->state == SERVICE_CONN_CLOSED)
        return;
    c->is_doomed = true;
    loop_post(c->all->engine->loop, &c->later);
    struct bufferevent *bev = evhtp_connection_get_bev(c->conn);
    int fd = bufferevent_getfd(bev);
    bufferevent_disable(bev, EV_READ | EV_WRITE);
    if (c->has_begun) {
        sock_set_reset(fd);
        return;
    }
    struct stream *s = stream_beside(c->all, fd, &c->from.peer);
    if (s != NULL)
        put_pending(s, bufferevent_get_output(bev));
    service_conn_turn_away(s, f, c->rq != NULL && c->rq->method == htp_method_HEAD);
}

void service_conn_refuse_as(struct service_conn *c, enum fault_code code, const char *text)
{
    struct fault f;
    fault_say(&f, code, text);
    service_conn_refuse(c, &f);
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

static struct service_view *view_now(struct service_conns *all)
{
    all->view.conf = all->engine->use->conf;
    all->view.draining = all->engine->draining;
    all->view.connections = atomic_load(all->connections);
    all->view.watched = watch_workers(all->watch);
    return &all->view;
}

static struct page_query query_of(const evhtp_request_t *rq)
{
    evhtp_query_t *all = rq->uri->query;
    uint64_t limit;
    struct page_query q = {.limit = -1};
    if (all == NULL)
        return q;
    q.after = str_from(evhtp_kv_find(all, "after"));
    if (str_to_u64(str_from(evhtp_kv_find(all, "limit")), &limit))
        q.limit = limit < EXCHANGES_MOST ? (int64_t)limit : EXCHANGES_MOST;
    return q;
}

static void answer_page(struct service_conn *c)
{
    evhtp_request_t *rq = c->rq;
    struct page_query q = query_of(rq);
    unsigned status = page_print(c->page, rq->buffer_out, view_now(c->all), &q);
    answer_field(rq, "Content-Type", c->page->type);
    answer_field(rq, "Cache-Control", "no-store");
    answer_field(rq, "X-Content-Type-Options", "nosniff");
    /* Browsers send no Sec-Fetch-Site to plain http: of another machine. */
    answer_field(rq, "Cross-Origin-Resource-Policy", "same-origin");
    if (c->page->policy != NULL)
        answer_field(rq, "Content-Security-Policy", c->page->policy);
    answer_length(rq, evbuffer_get_length(rq->buffer_out));
    if (rq->method == htp_method_HEAD)
        evbuffer_drain(rq->buffer_out, evbuffer_get_length(rq->buffer_out));
    if (c->all->engine->draining)
        evhtp_request_disable_flag(rq, EVHTP_REQ_FLAG_KEEPALIVE);
    evhtp_send_reply(rq, (evhtp_res)status);
}

/* The last answer of a connection is given without libevhtp's parser: reading only shows that the
 * client leaves. */
static void service_conn_listen_on(struct service_conn *c)
{
    struct bufferevent *bev = evhtp_connection_get_bev(c->conn);
    c->is_last = true;
    evhtp_connection_disable_flag(c->conn, EVHTP_CONN_FLAG_PAUSED);
    bufferevent_enable(bev, EV_READ);
    bufferevent_trigger(bev, EV_WRITE, 0); /* in case all was written meanwhile */
}

static void service_conn_on_watched(void *arg)
{
    struct service_conn *c = arg;
    c->has_watched = true;
    loop_post(c->all->engine->loop, &c->later);
}

/* The request is whole and may be answered. libevhtp is paused: it would not go on with what is
 * behind a request that it has read already, unless it is resumed. */
static void service_conn_answer(struct service_conn *c)
{
    if (c->page->is_batch) {
        batch_call_end(c);
        service_conn_listen_on(c);
        return;
    }
    if (c->page->is_live && !c->has_watched) {
        watch_ask(c->all->watch, &c->watching, service_conn_on_watched, c);
        return;
    }
    answer_page(c);
    if (c->rq->flags & EVHTP_REQ_FLAG_KEEPALIVE)
        evhtp_request_resume(c->rq);
    else
        service_conn_listen_on(c);
}

static void service_conn_on_later(void *arg)
{
    struct service_conn *c = arg;
    if (c->is_doomed)
        evhtp_connection_free(c->conn);
    else if (c->is_whole)
        service_conn_answer(c);
    else
        service_input_run(c);
}

static void service_conn_on_auth(void *arg, enum auth_result result)
{
    struct service_conn *c = arg;
    c->auth = NULL;
    event_del(&c->gone);
    if (result == AUTH_BUSY) {
        service_conn_refuse_as(c, FAULT_LIMIT, auth_busy);
        return;
    }
    if (result == AUTH_BAD) {
        service_conn_refuse_as(c, FAULT_UNAUTHORIZED, "the credentials are wrong");
        return;
    }
    if (c->page->is_batch)
        batch_call_open(c);
    if (c->is_doomed)
        return;
    if (!c->is_whole) {
        deadline_set(&c->deadline, service_conn_limits(c)->body_timeout);
        bufferevent_enable(evhtp_connection_get_bev(c->conn), EV_READ);
    }
    loop_post(c->all->engine->loop, &c->later);
}

/* ---- credentials */

struct str service_conn_field(const struct service_conn *c, const char *name)
{
    return str_from(evhtp_header_find(c->rq->headers_in, name));
}

/* The end of the client's side is its leaving, as on proxy listeners. */
static void on_gone(evutil_socket_t fd, short what, void *arg)
{
    struct service_conn *c = arg;
    (void)fd;
    (void)what;
    evhtp_connection_free(c->conn);
}

/* Nothing more is read while credentials are hashed, and libevhtp gets no body (service_input.c);
 * but nobody hashes for a client that has left. */
static bool start_auth(struct service_conn *c, struct str credentials, struct fault *f)
{
    struct engine *e = c->all->engine;
    struct bufferevent *bev = evhtp_connection_get_bev(c->conn);
    struct auth_ask ask = {.conf = e->use->conf, .from = &c->from, .value = credentials};
    c->auth = auth_start(e->loop, &ask, service_conn_on_auth, c);
    if (c->auth == NULL) {
        fault_say(f, FAULT_LIMIT, auth_busy);
        return false;
    }
    bufferevent_disable(bev, EV_READ);
    deadline_clear(&c->deadline); /* who waits here is not slow */
    event_assign(&c->gone, e->loop->base, bufferevent_getfd(bev), EV_CLOSED, on_gone, c);
    event_add(&c->gone, NULL);
    return true;
}

/* What a proxy listener has led here comes with our own pass: its client has shown credentials
 * there. */
static enum policy_auth check_credentials(const struct service_conn *c, struct str *credentials,
                                          struct fault *f)
{
    const struct engine *e = c->all->engine;
    struct str proxy = service_conn_field(c, "Proxy-Authorization");
    if (forward_is_pass(e->id, proxy))
        return POLICY_AUTH_OK;
    *credentials = service_conn_field(c, "Authorization");
    if (credentials->len == 0)
        *credentials = proxy;
    return guard_client(e->use->conf, &c->from.peer, *credentials, f);
}

static bool check_client(struct service_conn *c, struct fault *f)
{
    struct str credentials;
    if (c->page->is_open)
        return true;
    if (c->page->is_batch && c->all->is_ending) {
        fault_say(f, FAULT_LIMIT, "tlsfan is ending; try again");
        return false;
    }
    switch (check_credentials(c, &credentials, f)) {
    case POLICY_AUTH_OK:
        if (c->page->is_batch)
            batch_call_open(c);
        return true;
    case POLICY_AUTH_SLOW:
        return start_auth(c, credentials, f);
    default:
        return false;
    }
}

/* ---- what libevhtp tells */

static evhtp_res on_headers(evhtp_request_t *rq, evhtp_headers_t *fields, void *arg)
{
    struct service_conn *c = arg;
    struct fault f;
    (void)fields;
    c->rq = rq;
    service_conn_set_state(c, SERVICE_CONN_BODY);
    deadline_set(&c->deadline, service_conn_limits(c)->body_timeout);
    if (!service_head_check(c, &f) || !check_client(c, &f))
        service_conn_refuse(c, &f);
    else if (rq->proto == EVHTP_PROTO_11 && service_conn_field(c, "Expect").p != NULL &&
             c->body_left > 0)
        evbuffer_add(bufferevent_get_output(evhtp_connection_get_bev(c->conn)),
                     "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return c->is_doomed ? BAD_STATUS : EVHTP_RES_OK;
}

static evhtp_res service_conn_on_read(evhtp_request_t *rq, struct evbuffer *data, void *arg)
{
    struct service_conn *c = arg;
    (void)rq;
    deadline_set(&c->deadline, service_conn_limits(c)->body_timeout);
    if (c->batch != NULL)
        batch_call_body(c, data);
    return c->is_doomed ? BAD_STATUS : EVHTP_RES_OK;
}

void service_conns_take(evhtp_request_t *rq, void *conns)
{
    struct service_conn *c = service_conn_of(rq->conn);
    (void)conns;
    c->is_whole = true;
    deadline_clear(&c->deadline);
    service_conn_set_state(c, SERVICE_CONN_ANSWER);
    evhtp_request_pause(rq);
    if (c->auth == NULL)
        loop_post(c->all->engine->loop, &c->later);
}

/* The request is over, and libevhtp may go on with the next one. */
static evhtp_res on_request_fini(evhtp_request_t *rq, void *arg)
{
    struct service_conn *c = arg;
    (void)rq;
    if (c->state == SERVICE_CONN_CLOSED)
        return EVHTP_RES_OK;
    c->rq = NULL;
    c->page = NULL;
    c->is_whole = false;
    c->has_watched = false;
    service_conn_set_state(c, SERVICE_CONN_IDLE);
    deadline_set(&c->deadline, service_conn_limits(c)->idle_timeout);
    if (evbuffer_get_length(c->in) > 0)
        loop_post(c->all->engine->loop, &c->later);
    return EVHTP_RES_OK;
}

static void service_conn_free(void *arg)
{
    free(arg);
}

static void service_conn_close(struct service_conn *c)
{
    if (c->state == SERVICE_CONN_CLOSED)
        return;
    service_conn_set_state(c, SERVICE_CONN_CLOSED);
    share_set(&c->share, 0);
    c->conn = NULL;
    c->rq = NULL;
    batch_call_cancel(c);
    evbuffer_free(c->in);
    c->in = NULL;
    if (c->auth != NULL)
        event_del(&c->gone);
    auth_cancel(c->auth);
    watch_leave(&c->watching);
    deadline_close(&c->deadline);
    loop_unpost(&c->later);
    admission_leave(c);
    loop_reap(c->all->engine->loop, &c->reap, service_conn_free, c);
}

/* The last look at a connection, whatever ended it. What libevhtp's parser did not like has got no
 * answer yet. */
static evhtp_res on_connection_fini(evhtp_connection_t *conn, void *arg)
{
    struct service_conn *c = arg;
    if (htparser_get_error(conn->parser) != htparse_error_none && c->state != SERVICE_CONN_ANSWER)
        service_conn_refuse_as(
            c, FAULT_BAD_REQUEST,
            "this is no request that is taken here, or it has a line of over 8 KiB");
    if (c->has_begun && c->batch != NULL) /* a FIN could be taken for the end of the answer */
        sock_set_reset(bufferevent_getfd(evhtp_connection_get_bev(conn)));
    service_conn_close(c);
    return EVHTP_RES_OK;
}

static evhtp_res on_write(evhtp_connection_t *conn, void *arg)
{
    (void)conn;
    service_input_count(arg);
    batch_call_drain(arg);
    return EVHTP_RES_OK;
}

void service_conn_begin_head(struct service_conn *c)
{
    service_conn_set_state(c, SERVICE_CONN_HEAD);
    deadline_set(&c->deadline, service_conn_limits(c)->header_timeout);
}

static void service_conn_on_deadline(void *arg)
{
    struct service_conn *c = arg;
    if (c->state == SERVICE_CONN_IDLE)
        evhtp_connection_free(c->conn);
    else if (c->state == SERVICE_CONN_HEAD)
        service_conn_refuse_as(c, FAULT_REQUEST_TIMEOUT,
                               "the request head took longer than client.header_timeout");
    else
        service_conn_refuse_as(c, FAULT_REQUEST_TIMEOUT,
                               "the request body made a pause longer than client.body_timeout");
}

/* ---- life */

void service_conns_init(struct service_conns *all, struct engine *e, const struct service_view *v)
{
    memset(all, 0, sizeof *all);
    all->engine = e;
    all->view = *v;
    all->next_id = e->next_id;
    all->watch = watch_new(e->loop, v);
    admission_init(&all->admission);
}

static void peer_of(const evhtp_connection_t *conn, struct addr *peer)
{
    socklen_t len = conn->saddr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                      : sizeof(struct sockaddr_in6);
    addr_from_sockaddr(peer, conn->saddr, len);
}

evhtp_res service_conns_admit(evhtp_connection_t *conn, void *conns)
{
    (void)conns;
    (void)fcntl(conn->sock, F_SETFD, FD_CLOEXEC);
    return EVHTP_RES_OK;
}

static void set_hooks(evhtp_connection_t *conn, struct service_conn *c)
{
    static const struct {
        evhtp_hook_type type;
        evhtp_hook hook;
    } hooks[] = {
        {evhtp_hook_on_headers, (evhtp_hook)on_headers},
        {evhtp_hook_on_read, (evhtp_hook)service_conn_on_read},
        {evhtp_hook_on_write, (evhtp_hook)on_write},
        {evhtp_hook_on_request_fini, (evhtp_hook)on_request_fini},
        {evhtp_hook_on_connection_fini, (evhtp_hook)on_connection_fini},
    };
    for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++)
        evhtp_connection_set_hook(conn, hooks[i].type, hooks[i].hook, c);
}

evhtp_res service_conns_accept(evhtp_connection_t *conn, void *conns)
{
    struct service_conns *all = conns;
    struct service_conn *c = xcalloc(1, sizeof *c);
    int64_t ms = all->engine->use->conf->client.write_timeout;
    struct timeval slow = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    c->all = all;
    c->conn = conn;
    peer_of(conn, &c->from.peer);
    addr_print_ip(&c->from.peer, c->from.peer_text);
    c->from.is_local = addr_is_loopback(&c->from.peer);
    c->from.id = ++all->next_id;
    deadline_init(&c->deadline, all->engine->loop, service_conn_on_deadline, c);
    post_init(&c->later, service_conn_on_later, c);
    list_init(&c->link);
    set_hooks(conn, c);
    service_input_open(c);
    evhtp_connection_set_timeouts(conn, NULL, ms > 0 ? &slow : NULL);
    deadline_set(&c->deadline,
                 service_conn_limits(c)->header_timeout); /* it came to ask something */
    admission_take(c);
    return EVHTP_RES_OK;
}

void service_conns_close(struct service_conns *all)
{
    struct list *it;
    while ((it = list_first(&all->admission.members)) != NULL ||
           (it = list_first(&all->admission.guests)) != NULL)
        evhtp_connection_free(container_of(it, struct service_conn, link)->conn);
    watch_close(all->watch);
    all->watch = NULL;
}
