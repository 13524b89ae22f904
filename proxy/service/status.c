/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of all workers as one object, and their records as one list, by Jansson. What peers
 * wrote is escaped to ASCII first: it need not be UTF-8. */
#include "service/status.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/loop.h"
#include "exchange/record.h"
#include "service/total.h"

enum { DUMP_FLAGS = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(16) };

static int on_bytes(const char *p, size_t n, void *out)
{
    return evbuffer_add(out, p, n);
}

/* Takes over ROOT. */
static void put_json(struct evbuffer *out, json_t *root)
{
    json_dump_callback(root, on_bytes, out, DUMP_FLAGS);
    json_decref(root);
    evbuffer_add(out, "\n", 1);
}

static void status_set_number(json_t *object, const char *key, uint64_t n)
{
    json_object_set_new(object, key, json_integer((json_int_t)n));
}

static void set_ms(json_t *object, const char *key, int64_t us)
{
    json_object_set_new(object, key, json_real((double)us / 1000));
}

/* ASCII that lasts: nothing is cut or escaped. */
static void set_word(json_t *object, const char *key, const char *word)
{
    json_object_set_new(object, key, json_string(word == NULL ? "" : word));
}

/* What a peer wrote. */
static void status_set_text(json_t *object, const char *key, struct str text)
{
    char escaped[1024];
    json_object_set_new(object, key, json_string(str_escape(escaped, sizeof escaped, text)));
}

/* ---- status */

static json_t *errors_of(const struct total *t)
{
    json_t *errors = json_object();
    for (unsigned code = FAULT_NONE + 1; code < FAULT_COUNT; code++) {
        uint64_t n;
        const char *word = total_error(t, code, &n);
        if (word != NULL && n > 0)
            status_set_number(errors, word, n);
    }
    return errors;
}

static json_t *phases_of(const struct stats_sum *sum)
{
    json_t *phases = json_object();
    for (unsigned i = 0; i < PHASE_COUNT; i++) {
        json_t *phase = json_object();
        status_set_number(phase, "count", sum->phases[i].count);
        set_ms(phase, "sum", (int64_t)sum->phases[i].sum);
        json_object_set_new(phases, stats_phase_name(i), phase);
    }
    return phases;
}

