/* SPDX-License-Identifier: Apache-2.0 */
/* Local answers: see answer.h. Everything in them lives in the exchange's arena. */
#include "exchange/answer.h"

#include <stdio.h>

#include "exchange/phrase.h"
#include "exchange/welcome.h"
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

/* The field that a status demands besides. False: none. */
static bool answer_extra(const struct fault *f, struct str *name, struct str *value)
{
    static const struct {
        int status;
        struct str name, value;
    } extras[] = {
        {401, STR_INIT("WWW-Authenticate"), STR_INIT("Basic realm=\"tlsfan\", charset=\"UTF-8\"")},
        {405, STR_INIT("Allow"), STR_INIT("GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH")},
        {407, STR_INIT("Proxy-Authenticate"),
         STR_INIT("Basic realm=\"tlsfan\", charset=\"UTF-8\"")},
        {503, STR_INIT("Retry-After"), STR_INIT("1")},
    };
    for (size_t i = 0; i < sizeof(extras) / sizeof(extras[0]); i++) {
        if (extras[i].status != fault_info(f->code)->status)
            continue;
        *name = extras[i].name;
        *value = extras[i].value;
        if (f->code == FAULT_NOT_POST)
            *value = STR("POST");
        if (f->code == FAULT_NOT_GET)
            *value = STR("GET, HEAD");
        return true;
    }
    return false;
}

/* The fields that go with a fault; what they need of memory comes from ARENA. */
static void answer_fields(struct arena *arena, struct fields *fields, const struct fault *f,
                          bool is_page)
{
    struct str name = {NULL, 0}, value;
    fields_put(fields, STR("Content-Type"),
               is_page ? STR("text/html; charset=utf-8") : STR("text/plain"));
    if (is_page)
        fields_put(fields, STR("Content-Security-Policy"), str_from(welcome_policy));
    fields_put(fields, STR("X-Content-Type-Options"), STR("nosniff"));
    fields_put(fields, STR("Proxy-Status"),
               arena_printf(arena, "tlsfan; error=%s; details=\"%s\"", fault_info(f->code)->type,
                            answer_quote(arena, f->text)));
    if (answer_extra(f, &name, &value) && f->retry_after > 1 && f->code == FAULT_LIMIT)
        value = arena_printf(arena, "%u", f->retry_after);
    if (name.p != NULL)
        fields_put(fields, name, value);
}

/* Whom X is about; p NULL: nobody knows. */
static struct str answer_host(const struct exchange *x)
{
    return x->where.host.p == NULL && x->has_target ? x->target.host.name : x->where.host;
}

void answer_fault(struct exchange *x, const struct fault *f)
{
    struct h1_head head;
    char phrase[PHRASE_MAX];
    answer_begin(x, &head, (unsigned)fault_info(f->code)->status);
    if (source_rules[x->from->kind].is_silent) {
        x->source->on_cut(x);
        return;
    }
    head.reason = phrase_make(phrase, f, answer_host(x));
    bool is_page = welcome_is_page(x, f);
    answer_fields(&x->arena, &head.fields, f, is_page);
    answer_tell(x, &head, is_page ? welcome_page(x) : arena_printf(&x->arena, "%s\n", f->text));
}

void answer_options(struct exchange *x)
{
    struct h1_head head;
    answer_begin(x, &head, 200);
    fields_put(&head.fields, STR("Allow"),
               STR("GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH"));
    answer_tell(x, &head, str_make(NULL, 0));
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
        if (f->name.p != NULL && !field_is_secret(f))
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

size_t answer_raw(char *dst, const struct fault *f, bool is_head)
{
    const struct fault_info *info = fault_info(f->code);
    struct h1_out out = {.framing = H1_FRAMING_LENGTH, .length = strlen(f->text) + 1};
    struct arena arena;
    struct fields fields;
    char memory[ANSWER_RAW], phrase[PHRASE_MAX];
    arena_init(&arena, memory, sizeof(memory));
    fields_init(&fields, &arena, NULL, 0);
    answer_fields(&arena, &fields, f, false);
    struct str reason = phrase_make(phrase, f, str_make(NULL, 0));
    size_t n = h1_write_response(dst, (unsigned)info->status, reason, &fields, &out);
    arena_clear(&arena);
    if (is_head)
        return n;
    memcpy(dst + n, f->text, strlen(f->text));
    dst[n + strlen(f->text)] = '\n';
    return n + strlen(f->text) + 1;
}
