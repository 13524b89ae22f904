/* SPDX-License-Identifier: Apache-2.0 */
/* A field section (RFC 9110 §5) as a list in order of arrival, and the names and methods we know.
 * Slices point to bytes that the maker of the list keeps: what fields_set() and fields_add() are
 * given must live as long as the list. A removed field stays as a hole with name.p NULL. */
#ifndef TLSFAN_HTTP_FIELDS_H
#define TLSFAN_HTTP_FIELDS_H

#include "base/mem.h"

/* Names that tlsfan looks at, found at parse time by length and bytes, in any case. */
enum field_id {
    FIELD_OTHER, /* none of these: compared by name where it matters */
    FIELD_ACCESS_CONTROL_ALLOW_ORIGIN,
    FIELD_ALT_SVC,
    FIELD_AUTHORIZATION,
    FIELD_CONNECTION,
    FIELD_CONTENT_LENGTH,
    FIELD_CONTENT_LOCATION,
    FIELD_CONTENT_SECURITY_POLICY,
    FIELD_CONTENT_TYPE,
    FIELD_COOKIE,
    FIELD_DATE,
    FIELD_DESTINATION,
    FIELD_EXPECT,
    FIELD_HOST,
    FIELD_HTTP2_SETTINGS,
    FIELD_IF,
    FIELD_KEEP_ALIVE,
    FIELD_LINK,
    FIELD_LOCATION,
    FIELD_MAX_FORWARDS,
    FIELD_ORIGIN,
    FIELD_PROXY_AUTHENTICATE,
    FIELD_PROXY_AUTHORIZATION,
    FIELD_PROXY_CONNECTION,
    FIELD_REFERER,
    FIELD_REFRESH,
    FIELD_RETRY_AFTER,
    FIELD_SEC_FETCH_SITE,
    FIELD_SET_COOKIE,
    FIELD_STRICT_TRANSPORT_SECURITY,
    FIELD_TE,
    FIELD_TRAILER,
    FIELD_TRANSFER_ENCODING,
    FIELD_UPGRADE,
    FIELD_VIA,
    FIELD_WWW_AUTHENTICATE,
    FIELD_X_FORWARDED_PROTO,
    FIELD_COUNT
};

struct field {
    struct str name;  /* as it arrived; NULL p = removed, skipped by everybody */
    struct str value; /* trimmed */
    enum field_id id;
    bool is_secret; /* said of what its id does not tell about; ask field_is_secret() */
};

struct fields {
    struct field *v;
    unsigned n, cap;
    uint64_t present;    /* bit of each field_id that is in the list, maybe: a quick "no" */
    struct arena *arena; /* borrowed: where v grows */
};

/* FIRST (may be NULL with CAP 0) is room for CAP fields that stays the caller's; beyond it v grows
 * in ARENA. */
void fields_init(struct fields *f, struct arena *arena, struct field *first, unsigned cap);
void fields_add(struct fields *f, struct field field);
/* Adds with the id looked up. */
void fields_put(struct fields *f, struct str name, struct str value);

/* Credentials: neither logged nor shown, never in HPACK's table, which all requests on a connection
 * share (RFC 7541 §7.1.3), nor in the answer to a TRACE (RFC 9110 §9.3.8). */
static inline bool field_is_secret(const struct field *f)
{
    return f->is_secret || f->id == FIELD_AUTHORIZATION || f->id == FIELD_PROXY_AUTHORIZATION ||
           f->id == FIELD_COOKIE;
}

static inline bool fields_has(const struct fields *f, enum field_id id)
{
    return (f->present >> id) & 1;
}

/* The first field with ID behind AFTER (NULL: from the start), or NULL. ID is not FIELD_OTHER. */
struct field *fields_find(const struct fields *f, enum field_id id, const struct field *after);
void fields_remove(struct fields *f, enum field_id id);
/* Removes every field whose name is in the table: what frames, routes, authenticates or is
 * rewritten must not come in by a trailer section (RFC 9110 §6.5.1). */
void fields_remove_known(struct fields *f);
/* Removes every field called NAME, in any case. */
void fields_remove_name(struct fields *f, struct str name);
/* DST, which was not initialised, becomes a copy of SRC, bytes too, in ARENA. */
void fields_copy(struct arena *arena, struct fields *dst, const struct fields *src);
/* The first field of ID gets VALUE, further ones go; when there was none NAME is added. */
void fields_set(struct fields *f, enum field_id id, struct str name, struct str value);

/* The type of a Content-Type or of an item of Accept, without its parameters (RFC 9110 §8.3.1). */
struct str media_type(struct str value);
/* TYPE is an item of Accept, in any case and with any weight (RFC 9110 §12.5.1). */
bool fields_accept(const struct fields *f, struct str type);

enum field_id field_lookup(struct str name);

/* Methods whose meaning matters to us (RFC 9110 §9; safe and idempotent: the IANA registry). */
enum method_id {
    METHOD_OTHER, /* any token: passed on, taken for unsafe unless the registry says more */
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_CONNECT,
    METHOD_OPTIONS,
    METHOD_TRACE
};
struct method {
    struct str name; /* case-sensitive, as it arrived */
    enum method_id id;
    bool is_safe, is_idempotent;
};
struct method method_lookup(struct str name);

#endif
