/* SPDX-License-Identifier: Apache-2.0 */
/* "00-TRACE_ID-PARENT_ID-FLAGS": each part has its place. */
#include "http/traceparent.h"

#include "http/chars.h"

enum {
    VERSION_LEN = 2,
    TRACE_AT = VERSION_LEN + 1,
    PARENT_AT = TRACE_AT + TRACE_ID_LEN + 1,
    PARENT_LEN = 16,
    FLAGS_AT = PARENT_AT + PARENT_LEN + 1,
    FLAGS_LEN = 2,
    WHOLE_LEN = FLAGS_AT + FLAGS_LEN
};

/* LEN lower-case hex digits. */
static bool is_lower_hex(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!chars_is(p[i], CHAR_HEX) || (p[i] >= 'A' && p[i] <= 'F'))
            return false;
    return true;
}

/* Not zeros alone, which say that there is none. */
static bool is_trace_part(const char *p, size_t len)
{
    bool any = false;
    for (size_t i = 0; i < len; i++)
        any = any || p[i] != '0';
    return any && is_lower_hex(p, len);
}

/* What is behind the flags. */
static bool is_trace_end(struct str value)
{
    if (value.len == WHOLE_LEN)
        return true;
    return memcmp(value.p, "00", VERSION_LEN) != 0 && value.p[WHOLE_LEN] == '-';
}

struct str traceparent_id(struct str value)
{
    const char *p = value.p;
    bool good = value.len >= WHOLE_LEN && p[TRACE_AT - 1] == '-' && p[PARENT_AT - 1] == '-' &&
                p[FLAGS_AT - 1] == '-' && is_lower_hex(p, VERSION_LEN) &&
                memcmp(p, "ff", VERSION_LEN) != 0 && is_trace_part(p + TRACE_AT, TRACE_ID_LEN) &&
                is_trace_part(p + PARENT_AT, PARENT_LEN) && is_lower_hex(p + FLAGS_AT, FLAGS_LEN) &&
                is_trace_end(value);
    return good ? str_make(p + TRACE_AT, TRACE_ID_LEN) : STR("");
}

struct str traceparent_find(const struct fields *f)
{
    static const struct str name = STR_INIT("traceparent");
    const struct field *found = NULL;
    for (unsigned i = 0; i < f->n; i++) {
        if (f->v[i].name.len != name.len || !str_ieq(f->v[i].name, name))
            continue;
        if (found != NULL)
            return STR("");
        found = &f->v[i];
    }
    return found == NULL || field_is_secret(found) ? STR("") : traceparent_id(found->value);
}
