/* SPDX-License-Identifier: Apache-2.0 */
/* What a request line and a Host say, and what is cut off them: see route_impl.h. */
#include "exchange/route_impl.h"

#include "http/userinfo.h"

bool route_refuse(struct fault *f, enum fault_code code, const char *text)
{
    fault_say(f, code, text);
    return false;
}

/* WHAT, which is a literal, says it in a few words: WHY may name what is in the request. */
static bool refuse_part(struct fault *f, const char *what, const char *why)
{
    fault_set(f, FAULT_BAD_REQUEST, "%s", why);
    f->phrase = what;
    return false;
}

/* Credentials that the client wrote into the target go on as Authorization, where it sent none. The
 * target is as if they had never been there, for who routes, answers or logs it. A TRACE carries
 * none, as they would come back in the answer (RFC 9110 §9.3.8). */
static void route_userinfo(struct exchange *x)
{
    const struct target *t = &x->target;
    struct fields *fields = &x->head.fields;
    struct str rest = str_from_byte(x->head.target, t->scheme_name.len + 3 + t->userinfo.len + 1);
    x->head.target = arena_printf(&x->arena, "%.*s://%.*s", STR_ARG(t->scheme_name), STR_ARG(rest));
    struct str basic = userinfo_basic(&x->arena, t->userinfo);
    if (basic.p != NULL && x->head.method.id != METHOD_TRACE &&
        fields_find(fields, FIELD_AUTHORIZATION, NULL) == NULL)
        fields_put(fields, STR("Authorization"), basic);
}

bool route_target(struct exchange *x, struct fault *f)
{
    const char *why = NULL;
    if (!uri_parse_target(&x->target, &x->arena, x->head.target,
                          x->head.method.id == METHOD_CONNECT, &why))
        return refuse_part(f, "Malformed request target", why);
    x->has_target = true;
    if (x->target.userinfo.p != NULL)
        route_userinfo(x);
    /* Cut off, it could leave another resource than the client means: "DELETE /notes/#7". */
    if (x->target.has_fragment && !x->head.method.is_safe)
        return refuse_part(f, "Fragment in the target of a method that may change something",
                           "the target of a method that may change something has a fragment, which "
                           "is never sent: write a # that belongs to the path as %23");
    if (x->target.form == TARGET_ASTERISK && x->head.method.id != METHOD_OPTIONS)
        return route_refuse(f, FAULT_BAD_REQUEST, "the target \"*\" is for OPTIONS alone");
    return true;
}

/* A Host that repeats the user information of the target (urllib, zsync) loses it. */
static bool route_host_userinfo(struct exchange *x, struct field *field, struct fault *f)
{
    struct str host = field->value;
    struct str userinfo = userinfo_take(&host);
    if (userinfo.p == NULL)
        return true;
    if (!userinfo_is_same(&x->arena, x->target.userinfo, userinfo))
        return route_refuse(
            f, FAULT_BAD_REQUEST,
            "the Host field is malformed: it has other user information than the target");
    field->value = host;
    return true;
}

/* Clients of a proxy write the same twice: it was read with the target. */
static bool route_host_repeats(const struct exchange *x, struct str value, struct uri_host *host)
{
    bool is_same = value.len > 0 && str_eq(value, x->target.authority);
    if (is_same)
        *host = x->target.host;
    return is_same;
}

bool route_host_field(struct exchange *x, struct uri_host *host, struct fault *f)
{
    struct field *field = fields_find(&x->head.fields, FIELD_HOST, NULL);
    memset(host, 0, sizeof *host);
    if (field == NULL) {
        if (x->head.minor == 0)
            return true;
        return route_refuse(f, FAULT_BAD_REQUEST, "an HTTP/1.1 request must have a Host field");
    }
    if (fields_find(&x->head.fields, FIELD_HOST, field) != NULL)
        return route_refuse(f, FAULT_BAD_REQUEST, "the request has more than one Host field");
    if (x->target.userinfo.p != NULL && !route_host_userinfo(x, field, f))
        return false;
    const char *why = NULL;
    if (route_host_repeats(x, field->value, host) ||
        uri_parse_host(host, &x->arena, field->value, &why))
        return true;
    fault_set(f, FAULT_BAD_REQUEST, "the Host field is malformed: %s", why);
    f->phrase = "Malformed Host field";
    return false;
}

void route_hide_userinfo(struct exchange *x)
{
    static const enum field_id ids[] = {FIELD_REFERER, FIELD_ORIGIN, FIELD_DESTINATION};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct field *f = NULL;
        while ((f = fields_find(&x->head.fields, ids[i], f)) != NULL)
            f->value = uri_without_userinfo(&x->arena, f->value);
    }
}
