/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the service listener serves what a head asks for. What libevhtp takes, and two readers
 * could understand in two ways, is refused here. */
#include "service/admission.h"
#include "service/guard.h"

enum { HOST_MAX = 512 }; /* bytes of a host; a longer one is cut, and then is none of ours */

static bool service_head_refuse(struct fault *f, enum fault_code code, const char *text)
{
    fault_say(f, code, text);
    return false;
}

static unsigned count_fields(const evhtp_request_t *rq, const char *name)
{
    unsigned n = 0;
    evhtp_kv_t *field;
    for (field = TAILQ_FIRST(rq->headers_in); field != NULL; field = TAILQ_NEXT(field, next))
        n += str_ieq(str_make(field->key, field->klen), str_from(name));
    return n;
}

static bool check_host(struct service_conn *c, struct fault *f)
{
    const evhtp_authority_t *authority = c->rq->uri->authority;
    unsigned n = count_fields(c->rq, "Host");
    if (n > 1 || (n == 0 && c->rq->proto == EVHTP_PROTO_11))
        return service_head_refuse(f, FAULT_BAD_REQUEST,
                                   "an HTTP/1.1 request must have one Host field");
    struct guard_request rq = {.host = service_conn_field(c, "Host"),
                               .origin = service_conn_field(c, "Origin"),
                               .site = service_conn_field(c, "Sec-Fetch-Site")};
    char host[HOST_MAX];
    if (authority != NULL && authority->hostname != NULL) {
        bool is_ip6 = strchr(authority->hostname, ':') != NULL;
        snprintf(host, sizeof host, is_ip6 ? "[%s]" : "%s", authority->hostname);
        rq.host = str_from(host);
    }
    return guard_page(c->all->engine->use->conf, &rq, f);
}

static bool check_page(struct service_conn *c, struct fault *f)
{
    const evhtp_request_t *rq = c->rq;
    c->page = rq->uri->path == NULL ? NULL : page_find(str_from(rq->uri->path->full));
    if (!admission_may_ask(c, c->page, f))
        return false;
    if (c->page == NULL)
        return service_head_refuse(f, FAULT_NOT_FOUND,
                                   "there is /, /status, /exchanges, /failures, /metrics, "
                                   "/healthz, /readyz and /batch here");
    if (c->page->is_batch && rq->method != htp_method_POST)
        return service_head_refuse(f, FAULT_NOT_POST, "a batch call is a POST");
    if (!c->page->is_batch && rq->method != htp_method_GET && rq->method != htp_method_HEAD)
        return service_head_refuse(f, FAULT_NOT_GET, "this page takes GET and HEAD alone");
    return true;
}

/* libevhtp takes framing that two readers could disagree on: only one plain length gets by, and
 * that with a batch call. */
static bool service_head_check_length(struct service_conn *c, struct fault *f)
{
    size_t max = c->all->engine->use->conf->batch.max_size;
    unsigned n = count_fields(c->rq, "Content-Length");
    uint64_t length = 0;
    if (count_fields(c->rq, "Transfer-Encoding") > 0)
        return service_head_refuse(f, FAULT_NO_LENGTH,
                                   "no transfer coding is taken here: send Content-Length");
    if (n == 0 && c->page->is_batch)
        return service_head_refuse(f, FAULT_NO_LENGTH, "a batch call needs Content-Length here");
    if (n > 1 || (n == 1 && !str_to_u64(service_conn_field(c, "Content-Length"), &length)))
        return service_head_refuse(f, FAULT_BAD_REQUEST, "Content-Length must be one number");
    if (length > 0 && !c->page->is_batch)
        return service_head_refuse(f, FAULT_TOO_LARGE, "this page takes no body");
    c->body_left = length;
    if (length <= max)
        return true;
    fault_set(f, FAULT_TOO_LARGE, "the body has more than %zu bytes (batch.max_size)", max);
    return false;
}

bool service_head_check(struct service_conn *c, struct fault *f)
{
    if (htparser_get_major(c->conn->parser) != 1 || htparser_get_minor(c->conn->parser) > 1)
        return service_head_refuse(f, FAULT_VERSION, "HTTP/1.1 and 1.0 are spoken here");
    if (c->rq->uri == NULL)
        return service_head_refuse(f, FAULT_BAD_REQUEST, "the target must be a path");
    return check_host(c, f) && check_page(c, f) && service_head_check_length(c, f);
}
