/* SPDX-License-Identifier: Apache-2.0 */
/* Making the upgrade invisible, field by field. Two tables say which function looks at which
 * field and which key turns it off; a message with none of these fields costs one comparison. */
#include "http/rewrite.h"

#include "http/rewrite_url.h"
#include "http/uri.h"

/* Changes *VALUE, new bytes going to ARENA; false: the field is to go. */
typedef bool (*fixup_fn)(const struct rewrite *r, struct arena *arena, struct str *value);

struct fixup {
    fixup_fn fn;
    size_t key; /* offset of the bool in struct rewrite_conf */
};

#define KEY(name) offsetof(struct rewrite_conf, name)
#define BIT(id)   (UINT64_C(1) << (id))

/* A value of which some slices are replaced. Nothing is copied before the first replacement, and
 * the whole costs time and memory linear in the result, however many slices there are. */
struct edit {
    struct arena *arena;
    struct str value;
    size_t done; /* bytes of VALUE that are dealt with */
    char *out;   /* in ARENA; NULL: nothing was replaced */
    size_t len, cap;
};

static void edit_append(struct edit *e, struct str s)
{
    if (e->len + s.len > e->cap || e->out == NULL) {
        e->cap = (e->len + s.len) * 2 + 64;
        if (e->out == NULL)
            e->cap = e->value.len + s.len + 16;
        char *out = arena_alloc(e->arena, e->cap);
        if (e->len > 0)
            memcpy(out, e->out, e->len);
        e->out = out;
    }
    if (s.len > 0)
        memcpy(e->out + e->len, s.p, s.len);
    e->len += s.len;
}

/* Bytes FROM to TO, behind all that was replaced before, become WITH. */
static void edit_replace(struct edit *e, size_t from, size_t to, struct str with)
{
    edit_append(e, str_make(e->value.p + e->done, from - e->done));
    edit_append(e, with);
    e->done = to;
}

static struct str edit_finish(struct edit *e)
{
    if (e->out == NULL)
        return e->value;
    edit_append(e, str_from_byte(e->value, e->done));
    return str_make(e->out, e->len);
}

/* Replaces the URL at FROM to TO when it is one that changes. */
static void edit_url(struct edit *e, const struct rewrite *r, size_t from, size_t to)
{
    struct str url = str_make(e->value.p + from, to - from);
    if (rewrite_url_to_client(r, e->arena, &url, false))
        edit_replace(e, from, to, url);
}

/* What is before the next SEPARATOR, which nothing quotes; false at the end. */
static bool next_raw(struct str *rest, char separator, struct str *part)
{
    if (rest->p == NULL)
        return false;
    size_t i = str_find(*rest, separator);
    *part = str_make(rest->p, i);
    *rest = i == rest->len ? str_make(NULL, 0) : str_make(rest->p + i + 1, rest->len - i - 1);
    return true;
}

static size_t skip_blanks(struct str s, size_t i)
{
    while (i < s.len && str_is_blank(s.p[i]))
        i++;
    return i;
}

/* The position behind the quoted string (RFC 9110 §5.6.4) that begins at I; the length when it
 * has no end. */
static size_t skip_quoted(struct str s, size_t i)
{
    for (i++; i < s.len; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            return i + 1;
    }
    return s.len;
}

/* Responses */

/* Location, Content-Location. */
static bool fix_location(const struct rewrite *r, struct arena *arena, struct str *value)
{
    rewrite_url_to_client(r, arena, value, false);
    return true;
}

static bool fix_allow_origin(const struct rewrite *r, struct arena *arena, struct str *value)
{
    rewrite_url_to_client(r, arena, value, true);
    return true;
}

/* Where the URL of a Refresh value begins: "5; url=URL", "5,URL", as the HTML standard reads it. */
static size_t refresh_url(struct str v)
{
    size_t i = 0;
    while (i < v.len && ((v.p[i] >= '0' && v.p[i] <= '9') || v.p[i] == '.'))
        i++;
    i = skip_blanks(v, i);
    if (i < v.len && (v.p[i] == ';' || v.p[i] == ','))
        i = skip_blanks(v, i + 1);
    if (!str_istarts(str_from_byte(v, i), STR("url")))
        return i;
    size_t equals = skip_blanks(v, i + 3);
    return equals < v.len && v.p[equals] == '=' ? skip_blanks(v, equals + 1) : i;
}