/* "2027-01-31T12:00:00Z", or null where no certificate was seen. */
static json_t *date_of(int64_t t)
{
    char text[40];
    struct tm tm;
    time_t sec = (time_t)t;
    if (t == 0 || gmtime_r(&sec, &tm) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return json_null();
    return json_string(text);
}

static json_t *origins_of(const struct total *t)
{
    json_t *origins = json_array();
    for (int i = total_next_origin(t, -1); i >= 0; i = total_next_origin(t, i)) {
        const struct tally_sum *p = &t->origins[i];
        json_t *origin = json_object();
        set_word(origin, "origin", total_origin_name(i)); /* ASCII, as all host names are */
        status_set_number(origin, "requests", p->requests);
        status_set_number(origin, "failed", p->failed);
        status_set_number(origin, "in_flight", p->in_flight);
        status_set_number(origin, "idle", p->idle);
        status_set_number(origin, "busy", p->busy);
        status_set_number(origin, "opened", p->opened);
        status_set_number(origin, "reused", p->reused);
        json_object_set_new(origin, "certificate_expires",
                            date_of(i == TALLY_OTHER ? 0 : tally_expiry((unsigned)i)));
        json_array_append_new(origins, origin);
    }
    return origins;
}

void status_print(struct evbuffer *out, const struct service_view *v)
{
    struct total *t = total_new(v);
    const struct stats_sum *sum = &t->sum;
    json_t *root = json_object();
    set_word(root, "version", TLSFAN_VERSION);
    json_object_set_new(root, "uptime", json_real((double)((loop_now() - v->since) / 1000) / 1000));
    json_object_set_new(root, "draining", json_boolean(v->draining));
    status_set_number(root, "workers", v->workers);
    status_set_number(root, "clients", v->connections);
    status_set_number(root, "in_flight", sum->in_flight);
    status_set_number(root, "exchanges", sum->exchanges);
    status_set_number(root, "failed", sum->failed);
    status_set_number(root, "bytes_in", sum->bytes_in);
    status_set_number(root, "bytes_out", sum->bytes_out);
    status_set_number(root, "retries", sum->retries);
    status_set_number(root, "h1", sum->h1);
    status_set_number(root, "h2", sum->h2);
    status_set_number(root, "unverified", sum->unverified);
    status_set_number(root, "plain", sum->plain);
    status_set_number(root, "tunnels", sum->tunnels);
    json_object_set_new(root, "errors", errors_of(t));
    json_object_set_new(root, "phases", phases_of(sum));
    json_object_set_new(root, "origins", origins_of(t));
    free(t);
    put_json(out, root);
}

/* ---- exchanges */

/* The host in URL, without port and brackets; empty where there is none. */
static struct str url_host(struct str url)
{
    size_t n = 0;
    for (size_t i = 0; i + 3 <= url.len; i++) {
        if (memcmp(url.p + i, "://", 3) == 0) {
            url = str_from_byte(url, i + 3);
            break;
        }
        if (url.p[i] == '/' || url.p[i] == '?')
            break;
    }
    if (url.len > 0 && url.p[0] == '[') {
        url = str_from_byte(url, 1);
        return str_make(url.p, str_find(url, ']'));
    }
    while (n < url.len && strchr(":/?", url.p[n]) == NULL)
        n++;
    bool is_host = n > 1 || (n == 1 && url.p[0] != '-' && url.p[0] != '*');
    return str_make(url.p, is_host ? n : 0);
}

/* At most *LEFT of US, which becomes less by that. */
static int64_t take_time(int64_t us, int64_t *left)
{
    int64_t got = us < 0 ? 0 : us < *left ? us : *left;
    *left -= got;
    return got;
}

/* The phases add up: what was measured from the end, wait and transfer, goes first, for a
 * connection may have been under way before the exchange that got it; "send" is what is left. */
static json_t *times_of(const struct exchange_times *t)
{
    json_t *ms = json_object();
    int64_t left = t->end > t->begin ? t->end - t->begin : 0;
    int64_t head = t->head != 0 ? t->head : t->end;
    int64_t total = left;
    int64_t transfer = take_time(t->end - head, &left);
    int64_t wait = take_time(t->sent != 0 ? head - t->sent : 0, &left);
    set_ms(ms, "queue", take_time(t->queued, &left));
    set_ms(ms, "dns", take_time(t->dns, &left));
    set_ms(ms, "connect", take_time(t->connect, &left));
    set_ms(ms, "tls", take_time(t->tls, &left));
    set_ms(ms, "send", left);
    set_ms(ms, "wait", wait);
    set_ms(ms, "transfer", transfer);
    set_ms(ms, "total", total);
    return ms;
}

static void set_origin(json_t *x, const struct record *r)
{
    char text[ADDR_TEXT] = "";
    struct addr peer;
    if (r->peer_len > 0) {
        addr_from_sockaddr(&peer, (const struct sockaddr *)&r->peer, r->peer_len);
        addr_print(&peer, text);
    }
    set_word(x, "protocol", r->protocol);
    set_word(x, "tls", r->tls);
    set_word(x, "upstream", text);
    json_object_set_new(x, "reused", json_boolean(r->is_reused));
    json_object_set_new(x, "readahead", json_boolean(r->is_ahead));
    status_set_number(x, "retries", r->retries);
}

/* A sentence that is gone leaves the error's word. */
static void status_set_fault(json_t *x, const struct record *r, const struct stats *s)
{
    struct sentence sentence = {""};
    bool ok =
        r->sentence > 0 && ring_get(s->sentences, r->sentence - 1, &sentence, sizeof sentence);
    sentence.text[ok ? sizeof sentence.text - 1 : 0] = '\0';
    set_word(x, "error", r->fault == FAULT_NONE ? "" : fault_info(r->fault)->type);
    set_word(x, "sentence", sentence.text);
}

/* WALL: what the wall clock is ahead of loop_now(), µs. */
static json_t *exchange_of(const struct record *r, const struct stats *s, int64_t wall)
{
    json_t *x = json_object();
    char id[17] = "";
    struct str client = str_make(r->text, r->client_len);
    struct str method = str_make(client.p + client.len, r->method_len);
    struct str url = str_make(method.p + method.len, r->url_len);
    str_put_hex(id, r->id);
    set_word(x, "id", id);
    set_ms(x, "start", r->t.begin + wall);
    status_set_text(x, "client", client);
    status_set_text(x, "method", method);
    status_set_text(x, "url", url);
    status_set_text(x, "host", url_host(url));
    status_set_number(x, "status", r->status);
    status_set_fault(x, r, s);
    set_origin(x, r);
    status_set_number(x, "bytes_in", r->bytes_in);
    status_set_number(x, "bytes_out", r->bytes_out);
    json_object_set_new(x, "ms", times_of(&r->t));
    return x;
}

/* A record that may be shown. */
struct pick {
    int64_t end;
    unsigned worker;
    uint64_t number;
};

static int compare_picks(const void *a, const void *b)
{
    const struct pick *one = a;
    const struct pick *other = b;
    return (one->end > other->end) - (one->end < other->end);
}

/* Those of one worker from FROM to before END that are still there. */
static unsigned pick_some(struct pick *picks, const struct service_view *v, unsigned worker,
                          uint64_t from, uint64_t end)
{
    const struct ring *ring = v->stats[worker]->records;
    struct exchange_times t;
    unsigned n = 0;
    uint64_t begin = ring_begin(ring, end);
    for (uint64_t i = from > begin ? from : begin; i < end; i++) {
        if (ring_get(ring, i, &t, sizeof t))
            picks[n++] = (struct pick){t.end, worker, i};
    }
    return n;
}

/* A cursor is the process's start and each worker's position: hexadecimal, dots between. */
static char *cursor_print(const struct service_view *v, const uint64_t *ends)
{
    char *text = xcalloc(v->n + 1, 17);
    size_t n = str_put_hex(text, (uint64_t)v->since);
    for (unsigned i = 0; i < v->n; i++) {
        text[n++] = '.';
        n += str_put_hex(text + n, ends[i]);
    }
    return text;
}

/* False when TEXT is no cursor of this process. */
static bool cursor_parse(const struct service_view *v, const uint64_t *ends, struct str text,
                         uint64_t *from)
{
    struct str part;
    uint64_t since;
    if (!str_next_part(&text, '.', &part) || !str_hex_to_u64(part, &since) ||
        since != (uint64_t)v->since)
        return false;
    for (unsigned i = 0; i < v->n; i++) {
        if (!str_next_part(&text, '.', &part) || !str_hex_to_u64(part, &from[i]) ||
            from[i] > ends[i])
            return false;
    }
    return text.len == 0;
}

/* At most STATUS_EXCHANGES of N: the newest, or spread over all when the reader GOES_ON. */
static json_t *show(const struct service_view *v, const struct pick *picks, unsigned n,
                    bool goes_on)
{
    json_t *list = json_array();
    int64_t wall = loop_wall() - loop_now();
    unsigned shown = n < STATUS_EXCHANGES ? n : STATUS_EXCHANGES;
    for (unsigned i = 0; i < shown; i++) {
        const struct pick *pick = &picks[goes_on ? (uint64_t)i * n / shown : n - shown + i];
        const struct stats *s = v->stats[pick->worker];
        struct record r;
        if (ring_get(s->records, pick->number, &r, sizeof r))
            json_array_append_new(list, exchange_of(&r, s, wall));
    }
    return list;
}

void exchanges_print(struct evbuffer *out, const struct service_view *v, struct str after)
{
    uint64_t *ends = xcalloc(v->n + 1, sizeof *ends);
    uint64_t *from = xcalloc(v->n + 1, sizeof *from);
    uint64_t since = 0;
    size_t slots = 1;
    unsigned n = 0;
    for (unsigned i = 0; i < v->n; i++) {
        ends[i] = ring_end(v->stats[i]->records);
        slots += v->stats[i]->records->slots;
    }
    struct pick *picks = xcalloc(slots, sizeof *picks);
    bool goes_on = cursor_parse(v, ends, after, from);
    for (unsigned i = 0; i < v->n; i++) {
        from[i] = goes_on ? from[i] : 0;
        n += pick_some(picks + n, v, i, from[i], ends[i]);
        since += ends[i] - from[i];
    }
    qsort(picks, n, sizeof *picks, compare_picks);
    json_t *root = json_object();
    json_t *list = show(v, picks, n, goes_on);
    char *cursor = cursor_print(v, ends);
    set_word(root, "cursor", cursor);
    status_set_number(root, "skipped", goes_on ? since - json_array_size(list) : 0);
    json_object_set_new(root, "exchanges", list);
    free(cursor);
    free(picks);
    free(from);
    free(ends);
    put_json(out, root);
}
