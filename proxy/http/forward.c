/* SPDX-License-Identifier: Apache-2.0 */
/* What any proxy changes in a message (RFC 9110 §7.6). Connection is read first, then one pass
 * over the fields takes out all that ends here. A message without unusual connection options
 * allocates nothing. */
#include "http/forward.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* What Connection (or Proxy-Connection) said. */
struct options {
    bool close, keep_alive, upgrade;
    struct str *names; /* sorted names of fields that end here, in the arena of the fields */
    size_t n, cap;
};

/* Without random bytes there is none: a time can be guessed. */
static void put_pass(struct forward_id *id, const uint32_t *r)
{
    snprintf(id->pass, sizeof(id->pass), "tlsfan %08x%08x%08x%08x", (unsigned)r[0], (unsigned)r[1],
             (unsigned)r[2], (unsigned)r[3]);
}

void forward_id_init(struct forward_id *id)
{
    uint32_t r[5] = {0};
    struct timespec now;
    id->pass[0] = '\0';
    if (getrandom(r, sizeof(r), 0) == (ssize_t)sizeof(r)) {
        put_pass(id, &r[1]);
    } else {
        clock_gettime(CLOCK_REALTIME, &now);
        r[0] = (uint32_t)now.tv_nsec ^ ((uint32_t)getpid() << 16);
    }
    snprintf(id->via, sizeof(id->via), "1.1 tlsfan-%08x", (unsigned)r[0]);
    id->received = str_from(id->via + 4);
}

bool forward_is_pass(const struct forward_id *id, struct str value)
{
    unsigned differ = 0;
    if (id->pass[0] == '\0' || value.len != strlen(id->pass))
        return false;
    for (size_t i = 0; i < value.len; i++)
        differ |= (unsigned char)(value.p[i] ^ id->pass[i]);
    return differ == 0;
}

/* received-by of one element of Via: "1.1 NAME (comment)". */
static struct str via_received_by(struct str item)
{
    size_t i = 0;
    while (i < item.len && item.p[i] != ' ' && item.p[i] != '\t')
        i++;
    struct str name = str_trim(str_from_byte(item, i));
    size_t n = 0;
    while (n < name.len && name.p[n] != ' ' && name.p[n] != '\t' && name.p[n] != '(')
        n++;
    return str_make(name.p, n);
}

bool forward_is_loop(const struct fields *fields, const struct forward_id *id)
{
    if (!fields_has(fields, FIELD_VIA))
        return false;
    const struct field *f = NULL;
    while ((f = fields_find(fields, FIELD_VIA, f)) != NULL) {
        struct str list = f->value;
        struct str item;
        while (str_next_item(&list, &item))
            if (str_ieq(via_received_by(item), id->received))
                return true;
    }
    return false;
}

/* True of a number that does not fit 64 bits, too: that is no error of the sender. */
static bool is_all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.len > 0;
}

bool forward_max_forwards(struct fields *fields, enum method_id method, bool *answer_here,
                          const char **why)
{
    *answer_here = false;
    if (!fields_has(fields, FIELD_MAX_FORWARDS))
        return true;
    if (method != METHOD_OPTIONS && method != METHOD_TRACE)
        return true;
    struct field *f = fields_find(fields, FIELD_MAX_FORWARDS, NULL);
    if (f == NULL)
        return true;
    if (!is_all_digits(f->value) || fields_find(fields, FIELD_MAX_FORWARDS, f) != NULL) {
        *why = "Max-Forwards is not one number";
        return false;
    }
    /* What does not fit is lowered to the greatest number we know, as §7.6.2 allows. */
    uint64_t n;
    if (!str_to_u64(f->value, &n))
        n = UINT64_MAX;
    *answer_here = n == 0;
    if (n == 0)
        return true;
    char *digits = arena_alloc(fields->arena, 20);
    f->value = str_make(digits, str_put_u64(digits, n - 1));
    return true;
}

/* Order of names: by length, then by letters in any case. */
static int options_compare(const void *a, const void *b)
{
    const struct str *x = a;
    const struct str *y = b;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return strncasecmp(x->p, y->p, x->len);
}

/* Keeps NAME in memory of ARENA that doubles: what it costs is bounded by the head. */
static void options_add_name(struct options *o, struct arena *arena, struct str name)
{
    if (o->n == o->cap) {
        o->cap = o->cap == 0 ? 8 : o->cap * 2;
        struct str *names = arena_alloc(arena, o->cap * sizeof(*names));
        if (o->n > 0)
            memcpy(names, o->names, o->n * sizeof(*names));
        o->names = names;
    }
    o->names[o->n++] = name;
}

/* Adds what the fields with ID say to O. Names sort so that a long list of them against many
 * fields stays cheap. */
static void options_read(struct options *o, const struct fields *fields, enum field_id id)
{
    const struct field *f = NULL;
    while ((f = fields_find(fields, id, f)) != NULL) {
        struct str list = f->value;
        struct str item;
        if (str_ieq(list, STR("keep-alive"))) { /* as most say it */
            o->keep_alive = true;
            continue;
        }
        while (str_next_item(&list, &item)) {
            if (str_ieq(item, STR("close")))
                o->close = true;
            else if (str_ieq(item, STR("keep-alive")))
                o->keep_alive = true;
            else if (str_ieq(item, STR("upgrade")))
                o->upgrade = true;
            /* TE goes anyway; sorting out the usual options here keeps the list empty. */
            else if (id == FIELD_CONNECTION && !str_ieq(item, STR("te")))
                options_add_name(o, fields->arena, item);
        }
    }
    if (o->n > 1)
        qsort(o->names, o->n, sizeof(*o->names), options_compare);
}