static bool fix_refresh(const struct rewrite *r, struct arena *arena, struct str *value)
{
    struct edit e = {.arena = arena, .value = *value};
    size_t from = refresh_url(*value);
    size_t to = value->len;
    if (from < to && (value->p[from] == '"' || value->p[from] == '\'')) {
        struct str inner = str_from_byte(*value, from + 1);
        to = from + 1 + str_find(inner, value->p[from]);
        from++;
    }
    edit_url(&e, r, from, to);
    *value = edit_finish(&e);
    return true;
}

/* The <targets> of Link (RFC 8288 §3); what is quoted is no target. */
static bool fix_link(const struct rewrite *r, struct arena *arena, struct str *value)
{
    struct edit e = {.arena = arena, .value = *value};
    size_t i = 0;
    while (i < value->len) {
        if (value->p[i] == '"') {
            i = skip_quoted(*value, i);
        } else if (value->p[i] == '<') {
            size_t end = i + 1 + str_find(str_from_byte(*value, i + 1), '>');
            if (end < value->len)
                edit_url(&e, r, i + 1, end);
            i = end;
        } else {
            i++;
        }
    }
    *value = edit_finish(&e);
    return true;
}

/* Rewrites the quoted value that begins at FROM, if it is one and needs no unescaping. */
static void fix_quoted_url(struct edit *e, const struct rewrite *r, size_t from)
{
    if (from >= e->value.len || e->value.p[from] != '"')
        return;
    size_t end = skip_quoted(e->value, from);
    if (end - from >= 2 && e->value.p[end - 1] == '"')
        edit_url(e, r, from + 1, end - 1);
}

/* Realm URLs of challenges ("Bearer realm=..., service=..."). The realm of Digest is hashed with
 * the password and must stay what the origin knows. */
static bool fix_challenge(const struct rewrite *r, struct arena *arena, struct str *value)
{
    struct edit e = {.arena = arena, .value = *value};
    struct str list = *value;
    struct str item;
    bool is_digest = false;
    while (str_next_item(&list, &item)) {
        size_t end = 0;
        while (end < item.len && item.p[end] != ' ' && item.p[end] != '\t' && item.p[end] != '=')
            end++;
        struct str word = str_make(item.p, end);
        size_t next = skip_blanks(item, end);
        /* A word that is not followed by "=" is a scheme; its first parameter may be behind it. */
        if (next > end && next < item.len && item.p[next] != '=') {
            is_digest = str_ieq(word, STR("Digest"));
            size_t start = next;
            while (next < item.len && item.p[next] != ' ' && item.p[next] != '\t' &&
                   item.p[next] != '=')
                next++;
            word = str_make(item.p + start, next - start);
            next = skip_blanks(item, next);
        } else if (next >= item.len) {
            is_digest = str_ieq(word, STR("Digest"));
        }
        if (is_digest || !str_ieq(word, STR("realm")) || next >= item.len || item.p[next] != '=')
            continue;
        fix_quoted_url(&e, r, (size_t)(item.p - value->p) + skip_blanks(item, next + 1));
    }
    *value = edit_finish(&e);
    return true;
}

/* True for an attribute of Set-Cookie that would keep the cookie from a client that asks over
 * http. */
static bool is_lost_attribute(const struct rewrite *r, struct str attribute)
{
    size_t equals = str_find(attribute, '=');
    struct str name = str_trim(str_make(attribute.p, equals));
    if (r->forward != NULL && str_ieq(name, STR("Domain")))
        return true;
    if (!r->is_upgraded)
        return false;
    if (str_ieq(name, STR("Secure")) || str_ieq(name, STR("Partitioned")))
        return true;
    return str_ieq(name, STR("SameSite")) &&
           str_ieq(str_trim(str_from_byte(attribute, equals + 1)), STR("None"));
}

static bool fix_set_cookie(const struct rewrite *r, struct arena *arena, struct str *value)
{
    struct edit e = {.arena = arena, .value = *value};
    size_t at = str_find(*value, ';');
    while (at < value->len) {
        struct str attribute = str_from_byte(*value, at + 1);
        attribute.len = str_find(attribute, ';');
        size_t end = at + 1 + attribute.len;
        if (is_lost_attribute(r, attribute))
            edit_replace(&e, at, end, STR(""));
        at = end;
    }
    *value = edit_finish(&e);
    return true;
}

