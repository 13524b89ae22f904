/* SPDX-License-Identifier: Apache-2.0 */
/* Fields for the live page: see seen.h. A section is a struct section, then for each field a struct
 * entry, its name and what is shown of its value; nothing is aligned. */
#include "exchange/seen.h"

#include <strings.h>

#include "exchange/exchange.h"

enum entry_flag { ENTRY_HAS_VALUE = 1, ENTRY_HIDDEN = 2, ENTRY_CUT = 4, ENTRY_NO_SIZE = 8 };

/* Bytes of a name and of a value that are searched: an origin may send heads of 128 KiB. More are
 * not shown of a value, and no honest name is longer. */
enum { SEEN_LOOK = 1024 };

struct section {
    uint16_t n, more;
};

struct entry {
    uint32_t size; /* of the whole value */
    uint8_t name_len, value_len;
    uint8_t flags; /* enum entry_flag */
    uint8_t unused;
};

/* ---- what may be shown */

static bool seen_contains(struct str text, struct str word)
{
    for (size_t i = 0; i + word.len <= text.len; i++)
        if (((text.p[i] ^ word.p[0]) & ~0x20) == 0 &&
            strncasecmp(text.p + i, word.p, word.len) == 0)
            return true;
    return false;
}

/* Names of one's own for keys and tokens are without number. */
static bool seen_sounds_secret(struct str name)
{
    static const struct str words[] = {
        STR_INIT("auth"),      STR_INIT("cookie"),     STR_INIT("key"),
        STR_INIT("token"),     STR_INIT("secret"),     STR_INIT("pass"),
        STR_INIT("pwd"),       STR_INIT("credential"), STR_INIT("sess"),
        STR_INIT("signature"), STR_INIT("bearer"),     STR_INIT("ticket"),
        STR_INIT("jwt"),       STR_INIT("dpop"),       STR_INIT("csrf"),
        STR_INIT("xsrf"),      STR_INIT("api-id"),     STR_INIT("assertion"),
        STR_INIT("otp"),       STR_INIT("cert"),       STR_INIT("http2-settings"),
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (seen_contains(name, words[i]))
            return true;
    return false;
}

/* A credential by a name that says nothing: an authentication scheme, or the beginning of a JWT;
 * Kubernetes has its bearer tokens among the names of WebSocket protocols. */
static bool seen_looks_secret(struct str value)
{
    static const struct str beginnings[] = {
        STR_INIT("basic "),     STR_INIT("bearer "), STR_INIT("digest "), STR_INIT("token "),
        STR_INIT("negotiate "), STR_INIT("ntlm "),   STR_INIT("apikey "), STR_INIT("aws4-"),
    };
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++)
        if (str_istarts(value, beginnings[i]))
            return true;
    return seen_contains(value, STR("eyJ")) || seen_contains(value, STR("bearer"));
}

/* What an operator wrote into a rule may be a key, even where nothing says so: in an answer, too,
 * for origins echo. */
static bool seen_is_of_rule(const struct rule *r, struct str name)
{
    for (unsigned i = 0; r != NULL && i < r->n_edits; i++)
        if (str_ieq(str_from(r->edits[i].name), name))
            return true;
    return false;
}

/* Origins that echo do so under any name. A scheme in front of the secret is none. */
static bool seen_repeats(struct str value, const struct fields *sent)
{
    for (unsigned i = 0; sent != NULL && i < sent->n; i++) {
        struct str secret = sent->v[i].value, part;
        if (sent->v[i].name.p == NULL || !field_is_secret(&sent->v[i]))
            continue;
        while (str_next_part(&secret, ' ', &part))
            if (secret.len == 0 && part.len > 0 && seen_contains(value, part))
                return true;
    }
    return false;
}

static bool seen_hides(const struct field *f, const struct seen_how *how)
{
    struct str value = str_make(f->value.p, f->value.len < SEEN_LOOK ? f->value.len : SEEN_LOOK);
    return field_is_secret(f) || f->id == FIELD_SET_COOKIE || f->name.len > SEEN_LOOK ||
           seen_is_of_rule(how->rule, f->name) || seen_sounds_secret(f->name) ||
           seen_looks_secret(value) || seen_repeats(value, how->sent);
}

/* ---- values */

struct copy {
    char *p;
    size_t n;
    bool is_cut;
};

static void copy_byte(struct copy *c, char byte)
{
    if (c->n == SEEN_VALUE)
        c->is_cut = true;
    else
        c->p[c->n++] = byte;
}

/* Bytes of the userinfo and its @ that TEXT, an authority and what follows, begins with. */
static size_t seen_userinfo(struct str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len && memchr("/?# \"<>", text.p[i], 7) == NULL; i++)
        if (text.p[i] == '@')
            n = i + 1;
    return n;
}

