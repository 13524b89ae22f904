/* SPDX-License-Identifier: Apache-2.0 */
/* Only the head of an answer is read. A tunnel's first bytes stand behind it and are left in the
 * stream; what stands behind a refusal is a page for people, and goes with the connection. */
#include "upstream/ask.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/h1_write.h"

enum {
    ANSWER_MAX = 64 * 1024, /* bytes of a head */
    ANSWER_INFOS = 16,      /* interim answers */
    ASK_FIELDS = 64,        /* of an answer, on the stack */
    ASK_ARENA = 2048,       /* bytes, the same */
    SQUID_WORD = 48,        /* bytes of Squid's word for what was wrong */
    ASK_WHAT = 700          /* bytes of "CONNECT host:port" */
};

/* ---- what an answer says */

/* VALUE, of Proxy-Authenticate, offers SCHEME: at its start, or behind a comma. */
static bool ask_offers(struct str value, struct str scheme_name)
{
    struct str item;
    while (str_next_item(&value, &item)) {
        struct str word = item;
        word.len = str_find(word, ' ');
        if (str_ieq(word, scheme_name))
            return true;
    }
    return false;
}

/* It asks for credentials, but not for such as there are here. */
static bool ask_wants_others(const struct h1_head *head)
{
    const struct field *f = NULL;
    bool has_any = false;
    while ((f = fields_find(&head->fields, FIELD_PROXY_AUTHENTICATE, f)) != NULL) {
        has_any = true;
        if (ask_offers(f->value, STR("Basic")))
            return false;
    }
    return has_any;
}

/* Tinyproxy says 401 to credentials that it does not know. */
static const char *ask_advice(const struct h1_head *head, bool has_auth)
{
    if (head->status >= 300 && head->status < 400)
        return ": a redirect is not followed, it may be a page to log in at";
    if (head->status != 407 && head->status != 401)
        return "";
    if (ask_wants_others(head))
        return ": it does not offer Basic, and NTLM, Negotiate and Digest are not spoken here: "
               "chain to cntlm or px, which log in there";
    return has_auth ? ": it does not take the user and password of `proxy`"
                    : ": it wants a user and password, write them into `proxy` "
                      "(http://USER:PASSWORD@HOST:PORT)";
}

static const struct field *squid_error(const struct h1_head *head)
{
    for (unsigned i = 0; i < head->fields.n; i++) {
        const struct field *f = &head->fields.v[i];
        if (f->name.p != NULL && str_ieq(f->name, STR("X-Squid-Error")))
            return f;
    }
    return NULL;
}

/* " (ERR_DNS_FAIL)": Squid says more than a status can. A word of one alphabet, so that nothing
 * else is told by it. */
static void squid_word(const struct h1_head *head, char dst[SQUID_WORD + 4])
{
    const struct field *f = squid_error(head);
    struct str word = f == NULL ? STR("") : str_make(f->value.p, str_find(f->value, ' '));
    bool is_word = str_starts(word, STR("ERR_")) && word.len <= SQUID_WORD;
    for (size_t at = 0; at < word.len; at++)
        is_word = is_word && (isupper((unsigned char)word.p[at]) || word.p[at] == '_');
    dst[0] = '\0';
    if (is_word)
        snprintf(dst, SQUID_WORD + 4, " (%.*s)", STR_ARG(word));
}

/* A page of a Squid in front of the origin has the Via of that one, too. */
bool ask_is_parents(const struct h1_head *head)
{
    struct str item;
    unsigned n = 0;
    if (head->status == 407)
        return true;
    if (head->status < 400 || squid_error(head) == NULL)
        return false;
    for (const struct field *f = NULL; (f = fields_find(&head->fields, FIELD_VIA, f)) != NULL;)
        for (struct str value = f->value; str_next_item(&value, &item);)
            n++;
    return n <= 1;
}

void ask_refused(struct fault *f, const char *shown, bool has_auth, const char *what,
                 const struct h1_head *head)
{
    char word[SQUID_WORD + 4];
    struct str reason = h1_reason(head->status);
    squid_word(head, word);
    fault_set(f, FAULT_PARENT, "the parent proxy %s answered %s with %u%s%.*s%s%s", shown, what,
              head->status, reason.len > 0 ? " " : "", STR_ARG(reason), word,
              ask_advice(head, has_auth));
    if (head->status == 407 || head->status == 401)
        f->phrase = "Parent proxy asks for other credentials";
}

/* ---- the answer */

static void ask_end(struct ask *a, const struct fault *f)
{
    ask_fn fn = a->fn;
    void *arg = a->arg;
    ask_close(a);
    stream_set_user(a->stream, NULL, NULL);
    fn(arg, f);
}

static void on_won(void *arg)
{
    struct ask *a = arg;
    a->fn(a->arg, NULL);
}