/* Strict-Transport-Security, Alt-Svc. */
static bool drop_when_upgraded(const struct rewrite *r, struct arena *arena, struct str *value)
{
    (void)arena;
    (void)value;
    /* A forward is not the site that it speaks for: other ports of its host speak plain HTTP. */
    return !r->is_upgraded && (r->forward == NULL || !r->forward->client_tls);
}

/* Writes the policies of V (CSP 3: a comma list of lists separated by semicolons) without
 * upgrade-insecure-requests to DST, or only counts when that is NULL. Gives the length; *FOUND
 * when there was something to leave out. */
static size_t strip_policies(struct str v, char *dst, bool *found)
{
    size_t len = 0;
    struct str policy;
    while (next_raw(&v, ',', &policy)) {
        bool is_first = true;
        struct str directive;
        while (next_raw(&policy, ';', &directive)) {
            directive = str_trim(directive);
            bool is_it = str_ieq(directive, STR("upgrade-insecure-requests"));
            *found = *found || is_it;
            if (is_it || directive.len == 0)
                continue;
            struct str glue = is_first ? STR(", ") : STR("; ");
            if (len == 0)
                glue.len = 0;
            if (dst != NULL) {
                memcpy(dst + len, glue.p, glue.len);
                memcpy(dst + len + glue.len, directive.p, directive.len);
            }
            len += glue.len + directive.len;
            is_first = false;
        }
    }
    return len;
}

static bool fix_policy(const struct rewrite *r, struct arena *arena, struct str *value)
{
    if (!r->is_upgraded)
        return true;
    bool found = false;
    size_t len = strip_policies(*value, NULL, &found);
    if (!found)
        return true;
    if (len == 0)
        return false;
    char *dst = arena_alloc(arena, len);
    strip_policies(*value, dst, &found);
    *value = str_make(dst, len);
    return true;
}

static const struct fixup response_fixups[FIELD_COUNT] = {
    [FIELD_LOCATION] = {fix_location, KEY(location)},
    [FIELD_CONTENT_LOCATION] = {fix_location, KEY(location)},
    [FIELD_REFRESH] = {fix_refresh, KEY(location)},
    [FIELD_LINK] = {fix_link, KEY(links)},
    [FIELD_WWW_AUTHENTICATE] = {fix_challenge, KEY(links)},
    [FIELD_SET_COOKIE] = {fix_set_cookie, KEY(cookies)},
    [FIELD_STRICT_TRANSPORT_SECURITY] = {drop_when_upgraded, KEY(hsts)},
    [FIELD_ALT_SVC] = {drop_when_upgraded, KEY(hsts)},
    [FIELD_CONTENT_SECURITY_POLICY] = {fix_policy, KEY(hsts)},
    [FIELD_ACCESS_CONTROL_ALLOW_ORIGIN] = {fix_allow_origin, KEY(cors)},
};

static const uint64_t response_bits =
    BIT(FIELD_LOCATION) | BIT(FIELD_CONTENT_LOCATION) | BIT(FIELD_REFRESH) | BIT(FIELD_LINK) |
    BIT(FIELD_WWW_AUTHENTICATE) | BIT(FIELD_SET_COOKIE) | BIT(FIELD_STRICT_TRANSPORT_SECURITY) |
    BIT(FIELD_ALT_SVC) | BIT(FIELD_CONTENT_SECURITY_POLICY) |
    BIT(FIELD_ACCESS_CONTROL_ALLOW_ORIGIN);

/* Requests */

static bool fix_origin(const struct rewrite *r, struct arena *arena, struct str *value)
{
    rewrite_url_to_origin(r, arena, value, true);
    return true;
}

/* Referer, Destination (RFC 4918 §10.3). */
static bool fix_reference(const struct rewrite *r, struct arena *arena, struct str *value)
{
    rewrite_url_to_origin(r, arena, value, false);
    return true;
}

/* The position behind the conditions "(...)" that begin at I: a ")" in a state token or in a quoted
 * entity tag, which knows no backslash, does not end them. */
static size_t skip_conditions(struct str s, size_t i)
{
    char until = ')';
    for (i++; i < s.len; i++) {
        char c = s.p[i];
        if (c == until && until == ')')
            return i + 1;
        if (c == until)
            until = ')';
        else if (until == ')' && (c == '<' || c == '"'))
            until = c == '<' ? '>' : '"';
    }
    return s.len;
}