/* An URL, or a text with URLs in it. */
static void copy_url(struct copy *c, struct str value, bool query)
{
    for (size_t i = 0; i < value.len; i++) {
        bool is_end = value.p[i] == '?' || value.p[i] == '#';
        if (is_end && !query) {
            c->is_cut = true;
            return;
        }
        copy_byte(c, value.p[i]);
        if (i >= 1 && value.p[i] == '/' && value.p[i - 1] == '/')
            i += seen_userinfo(str_from_byte(value, i + 1));
    }
}

/* Has it something like a query, as relative URLs may have? */
static bool seen_has_query(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.p[i] == '?' || value.p[i] == '#')
            return memchr(value.p + i, '=', value.len - i) != NULL;
    return false;
}

static void copy_value(struct copy *c, struct str value, bool query)
{
    if (seen_contains(value, STR("//")) || (value.len > 0 && value.p[0] == '/') ||
        seen_has_query(value)) {
        copy_url(c, value, query);
        return;
    }
    c->n = value.len < SEEN_VALUE ? value.len : SEEN_VALUE;
    c->is_cut = c->n < value.len;
    if (c->n > 0)
        memcpy(c->p, value.p, c->n);
}

/* ---- writing */

/* Writes F to DST, which has room for the largest one; gives its size. */
static size_t seen_put(char *dst, const struct field *f, const struct seen_how *how)
{
    size_t name = f->name.len < SEEN_NAME ? f->name.len : SEEN_NAME;
    struct entry e = {.size = (uint32_t)f->value.len, .name_len = (uint8_t)name};
    struct copy c = {.p = dst + sizeof e + name};
    if (f->is_secret)
        e.flags |= ENTRY_NO_SIZE;
    if (how->conf->log.fields && seen_hides(f, how)) {
        e.flags |= ENTRY_HIDDEN;
    } else if (how->conf->log.fields) {
        copy_value(&c, f->value, how->conf->log.query);
        e.flags |= ENTRY_HAS_VALUE | (c.is_cut ? ENTRY_CUT : 0);
    }
    e.value_len = (uint8_t)c.n;
    memcpy(dst, &e, sizeof e);
    memcpy(dst + sizeof e, f->name.p, name);
    return sizeof e + name + c.n;
}

size_t seen_write(char *dst, const struct fields *f, const struct seen_how *how)
{
    enum { MOST = sizeof(struct entry) + SEEN_NAME + SEEN_VALUE };
    struct section s = {0};
    size_t n = sizeof s;
    for (unsigned i = 0; i < f->n; i++) {
        if (f->v[i].name.p == NULL)
            continue;
        if (s.n == SEEN_FIELDS || n + MOST > SEEN_SECTION) {
            s.more++;
        } else {
            n += seen_put(dst + n, &f->v[i], how);
            s.n++;
        }
    }
    memcpy(dst, &s, sizeof s);
    return n;
}

__attribute__((noinline)) void seen_note_answer(struct exchange *x, const struct fields *f)
{
    char section[SEEN_SECTION];
    struct seen_how how = {x->conf, x->rule, &x->head.fields};
    x->seen.answer = arena_dup(&x->arena, str_make(section, seen_write(section, f, &how)));
}

size_t seen_write_both(struct seen_heads *h, const struct exchange *x)
{
    struct seen_how how = {x->conf, x->rule, NULL};
    size_t n = seen_write(h->bytes, &x->head.fields, &how);
    if (x->seen.answer.len > 0)
        memcpy(h->bytes + n, x->seen.answer.p, x->seen.answer.len);
    h->len = (uint16_t)(n + x->seen.answer.len);
    return offsetof(struct seen_heads, bytes) + h->len;
}

/* ---- reading */

/* Takes N bytes off S to DST. */
static bool seen_take(struct str *s, void *dst, size_t n)
{
    if (s->len < n)
        return false;
    memcpy(dst, s->p, n);
    *s = str_from_byte(*s, n);
    return true;
}

bool seen_section(struct str *sections, unsigned *n, unsigned *more)
{
    struct section s;
    if (!seen_take(sections, &s, sizeof s))
        return false;
    *n = s.n;
    *more = s.more;
    return true;
}

bool seen_next(struct str *sections, struct seen_field *field)
{
    struct entry e;
    if (!seen_take(sections, &e, sizeof e) ||
        sections->len < (size_t)e.name_len + (size_t)e.value_len)
        return false;
    struct str name = str_make(sections->p, e.name_len);
    struct str value = str_make(sections->p + e.name_len, e.value_len);
    *sections = str_from_byte(*sections, (size_t)e.name_len + e.value_len);
    *field = (struct seen_field){
        .name = name,
        .value = e.flags & ENTRY_HAS_VALUE ? value : str_make(NULL, 0),
        .size = e.flags & ENTRY_NO_SIZE ? -1 : (int64_t)e.size,
        .is_hidden = e.flags & ENTRY_HIDDEN,
        .is_cut = e.flags & ENTRY_CUT,
    };
    return true;
}
