/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges as objects: see exchange_json.h. */
#include "service/exchange_json.h"

#include <stdio.h>

#include "base/fault.h"
#include "service/json_out.h"

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

/* ---- who, by which connections */

/* "WORKER.NUMBER": ids have the worker in their top 16 bits. */
static void set_connection(json_t *x, const char *key, uint64_t worker, uint64_t number)
{
    char text[48] = "";
    if (number != 0)
        snprintf(text, sizeof text, "%llu.%llu", (unsigned long long)worker,
                 (unsigned long long)number);
    set_word(x, key, text);
}

static void set_connections(json_t *x, const struct record *r)
{
    uint64_t worker = r->id >> 48;
    set_connection(x, "client_connection", r->source >> 48, r->source & 0xffffffffffff);
    status_set_number(x, "client_position", r->position);
    set_connection(x, "upstream_connection", worker, r->seat.number);
    status_set_number(x, "upstream_position", r->seat.position);
    status_set_number(x, "stream", r->seat.stream);
}

static void set_address(json_t *x, const struct record *r)
{
    char text[ADDR_TEXT] = "", ip[ADDR_TEXT] = "";
    struct addr peer;
    if (r->peer_len > 0) {
        addr_from_sockaddr(&peer, (const struct sockaddr *)&r->peer, r->peer_len);
        addr_print(&peer, text);
        addr_print_ip(&peer, ip);
    }
    set_word(x, "upstream", text);
    set_word(x, "address", ip);
}

static void set_origin(json_t *x, const struct record *r, struct str parent)
{
    /* A place may be another origin's since. */
    bool is_named =
        r->place < tally_names() && (r->t.end == 0 || tally_named(r->place) <= r->t.end);
    set_address(x, r);
    set_word(x, "protocol", r->protocol);
    set_word(x, "tls", r->tls);
    set_word(x, "origin", is_named ? tally_name(r->place) : r->place == TALLY_OTHER ? "other" : "");
    status_set_text(x, "parent", parent);
    json_object_set_new(x, "reused", json_boolean(r->is_reused));
    json_object_set_new(x, "readahead", json_boolean(r->is_ahead));
    status_set_number(x, "retries", r->retries);
}

/* What all have, ended or not. */
static json_t *exchange_begin(const struct record *r, int64_t wall)
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
    set_word(x, "version", r->minor == 0 ? "1.0" : "1.1");
    status_set_number(x, "status", r->status);
    set_word(x, "error", r->fault == FAULT_NONE ? "" : fault_info(r->fault)->type);
    set_origin(x, r, str_make(url.p + url.len, r->parent_len));
    set_connections(x, r);
    status_set_number(x, "bytes_in", r->bytes_in);
    status_set_number(x, "bytes_out", r->bytes_out);
    status_set_number(x, "body", r->body);
    json_object_set_new(x, "ms", times_of(&r->t));
    return x;
}

/* ---- fields */

/* What stands in a field, for a reader who puts it in as text: all but what does not print. */
static void set_plain_text(json_t *field, const char *key, struct str text)
{
    char plain[4 * SEEN_VALUE + 1];
    size_t n = 0;
    for (size_t i = 0; i < text.len && n + 4 < sizeof plain; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c >= 0x20 && c < 0x7f)
            plain[n++] = (char)c;
        else
            n += (size_t)snprintf(plain + n, 5, "\\x%02x", c);
    }
    json_object_set_new(field, key, json_stringn(plain, n));
}

static json_t *field_of(const struct seen_field *f, bool values)
{
    json_t *field = json_object();
    set_plain_text(field, "name", f->name);
    json_object_set_new(field, "size", json_integer((json_int_t)f->size));
    if (f->value.p != NULL && values)
        set_plain_text(field, "value", f->value);
    if (f->is_hidden && values)
        json_object_set_new(field, "hidden", json_true());
    if (f->is_cut && values)
        json_object_set_new(field, "cut", json_true());
    return field;
}

/* Takes a section off SECTIONS; null where there is none. */
static json_t *section_json(struct str *sections, bool values)
{
    unsigned n, more;
    struct seen_field f;
    if (!seen_section(sections, &n, &more))
        return json_null();
    json_t *section = json_object();
    json_t *fields = json_array();
    for (; n > 0 && seen_next(sections, &f); n--)
        json_array_append_new(fields, field_of(&f, values));
    json_object_set_new(section, "fields", fields);
    status_set_number(section, "more", more);
    return section;
}

static void set_heads(json_t *x, struct str sections, bool values)
{
    json_object_set_new(x, "request", section_json(&sections, values));
    json_object_set_new(x, "response", section_json(&sections, values));
}

/* ---- ended */

static const char *const kind_words[] = {
    [RECORD_WELL] = "",
    [RECORD_REFUSED] = "origin",
    [RECORD_LEFT] = "client",
    [RECORD_FAILED] = "tlsfan",
};

static json_t *exchange_ended(const struct record *r, const struct exchange_shown *how,
                              const char *sentence, const struct seen_heads *heads)
{
    json_t *x = exchange_begin(r, how->wall);
    set_ms(x, "end", (r->t.end > r->t.begin ? r->t.end : r->t.begin) + how->wall);
    set_word(x, "kind", kind_words[record_kind(r)]);
    set_word(x, "sentence", sentence);
    set_heads(x, str_make(heads->bytes, heads->len), how->values);
    return x;
}

/* What is gone of it leaves the error's word, and no fields. */
json_t *exchange_json(const struct record *r, const struct stats *s,
                      const struct exchange_shown *how)
{
    struct sentence sentence = {""};
    struct seen_heads heads;
    bool ok =
        r->sentence > 0 && ring_get(s->sentences, r->sentence - 1, &sentence, sizeof sentence);
    sentence.text[ok ? sizeof sentence.text - 1 : 0] = '\0';
    if (r->heads == 0 || !ring_get(s->heads, r->heads - 1, &heads, sizeof heads))
        heads.len = 0;
    return exchange_ended(r, how, sentence.text, &heads);
}

json_t *exchange_json_failure(const struct failure *f, const struct exchange_shown *how)
{
    return exchange_ended(&f->r, how, f->s.text, &f->heads);
}

/* ---- under way */

json_t *exchange_json_running(const struct running *r, int64_t wall)
{
    json_t *x = exchange_begin(&r->r, wall);
    set_word(x, "phase", running_phase_name(r->phase));
    set_word(x, "doing", r->doing);
    return x;
}
