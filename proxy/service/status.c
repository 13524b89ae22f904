/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of all workers as one object. */
#include "service/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/loop.h"
#include "service/json_out.h"
#include "service/total.h"
#include "upstream/tally_cert.h"

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

/* What the origin of place I has shown last, or null. */
static json_t *certificate_of(int i)
{
    struct tally_cert cert;
    if (i == TALLY_OTHER || !tally_cert_get((unsigned)i, &cert))
        return json_null();
    json_t *certificate = json_object();
    set_word(certificate, "subject", cert.subject);
    set_word(certificate, "issuer", cert.issuer);
    json_object_set_new(certificate, "expires", date_of(tally_expiry((unsigned)i)));
    return certificate;
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
        json_object_set_new(origin, "certificate", certificate_of(i));
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
    set_word(root, "proxy", v->proxy);
    set_word(root, "fields", v->conf->log.fields ? "values" : "names");
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
