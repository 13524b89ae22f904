/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics, one function a family or a group of families. What stands before the values of a
 * family, its HELP and TYPE, is written once. */
#include "service/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "net/tls_ctx.h"
#include "net/tls_issuers.h"
#include "net/tls_mint.h"
#include "own/json_text.h"
#include "service/total.h"

enum {
    LABEL_ROOM = 640, /* bytes: a host name and a port, all of it escaped */
    OWN_MAX = 100     /* client certificates that are told of */
};

/* One answer. */
struct sheet {
    struct evbuffer *out;
    const struct service_view *v;
    const struct total *t;
};

static void put_family(const struct sheet *s, const char *name, const char *type, const char *help)
{
    evbuffer_add_printf(s->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void metrics_put_value(const struct sheet *s, const char *name, uint64_t value)
{
    evbuffer_add_printf(s->out, "%s %llu\n", name, (unsigned long long)value);
}

/* As much of TEXT as fits, escaped as the format wants it. One byte that is no UTF-8, in the name
 * of a file, would make Prometheus refuse all of the answer. */
static const char *escape_label(char *dst, size_t cap, const char *text)
{
    struct utf8 seen = {0};
    size_t n = 0;
    bool is_utf8 =
        strlen(text) < cap / 2 && utf8_take(&seen, str_from(text)) && utf8_is_whole(&seen);
    for (; *text != '\0' && n + 2 < cap; text++) {
        if (*text == '"' || *text == '\\' || *text == '\n')
            dst[n++] = '\\';
        bool is_odd = !is_utf8 && ((unsigned char)*text & 0x80) != 0;
        dst[n++] = *text == '\n' ? 'n' : is_odd ? '?' : *text;
    }
    dst[n] = '\0';
    return dst;
}

static void put_labelled(const struct sheet *s, const char *name, const char *label,
                         const char *text, uint64_t value)
{
    char escaped[LABEL_ROOM];
    evbuffer_add_printf(s->out, "%s{%s=\"%s\"} %llu\n", name, label,
                        escape_label(escaped, sizeof escaped, text), (unsigned long long)value);
}

static void put_counter(const struct sheet *s, const char *name, uint64_t value, const char *help)
{
    put_family(s, name, "counter", help);
    metrics_put_value(s, name, value);
}

static void put_gauge(const struct sheet *s, const char *name, uint64_t value, const char *help)
{
    put_family(s, name, "gauge", help);
    metrics_put_value(s, name, value);
}

static void put_seconds(const struct sheet *s, const char *name, int64_t us)
{
    evbuffer_add_printf(s->out, "%s %lld.%06lld\n", name, (long long)(us / 1000000),
                        (long long)(us % 1000000));
}

/* ---- the process */

/* Without itself: the look opens one. 0 where there is no /proc. */
static unsigned count_descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return 0;
    const struct dirent *entry;
    while ((entry = readdir(d)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(d);
    return n - 1;
}

static uint64_t resident_bytes(void)
{
    unsigned long long all = 0;
    unsigned long long resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%llu %llu", &all, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return ((int64_t)u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

static void print_process(const struct sheet *s)
{
    struct rlimit limit = {0, 0};
    getrlimit(RLIMIT_NOFILE, &limit);
    put_family(s, "tlsfan_build_info", "gauge", "The version that runs; always 1.");
    put_labelled(s, "tlsfan_build_info", "version", TLSFAN_VERSION, 1);
    put_family(s, "process_start_time_seconds", "gauge", "When it started, since 1970.");
    put_seconds(s, "process_start_time_seconds", s->v->since_wall);
    put_family(s, "process_cpu_seconds_total", "counter", "CPU time, user and system.");
    put_seconds(s, "process_cpu_seconds_total", cpu_us());
    put_gauge(s, "process_resident_memory_bytes", resident_bytes(), "Resident memory.");
    put_gauge(s, "process_open_fds", count_descriptors(), "Open file descriptors.");
    put_gauge(s, "process_max_fds", limit.rlim_cur, "How many of them there may be.");
}

/* ---- the configuration */

static void print_reloads(const struct sheet *s)
{
    put_gauge(s, "tlsfan_config_last_reload_successful", !atomic_load(&s->v->reloads->failed),
              "0 when the configuration was read again and not taken; 1 from the start on.");
    put_family(s, "tlsfan_config_last_reload_success_timestamp_seconds", "gauge",
               "When the configuration was read and taken last, since 1970.");
    put_seconds(s, "tlsfan_config_last_reload_success_timestamp_seconds",
                atomic_load(&s->v->reloads->at));
}

/* What of the configuration somebody who watches many machines should be told of. */
static void print_rules(const struct sheet *s)
{
    unsigned unverified = 0;
    unsigned plain = 0;
    for (unsigned i = 0; i < s->v->conf->n_rules; i++) {
        const struct rule *r = &s->v->conf->rules[i];
        unverified += r->upgrade && !r->tls.verify;
        plain += !r->upgrade;
    }
    put_family(s, "tlsfan_rules", "gauge", "Rules that take protection away.");
    put_labelled(s, "tlsfan_rules", "kind", "verify_off", unverified);
    put_labelled(s, "tlsfan_rules", "kind", "upgrade_off", plain);
}

static void put_own_expiry(const struct sheet *s, const char *use, const char *file, int64_t expiry)
{
    char escaped[LABEL_ROOM];
    evbuffer_add_printf(
        s->out, "tlsfan_certificate_expiry_timestamp_seconds{use=\"%s\",file=\"%s\"} %lld\n", use,
        escape_label(escaped, sizeof escaped, file), (long long)expiry);
}

/* Files that rules name, each once. */
static void put_client_certificates(const struct sheet *s)
{
    const char *seen[OWN_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < s->v->conf->n_rules && n < OWN_MAX; i++) {
        const struct tls_policy *p = &s->v->conf->rules[i].tls;
        unsigned same = 0;
        while (same < n && strcmp(seen[same], p->client_cert) != 0)
            same++;
        if (p->client_cert[0] == '\0' || p->ctx == NULL || same < n)
            continue;
        seen[n++] = p->client_cert;
        put_own_expiry(s, "client", p->client_cert, tls_ctx_expiry(tls_ctx_ssl(p->ctx)));
    }
}

static void print_own_certificates(const struct sheet *s)
{
    const struct conf *c = s->v->conf;
    put_family(s, "tlsfan_certificate_expiry_timestamp_seconds", "gauge",
               "When a certificate of our own expires: of tls: listeners, for origins that ask for "
               "one, and the CA that intercepts.");
    if (c->client.tls != NULL)
        put_own_expiry(s, "listener", c->client.cert, tls_ctx_expiry(c->client.tls));
    put_client_certificates(s);
    if (c->intercept.mint != NULL && c->intercept.ca_cert[0] != '\0')
        put_own_expiry(s, "intercept", c->intercept.ca_cert, tls_mint_expiry(c->intercept.mint));
}

static void print_conf(const struct sheet *s)
{
    print_reloads(s);
    print_rules(s);
    print_own_certificates(s);
}

/* ---- exchanges */

static void print_now(const struct sheet *s)
{
    int64_t used = atomic_load_explicit(&s->v->budget->used, memory_order_relaxed);
    int64_t max = atomic_load_explicit(&s->v->budget->max, memory_order_relaxed);
    put_gauge(s, "tlsfan_workers", s->v->workers, "Threads that serve clients.");
    put_gauge(s, "tlsfan_draining", s->v->draining, "1 from the signal to end on.");
    put_gauge(s, "tlsfan_client_connections", s->v->connections, "Open client connections.");
    put_gauge(s, "tlsfan_client_connections_limit", s->v->max_connections,
              "client.max_connections, or less where there are too few descriptors.");
    put_gauge(s, "tlsfan_exchanges_in_flight", s->t->sum.in_flight,
              "Requests that have begun and not ended.");
    put_gauge(s, "tlsfan_buffered_bytes", used > 0 ? (uint64_t)used : 0,
              "Bytes held for peers, or promised to them: what max_memory bounds.");
    put_gauge(s, "tlsfan_buffer_limit_bytes", (uint64_t)max, "max_memory.");
}

static void print_exchange_totals(const struct sheet *s)
{
    static const char *const classes[STATS_CLASSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    const struct stats_sum *sum = &s->t->sum;
    put_family(s, "tlsfan_exchanges_total", "counter",
               "Exchanges that have ended, by class of the status; none: without an answer.");
    for (unsigned i = 0; i < STATS_CLASSES; i++)
        put_labelled(s, "tlsfan_exchanges_total", "code", classes[i], sum->classes[i]);
    put_family(s, "tlsfan_errors_total", "counter",
               "Exchanges that have failed, by the error of the access log.");
    for (unsigned code = FAULT_NONE + 1; code < FAULT_COUNT; code++) {
        uint64_t n;
        const char *word = total_error(s->t, code, &n);
        if (word != NULL)
            put_labelled(s, "tlsfan_errors_total", "type", word, n);
    }
    put_counter(s, "tlsfan_received_bytes_total", sum->bytes_in, "Bytes from clients.");
    put_counter(s, "tlsfan_sent_bytes_total", sum->bytes_out, "Bytes to clients.");
    put_counter(s, "tlsfan_retries_total", sum->retries,
                "Requests sent again after a reused connection was lost.");
    put_family(s, "tlsfan_upstream_requests_total", "counter",
               "Requests that got a connection, by the protocol it speaks.");
    put_labelled(s, "tlsfan_upstream_requests_total", "protocol", "h1", sum->h1);
    put_labelled(s, "tlsfan_upstream_requests_total", "protocol", "h2", sum->h2);
    put_counter(s, "tlsfan_unverified_requests_total", sum->unverified,
                "Requests under a rule with verify = off.");
    put_counter(s, "tlsfan_plain_requests_total", sum->plain, "Requests that went on without TLS.");
}

static void put_handshakes(const struct sheet *s, const char *name, const struct shaken_sum *n,
                           const char *help)
{
    put_family(s, name, "counter", help);
    put_labelled(s, name, "kind", "full", n->whole);
    put_labelled(s, name, "kind", "resumed", n->resumed);
}

static void put_failures(const struct sheet *s, const char *name, const uint64_t *n, unsigned end,
                         const char *help)
{
    put_family(s, name, "counter", help);
    for (unsigned i = 0; i < end; i++)
        put_labelled(s, name, "cause", tls_failure_name(i), n[i]);
}

/* Clients, tunnels, and TLS on all sides. */
static void print_connection_totals(const struct sheet *s)
{
    const struct stats_sum *sum = &s->t->sum;
    put_counter(s, "tlsfan_turned_away_clients_total", sum->turned_away,
                "Connections refused as they came: client.allow, or too many.");
    put_counter(s, "tlsfan_over_limit_clients_total", sum->over_limit,
                "Of these: there were too many, or no descriptor was left.");
    put_counter(s, "tlsfan_tunnels_total", sum->tunnels, "Tunnels opened: CONNECT and Upgrade.");
    put_gauge(s, "tlsfan_tunnels_open", sum->tunnels_open, "Of these: those that are open.");
    put_counter(s, "tlsfan_tunnel_received_bytes_total", sum->tunnel_in,
                "Bytes from clients in tunnels, as they pass.");
    put_counter(s, "tlsfan_tunnel_sent_bytes_total", sum->tunnel_out,
                "Bytes to clients in tunnels, as they pass.");
    put_handshakes(s, "tlsfan_upstream_tls_handshakes_total", &sum->upstream,
                   "TLS handshakes with origins that have ended well.");
    put_handshakes(s, "tlsfan_listener_tls_handshakes_total", &sum->listening,
                   "The same with clients of tls: listeners.");
    put_handshakes(s, "tlsfan_intercept_tls_handshakes_total", &sum->inside,
                   "The same with clients whose CONNECT was intercepted.");
    put_failures(s, "tlsfan_listener_tls_failures_total", sum->insecure, TLS_FAILURES,
                 "Clients of tls: listeners that did not get through the TLS handshake, and why.");
    put_counter(s, "tlsfan_intercepted_total", sum->intercepted,
                "CONNECTs whose TLS was answered here.");
    /* No certificate is asked for there. */
    put_failures(s, "tlsfan_intercept_failures_total", sum->unshaken, TLS_FAILURE_UNKNOWN,
                 "Of those: clients that did not get through the TLS handshake, and why.");
}

/* What rules ask for, and what it lives on. */
static void print_service_totals(const struct sheet *s)
{
    const struct stats_sum *sum = &s->t->sum;
    struct tls_issuers_counts issuers = tls_issuers_count();
    put_family(s, "tlsfan_intermediates_fetched_total", "counter",
               "Intermediate certificates asked for, by tls.fetch_intermediates.");
    put_labelled(s, "tlsfan_intermediates_fetched_total", "result", "ok", issuers.good);
    put_labelled(s, "tlsfan_intermediates_fetched_total", "result", "failed", issuers.bad);
    put_family(s, "tlsfan_token_fetches_total", "counter", "Access tokens asked for, under oauth.");
    put_labelled(s, "tlsfan_token_fetches_total", "result", "ok", sum->tokens);
    put_labelled(s, "tlsfan_token_fetches_total", "result", "failed", sum->tokens_lost);
    put_counter(s, "tlsfan_rate_waits_total", sum->paced,
                "Requests that waited for their time: rate, or a Retry-After of the origin.");
    put_counter(s, "tlsfan_retry_after_total", sum->put_off,
                "Answers 429 and 503 that were waited for, under retry_after.");
    put_counter(s, "tlsfan_dns_stale_total", sum->dns_stale,
                "Expired DNS answers used because the servers failed, each family by itself.");
    put_counter(s, "tlsfan_readahead_issued_total", sum->ahead_issued, "Requests made ahead.");
    put_counter(s, "tlsfan_readahead_used_total", sum->ahead_used,
                "Of these, those whose answer a client got.");
    put_counter(s, "tlsfan_readahead_wasted_total", sum->ahead_wasted,
                "And those that nobody asked for in time, or whose answer could not be used.");
    put_counter(s, "tlsfan_log_dropped_lines_total", log_dropped(), "Log lines that no sink took.");
}

static void print_phase(const struct sheet *s, enum phase phase)
{
    const struct phase_sum *p = &s->t->sum.phases[phase];
    const char *name = stats_phase_name(phase);
    uint64_t below = 0;
    for (unsigned i = 0; i < STATS_BOUNDS; i++) {
        below += p->in[i];
        evbuffer_add_printf(s->out,
                            "tlsfan_phase_duration_seconds_bucket{phase=\"%s\",le=\"%g\"} %llu\n",
                            name, (double)stats_bounds[i] / 1e6, (unsigned long long)below);
    }
    evbuffer_add_printf(s->out,
                        "tlsfan_phase_duration_seconds_bucket{phase=\"%s\",le=\"+Inf\"} %llu\n"
                        "tlsfan_phase_duration_seconds_sum{phase=\"%s\"} %llu.%06llu\n"
                        "tlsfan_phase_duration_seconds_count{phase=\"%s\"} %llu\n",
                        name, (unsigned long long)p->count, name,
                        (unsigned long long)(p->sum / 1000000),
                        (unsigned long long)(p->sum % 1000000), name, (unsigned long long)p->count);
}

static void print_phases(const struct sheet *s)
{
    put_family(s, "tlsfan_phase_duration_seconds", "histogram",
               "Times of exchanges; dns, connect and tls where a connection was made.");
    for (unsigned i = 0; i < PHASE_COUNT; i++)
        print_phase(s, i);
}

/* ---- origins */

/* One number of each origin, OFFSET into its sums. */
static void put_origins(const struct sheet *s, const char *name, const char *type, size_t offset,
                        const char *help)
{
    put_family(s, name, type, help);
    for (int i = total_next_origin(s->t, -1); i >= 0; i = total_next_origin(s->t, i)) {
        uint64_t value;
        memcpy(&value, (const char *)&s->t->origins[i] + offset, sizeof value);
        put_labelled(s, name, "origin", total_origin_name(i), value);
    }
}

static void put_connections(const struct sheet *s, int at, const char *state, uint64_t value)
{
    char origin[LABEL_ROOM];
    evbuffer_add_printf(s->out, "tlsfan_origin_connections{origin=\"%s\",state=\"%s\"} %llu\n",
                        escape_label(origin, sizeof origin, total_origin_name(at)), state,
                        (unsigned long long)value);
}

static void print_connections(const struct sheet *s)
{
    put_family(s, "tlsfan_origin_connections", "gauge", "Connections to an origin, by state.");
    for (int i = total_next_origin(s->t, -1); i >= 0; i = total_next_origin(s->t, i)) {
        put_connections(s, i, "idle", s->t->origins[i].idle);
        put_connections(s, i, "busy", s->t->origins[i].busy);
    }
}

static void print_certificates(const struct sheet *s)
{
    const char *name = "tlsfan_upstream_certificate_expiry_timestamp_seconds";
    put_family(s, name, "gauge", "When the certificate that an origin showed last expires.");
    for (unsigned i = 0; i < s->t->n_names; i++) {
        int64_t expiry = tally_expiry(i);
        if (expiry > 0)
            put_labelled(s, name, "origin", tally_name(i), (uint64_t)expiry);
    }
}

static void print_origins(const struct sheet *s)
{
    put_origins(s, "tlsfan_origin_requests_total", "counter", offsetof(struct tally_sum, requests),
                "Requests to an origin that have ended.");
    put_origins(s, "tlsfan_origin_failed_total", "counter", offsetof(struct tally_sum, failed),
                "Of these, those that have failed.");
    put_origins(s, "tlsfan_origin_requests_in_flight", "gauge",
                offsetof(struct tally_sum, in_flight), "Requests to an origin under way.");
    put_origins(s, "tlsfan_origin_requests_waiting", "gauge", offsetof(struct tally_sum, waiting),
                "Requests that wait for their turn: max_per_host, or rate.");
    put_origins(s, "tlsfan_origin_connections_opened_total", "counter",
                offsetof(struct tally_sum, opened), "Connections made to an origin.");
    put_origins(s, "tlsfan_origin_connections_reused_total", "counter",
                offsetof(struct tally_sum, reused),
                "Requests on a connection that had carried another one before.");
    print_connections(s);
    print_certificates(s);
}

void metrics_print(struct evbuffer *out, const struct service_view *v)
{
    struct total *t = total_new(v);
    struct sheet s = {out, v, t};
    print_process(&s);
    print_now(&s);
    print_exchange_totals(&s);
    print_connection_totals(&s);
    print_service_totals(&s);
    print_phases(&s);
    print_origins(&s);
    print_conf(&s);
    free(t);
}
