/* SPDX-License-Identifier: Apache-2.0 */
/* The guards of the service listener: see guard.h. */
#include "service/guard.h"

#include "conf/rule_index.h"
#include "http/uri.h"

enum { HOST_MEMORY = 512 };

static bool is_taken(const struct conf *c, const struct uri_host *host)
{
    if (host->is_ip || uri_is_loopback_name(host->name))
        return true;
    for (unsigned i = 0; i < c->service_hosts.n; i++)
        if (rule_pattern_matches(str_from(c->service_hosts.v[i]), host->name))
            return true;
    return false;
}

/* A page whose own name leads here (DNS rebinding) names itself in Host. */
static bool guard_host(const struct conf *c, struct str text, struct fault *f)
{
    char memory[HOST_MEMORY], shown[160];
    struct arena arena;
    struct uri_host host;
    const char *why = NULL;
    arena_init(&arena, memory, sizeof memory);
    bool ok = uri_parse_host(&host, &arena, text, &why);
    if (!ok) {
        fault_set(f, FAULT_BAD_REQUEST, "the Host field is malformed: %s", why);
        f->phrase = "Malformed Host field";
    } else if (!is_taken(c, &host)) {
        ok = false;
        fault_set(f, FAULT_MISDIRECTED,
                  "the service listener does not answer for the host %s; name it in service_hosts "
                  "if it should",
                  str_escape(shown, sizeof shown, host.name));
        f->phrase = "Host is not in service_hosts";
    }
    arena_clear(&arena);
    return ok;
}

bool guard_page(const struct conf *c, const struct guard_request *rq, struct fault *f)
{
    if (rq->host.len > 0 && !guard_host(c, rq->host, f))
        return false;
    if (policy_page(rq->origin, rq->site, rq->host, false))
        return true;
    fault_say(f, FAULT_DENIED, "a web page of another origin may not use the service listener");
    return false;
}

enum policy_auth guard_client(const struct conf *c, const struct addr *peer, struct str credentials,
                              struct fault *f)
{
    if (!policy_client(c, peer, f))
        return POLICY_AUTH_BAD;
    if (c->htpasswd == NULL)
        return POLICY_AUTH_OK;
    enum policy_auth auth = policy_auth(c, credentials);
    if (auth == POLICY_AUTH_BAD)
        fault_set(f, FAULT_UNAUTHORIZED,
                  "the service listener asks for credentials: send Authorization: Basic");
    return auth;
}
