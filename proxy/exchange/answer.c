/* SPDX-License-Identifier: Apache-2.0 */
/* Local answers: see answer.h. Everything in them lives in the exchange's arena. */
#include "exchange/answer.h"

#include <stdio.h>

#include "http/h1_write.h"

/* Starts an answer of tlsfan's own; its fields go to the arena. */
static void answer_begin(struct exchange *x, struct h1_head *head, unsigned status)
{
    memset(head, 0, sizeof *head);
    head->status = status;
    head->minor = 1;
    head->reason = h1_reason(status);
    fields_init(&head->fields, &x->arena, NULL, 0);
    x->status = status;
    if (x->t.head == 0)
        x->t.head = x->t.end;
}

/* Tells the source the whole answer. It may close X at any step. */
static void answer_tell(struct exchange *x, struct h1_head *head, struct str body)
{
    x->res_is_bare = x->head.method.id == METHOD_HEAD;
    bool has_body = body.len > 0 && !x->res_is_bare;
    if (x->res_is_bare)
        fields_put(&head->fields, STR("Content-Length"), arena_printf(&x->arena, "%zu", body.len));
    x->source->on_head(x, head, x->res_is_bare ? H1_FRAMING_NONE : H1_FRAMING_LENGTH, body.len);
    if (has_body && x->state == EXCHANGE_DONE)
        x->source->on_body(x, body.p, body.len);
    if (x->state == EXCHANGE_DONE)
        x->source->on_end(x, NULL);
}

/* The inside of a quoted sf-string (RFC 8941 §3.3.3). */
static const char *answer_quote(struct arena *arena, const char *text)
{
    char *dst = arena_alloc(arena, 2 * strlen(text) + 1);
    char *p = dst;
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            *p++ = '\\';
        *p++ = *text;
    }
    *p = '\0';
    return dst;
}

/* The fields that go with a status. */
static void answer_fields(struct exchange *x, struct fields *fields, const struct fault *f)
{
    const struct fault_info *info = fault_info(f->code);
    fields_put(fields, STR("Content-Type"), STR("text/plain"));
    fields_put(fields, STR("X-Content-Type-Options"), STR("nosniff"));
    fields_put(fields, STR("Proxy-Status"),
               arena_printf(&x->arena, "tlsfan; error=%s; details=\"%s\"", info->type,
                            answer_quote(&x->arena, f->text)));
    if (info->status == 407)
        fields_put(fields, STR("Proxy-Authenticate"),
                   STR("Basic realm=\"tlsfan\", charset=\"UTF-8\""));
    if (info->status == 503)
        fields_put(fields, STR("Retry-After"), STR("1"));
    if (info->status == 401)
        fields_put(fields, STR("WWW-Authenticate"),
                   STR("Basic realm=\"tlsfan\", charset=\"UTF-8\""));
    if (info->status == 405)
        fields_put(fields, STR("Allow"),
                   f->code == FAULT_NOT_POST
                       ? STR("POST")
                       : STR("GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH"));
}

void answer_fault(struct exchange *x, const struct fault *f)
{
    struct h1_head head;
    answer_begin(x, &head, (unsigned)fault_info(f->code)->status);
    answer_fields(x, &head.fields, f);
    answer_tell(x, &head, arena_printf(&x->arena, "%s\n", f->text));
}

void answer_options(struct exchange *x)
{
    struct h1_head head;
    answer_begin(x, &head, 200);
    fields_put(&head.fields, STR("Allow"),
               STR("GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH"));
    answer_tell(x, &head, str_make(NULL, 0));
}

/* Fields that RFC 9110 §9.3.8 wants kept out of a reflected request. */
static bool answer_is_secret(const struct field *f)
{
    return f->id == FIELD_AUTHORIZATION || f->id == FIELD_PROXY_AUTHORIZATION ||
           f->id == FIELD_COOKIE;
}

void answer_trace(struct exchange *x)
{
    const struct h1_head *in = &x->head;
    struct str text = arena_printf(&x->arena, "%.*s %.*s HTTP/1.%u\r\n", STR_ARG(in->method.name),
                                   STR_ARG(in->target), in->minor);
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, text.p, text.len);
    for (unsigned i = 0; i < in->fields.n; i++) {
        const struct field *f = &in->fields.v[i];
        if (f->name.p != NULL && !answer_is_secret(f))
            evbuffer_add_printf(body, "%.*s: %.*s\r\n", STR_ARG(f->name), STR_ARG(f->value));
    }
    evbuffer_add(body, "\r\n", 2);
    struct h1_head head;
    answer_begin(x, &head, 200);
    fields_put(&head.fields, STR("Content-Type"), STR("message/http"));
    size_t n = evbuffer_get_length(body);
    struct str copy = arena_dup(&x->arena, str_make((const char *)evbuffer_pullup(body, -1), n));
    evbuffer_free(body);
    answer_tell(x, &head, copy);
}

size_t answer_raw(char *dst, const struct fault *f)
{
    const struct fault_info *info = fault_info(f->code);
    int n = snprintf(
        dst, 1024,
        "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nX-Content-Type-Options: nosniff\r\n"
        "Proxy-Status: tlsfan; error=%s; details=\"%.200s\"\r\n%s"
        "Content-Length: %zu\r\nConnection: close\r\n\r\n%.200s\n",
        info->status, info->title, info->type, f->text,
        info->status == 503 ? "Retry-After: 1\r\n" : "", strnlen(f->text, 200) + 1, f->text);
    return n > 0 && n < 1024 ? (size_t)n : 0;
}
