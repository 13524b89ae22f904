/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials before the route: see trust.h. */
#include "exchange/trust.h"

#include "base/hash.h"
#include "conf/policy.h"
#include "exchange/auth.h"

static void set_fault(struct fault *f, enum auth_result why)
{
    if (why == AUTH_BUSY)
        fault_say(f, FAULT_LIMIT, auth_busy);
    else
        fault_set(f, FAULT_CREDENTIALS, "the proxy credentials are wrong");
    if (why == AUTH_BAD)
        f->phrase = "Proxy Authentication Required: wrong credentials";
}

static void on_auth(void *arg, enum auth_result result)
{
    struct exchange *x = arg;
    struct fault f;
    x->auth = NULL;
    x->is_trusted = result == AUTH_OK;
    if (x->is_trusted) {
        exchange_resume(x);
        return;
    }
    set_fault(&f, result);
    exchange_fail(x, &f);
}

bool trust_start(struct exchange *x, struct fault *f)
{
    const struct field *field = fields_find(&x->head.fields, FIELD_PROXY_AUTHORIZATION, NULL);
    struct auth_ask ask = {.conf = x->conf, .from = x->from, .value = field->value};
    x->auth = auth_start(x->engine->loop, &ask, on_auth, x);
    if (x->auth == NULL)
        set_fault(f, AUTH_BUSY);
    return x->auth != NULL;
}

void trust_cancel(struct exchange *x)
{
    auth_cancel(x->auth);
    x->auth = NULL;
}

struct str trust_user(struct exchange *x)
{
    if (x->credentials.p == NULL)
        return x->from->user;
    char *text = arena_alloc(&x->arena, USER_MAX);
    return policy_user(x->credentials, text, USER_MAX);
}

uint64_t trust_person(const struct addr *peer, struct str user)
{
    uint8_t key[ADDR_HOST_KEY];
    addr_host_key(peer, key);
    uint64_t person = hash_bytes(key, sizeof key);
    if (user.len > 0)
        person = person * UINT64_C(0x9e3779b97f4a7c15) + hash_bytes(user.p, user.len);
    return person | 1;
}