/* The resources that the lists of an If are about (RFC 4918 §10.4): "<URL> (conditions)". They lose
 * user information as the target does. State tokens are URLs too, but stand in conditions. */
static bool fix_if(const struct rewrite *r, struct arena *arena, struct str *value)
{
    struct edit e = {.arena = arena, .value = *value};
    size_t i = 0;
    while (i < value->len) {
        if (value->p[i] == '(') {
            i = skip_conditions(*value, i);
            continue;
        }
        if (value->p[i++] != '<')
            continue;
        size_t end = i + str_find(str_from_byte(*value, i), '>');
        struct str url = uri_without_userinfo(arena, str_make(value->p + i, end - i));
        bool is_mapped = rewrite_url_to_origin(r, arena, &url, false);
        if (end < value->len && (is_mapped || url.len < end - i))
            edit_replace(&e, i, end, url);
        i = end;
    }
    *value = edit_finish(&e);
    return true;
}

static bool fix_forwarded_proto(const struct rewrite *r, struct arena *arena, struct str *value)
{
    (void)arena;
    if (r->is_upgraded && !str_eq(*value, STR("https")))
        *value = STR("https");
    return true;
}

static const struct fixup request_fixups[FIELD_COUNT] = {
    [FIELD_ORIGIN] = {fix_origin, KEY(origin)},
    [FIELD_REFERER] = {fix_reference, KEY(origin)},
    [FIELD_DESTINATION] = {fix_reference, KEY(origin)},
    [FIELD_IF] = {fix_if, KEY(origin)},
    [FIELD_X_FORWARDED_PROTO] = {fix_forwarded_proto, KEY(origin)},
};

static const uint64_t request_bits = BIT(FIELD_ORIGIN) | BIT(FIELD_REFERER) |
                                     BIT(FIELD_DESTINATION) | BIT(FIELD_IF) |
                                     BIT(FIELD_X_FORWARDED_PROTO);

/* Shows each field to its function in TABLE, if its key is on. */
static void apply(struct fields *fields, const struct rewrite *r, const struct fixup *table)
{
    const char *keys = (const char *)&r->conf->rewrite;
    for (unsigned i = 0; i < fields->n; i++) {
        struct field *f = &fields->v[i];
        const struct fixup *fixup = &table[f->id];
        if (f->name.p == NULL || fixup->fn == NULL)
            continue;
        if (!*(const bool *)(keys + fixup->key))
            continue;
        if (!fixup->fn(r, fields->arena, &f->value))
            f->name = str_make(NULL, 0);
    }
}

void rewrite_request(struct fields *fields, const struct rewrite *r)
{
    if ((fields->present & request_bits) == 0 || (!r->is_upgraded && r->forward == NULL))
        return;
    apply(fields, r, request_fixups);
}

void rewrite_response(struct fields *fields, const struct rewrite *r)
{
    if ((fields->present & response_bits) == 0 || (!r->is_upgraded && r->forward == NULL))
        return;
    apply(fields, r, response_fixups);
}

static void set_secret(struct field *f, struct str value)
{
    f->value = value;
    f->is_secret = true;
}

/* The first field of the edit's name gets its value, further ones go. */
void rewrite_edit(struct fields *fields, struct str name, struct str value)
{
    bool is_set = false;
    for (unsigned i = 0; i < fields->n; i++) {
        struct field *f = &fields->v[i];
        if (f->name.p == NULL || !str_ieq(f->name, name))
            continue;
        if (is_set)
            f->name = str_make(NULL, 0);
        else
            set_secret(f, value);
        is_set = true;
    }
    if (is_set)
        return;
    fields_put(fields, name, value);
    set_secret(&fields->v[fields->n - 1], value);
}

void rewrite_edits(struct fields *fields, const struct header_edit *edits, unsigned n,
                   enum rewrite_trust trust)
{
    for (unsigned i = 0; i < n; i++) {
        enum rewrite_trust needs = edits[i].text.is_secret ? REWRITE_ALL : REWRITE_PLAIN;
        if (edits[i].value == NULL || trust < needs)
            fields_remove_name(fields, str_from(edits[i].name));
        else
            rewrite_edit(fields, str_from(edits[i].name), str_from(edits[i].value));
    }
}