/* What it sent is no answer to CONNECT. */
static void ask_fail(struct ask *a, const char *why)
{
    struct fault f;
    fault_set(&f, FAULT_UP_PROTOCOL, "the parent proxy %s: %s, in answer to CONNECT %s",
              a->parent->shown, why, a->target);
    f.phrase = "Invalid response from the parent proxy";
    ask_end(a, &f);
}

/* A whole head. True: another one follows. */
static bool ask_take(struct ask *a, const struct h1_head *head)
{
    struct fault f;
    char what[ASK_WHAT];
    if (head->status < 200 && head->status != 101 && ++a->infos <= ANSWER_INFOS)
        return true;
    if (head->status < 200) {
        ask_fail(a, head->status == 101 ? "it switched to another protocol"
                                        : "more than 16 interim answers");
    } else if (head->status < 300 && stream_pending(a->stream) > 0) {
        ask_fail(a, "it answered before it was asked");
    } else if (head->status < 300) {
        stream_pause(a->stream);
        stream_set_user(a->stream, NULL, NULL);
        loop_post(a->stream->loop, &a->won);
    } else {
        snprintf(what, sizeof(what), "CONNECT %s", a->target);
        ask_refused(&f, a->parent->shown, a->parent->auth != NULL, what, head);
        ask_end(a, &f);
    }
    return false;
}

/* Takes a head off P; gives its bytes, 0 when it is not complete or A is over. */
static size_t ask_read(struct ask *a, const char *p, size_t n, bool *go_on)
{
    size_t len = h1_head_end(p, n, &a->scanned, true);
    *go_on = false;
    if (len > ANSWER_MAX || (len == 0 && n > ANSWER_MAX)) {
        ask_fail(a, "a head of more than 64 KiB");
        return 0;
    }
    if (len == 0)
        return 0;
    struct h1_head head = {0};
    struct h1_error e = {0};
    struct arena arena;
    struct field fields[ASK_FIELDS];
    uint64_t memory[ASK_ARENA / sizeof(uint64_t)];
    a->scanned = 0;
    arena_init(&arena, memory, sizeof(memory));
    fields_init(&head.fields, &arena, fields, ASK_FIELDS);
    if (h1_parse_response(&head, p, len, true, &e))
        *go_on = ask_take(a, &head);
    else
        ask_fail(a, "what it sent is not valid HTTP");
    arena_clear(&arena);
    return len;
}

static size_t ask_on_data(void *arg, const char *p, size_t n)
{
    struct ask *a = arg;
    size_t used = 0;
    bool go_on = true;
    a->has_begun = true;
    while (go_on && used < n)
        used += ask_read(a, p + used, n - used, &go_on);
    return used;
}

static void ask_on_eof(void *arg, bool clean)
{
    struct ask *a = arg;
    struct fault f;
    (void)clean;
    fault_set(&f, FAULT_UP_CLOSED, "the parent proxy %s closed the connection %s CONNECT %s",
              a->parent->shown, a->has_begun ? "inside its answer to" : "before it answered",
              a->target);
    f.phrase = "Connection closed by the parent proxy";
    ask_end(a, &f);
}

static void ask_on_fault(void *arg, const struct fault *cause)
{
    struct ask *a = arg;
    struct fault f;
    fault_set(&f, cause->code, "the parent proxy %s, asked for CONNECT %s: %s", a->parent->shown,
              a->target, cause->text);
    f.phrase = cause->code == FAULT_UP_CLOSED ? "Connection closed by the parent proxy"
                                              : "Connection to the parent proxy failed";
    ask_end(a, &f);
}

static const struct stream_user ask_user = {
    .on_data = ask_on_data,
    .on_eof = ask_on_eof,
    .on_fault = ask_on_fault,
};

/* ---- the question */

static void ask_write(const struct ask *a, const char *via)
{
    const char *auth = a->parent->auth;
    const char *end = "\r\n";
    char *head =
        xasprintf("CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%s%s%s%s\r\n", a->target, a->target,
                  auth == NULL ? "" : "Proxy-Authorization: ", auth == NULL ? "" : auth,
                  auth == NULL ? "" : end, via == NULL ? "" : "Via: ", via == NULL ? "" : via,
                  via == NULL ? "" : end);
    stream_put(a->stream, head, strlen(head));
    secret_free(head);
}

void ask_start(struct ask *a, struct stream *s, const struct ask_for *for_what, ask_fn fn,
               void *arg)
{
    *a = (struct ask){
        .stream = s,
        .parent = for_what->parent,
        .target = for_what->target,
        .fn = fn,
        .arg = arg,
    };
    post_init(&a->won, on_won, a);
    stream_set_user(s, &ask_user, a);
    stream_start(s);
    ask_write(a, for_what->via);
}

void ask_close(struct ask *a)
{
    if (a->stream != NULL)
        loop_unpost(&a->won);
}