/* Whether the sender's connection stays, without the fallback for old clients. */
static bool options_keep_alive(const struct options *o, uint8_t minor)
{
    if (o->close)
        return false;
    return o->keep_alive || minor >= 1;
}

static bool is_named(const struct options *o, struct str name)
{
    return o->n > 0 && bsearch(&name, o->names, o->n, sizeof(name), options_compare) != NULL;
}

/* Proxy-* that fields.h has no id for. */
static bool is_proxy_name(struct str name)
{
    return name.len > 6 && (name.p[0] | 0x20) == 'p' && str_istarts(name, STR("proxy-"));
}

#define BIT(id) (UINT64_C(1) << (id))

static const uint64_t hop_by_hop = BIT(FIELD_CONNECTION) | BIT(FIELD_KEEP_ALIVE) |
                                   BIT(FIELD_HTTP2_SETTINGS) | BIT(FIELD_PROXY_AUTHENTICATE) |
                                   BIT(FIELD_PROXY_AUTHORIZATION) | BIT(FIELD_PROXY_CONNECTION) |
                                   BIT(FIELD_TE);
/* Connection must not make a message lose what frames or routes it. */
static const uint64_t never_named = BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_EXPECT) |
                                    BIT(FIELD_HOST) | BIT(FIELD_TRANSFER_ENCODING) |
                                    BIT(FIELD_UPGRADE);

/* True for a field that goes no further. Expect and Upgrade are judged by the callers. */
static bool ends_here(const struct field *f, const struct options *o)
{
    if ((BIT(f->id) & hop_by_hop) != 0)
        return true;
    if ((BIT(f->id) & never_named) != 0)
        return false;
    return (f->id == FIELD_OTHER && is_proxy_name(f->name)) || is_named(o, f->name);
}

/* Takes out of FIELDS what goes no further. */
static void drop_hop_by_hop(struct fields *fields, const struct options *o)
{
    for (unsigned i = 0; i < fields->n; i++) {
        struct field *f = &fields->v[i];
        if (f->name.p != NULL && ends_here(f, o))
            f->name = str_make(NULL, 0);
    }
}

/* True when a field with ID lists TOKEN. */
static bool lists_token(const struct fields *fields, enum field_id id, struct str token)
{
    if (!fields_has(fields, id))
        return false;
    const struct field *f = NULL;
    while ((f = fields_find(fields, id, f)) != NULL)
        if (str_has_token(f->value, token))
            return true;
    return false;
}

/* Leaves TOKEN alone in the field with ID when KEEP, else takes the field out. */
static void narrow(struct fields *fields, enum field_id id, struct str token, bool keep)
{
    if (!fields_has(fields, id))
        return;
    if (!keep) {
        fields_remove(fields, id);
        return;
    }
    struct field *f = fields_find(fields, id, NULL);
    bool is_alone = f != NULL && fields_find(fields, id, f) == NULL;
    if (f != NULL && !(is_alone && str_ieq(f->value, token)))
        fields_set(fields, id, f->name, token);
}

static void add_via(struct fields *fields, const struct forward_id *id)
{
    fields_add(fields,
               (struct field){.name = STR("Via"), .value = str_from(id->via), .id = FIELD_VIA});
}

bool forward_keep_alive(const struct h1_head *head)
{
    const struct fields *f = &head->fields;
    /* Clients that know they talk to a proxy may say it in Proxy-Connection, 1.0 ones above all. */
    static const enum field_id where[] = {FIELD_CONNECTION, FIELD_PROXY_CONNECTION};
    for (unsigned i = 0; i < 2; i++) {
        if (!fields_has(f, where[i]))
            continue;
        if (lists_token(f, where[i], STR("close")))
            return false;
        if (lists_token(f, where[i], STR("keep-alive")))
            return true;
    }
    return head->minor >= 1;
}

bool forward_expects_continue(const struct h1_head *head)
{
    return head->minor >= 1 && lists_token(&head->fields, FIELD_EXPECT, STR("100-continue"));
}

void forward_request(struct h1_head *head, const struct forward_id *id, bool via,
                     struct forward_info *info)
{
    struct fields *fields = &head->fields;
    struct options o = {0};
    if (fields_has(fields, FIELD_CONNECTION))
        options_read(&o, fields, FIELD_CONNECTION);

    bool is_1_1 = head->minor >= 1;
    info->te_trailers = is_1_1 && lists_token(fields, FIELD_TE, STR("trailers"));
    info->is_websocket = is_1_1 && o.upgrade && head->method.id == METHOD_GET &&
                         lists_token(fields, FIELD_UPGRADE, STR("websocket"));

    drop_hop_by_hop(fields, &o);
    narrow(fields, FIELD_EXPECT, STR("100-continue"), forward_expects_continue(head));
    narrow(fields, FIELD_UPGRADE, STR("websocket"), info->is_websocket);
    if (via)
        add_via(fields, id);
}

void forward_response(struct h1_head *head, const struct forward_id *id, bool via, bool *keep_alive)
{
    struct fields *fields = &head->fields;
    struct options o = {0};
    if (fields_has(fields, FIELD_CONNECTION))
        options_read(&o, fields, FIELD_CONNECTION);
    *keep_alive = options_keep_alive(&o, head->minor);
    drop_hop_by_hop(fields, &o);
    if (head->status != 101 && fields_has(fields, FIELD_UPGRADE))
        fields_remove(fields, FIELD_UPGRADE);
    /* RFC 9110 §8.6, RFC 9112 §6.1: these may not have one, and many do. */
    if (head->status < 200 || head->status == 204) {
        fields_remove(fields, FIELD_CONTENT_LENGTH);
        fields_remove(fields, FIELD_TRANSFER_ENCODING);
    }
    if (via)
        add_via(fields, id);
}
