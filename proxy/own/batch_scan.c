/* SPDX-License-Identifier: Apache-2.0 */
/* Looking for the end of an element: see batch_scan.h. Only quotes, backslashes and brackets matter
 * for that; what is between them is not looked at. */
#include "own/batch_scan.h"

enum { LONG = 4096 }; /* bytes: a body up to it stays where it is */

void batch_scan_init(struct batch_scan *s, size_t begin)
{
    *s = (struct batch_scan){
        .begin = begin, .at = begin, .last = BATCH_MEMBERS, .key = BATCH_MEMBERS};
}

static enum batch_member member_of(struct str name)
{
    if (str_eq(name, STR("body")))
        return BATCH_PLAIN;
    return str_eq(name, STR("body_base64")) ? BATCH_BASE64 : BATCH_MEMBERS;
}

/* A string ends at S->at. A second body of a name stays, for the parser to refuse it. */
static void end_string(struct batch_scan *s, struct str whole)
{
    size_t len = s->at - s->string;
    s->is_string = false;
    s->last = BATCH_MEMBERS;
    if (s->depth != 1)
        return;
    if (s->key < BATCH_MEMBERS && len > LONG && s->cuts[s->key].end == 0)
        s->cuts[s->key] = (struct batch_cut){s->string, s->at};
    else
        s->last = member_of(str_make(whole.p + s->string, len));
}

/* Inside a string, up to UNTIL. True when the string ends, S->at being behind it. */
static bool batch_scan_skip_string(struct batch_scan *s, struct str whole, size_t until)
{
    const char *p = whole.p + s->at, *end = whole.p + until;
    if (s->is_escaped)
        p++;
    s->is_escaped = false;
    while (p < end && *p != '"' && *p != '\\')
        p++;
    s->at = (size_t)(p - whole.p);
    if (p == end)
        return false;
    s->is_escaped = *p == '\\';
    if (!s->is_escaped)
        end_string(s, whole);
    s->at++;
    return !s->is_escaped;
}

/* The names of members stand at depth 1, and each before a colon. */
static void note_member(struct batch_scan *s, char c)
{
    if (s->depth == 1 && (c == ':' || c == ','))
        s->key = c == ':' ? s->last : BATCH_MEMBERS;
}

/* The byte at S->at, outside strings. True when the element ends before it or with it. */
static bool take_byte(struct batch_scan *s, char c)
{
    bool is_open = c == '{' || c == '[', is_close = c == '}' || c == ']';
    bool is_mark = c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (s->depth == 0 && s->at > s->begin && (is_close || is_mark))
        return true;
    note_member(s, c);
    s->at++;
    s->depth += is_open;
    s->depth -= is_close && s->depth > 0;
    s->is_string = c == '"';
    s->string = s->at;
    return is_close && s->depth == 0;
}

bool batch_scan_step(struct batch_scan *s, struct str whole, size_t n)
{
    size_t until = n < whole.len - s->at ? s->at + n : whole.len;
    bool is_end = false;
    while (s->at < until && !is_end) {
        if (s->is_string)
            is_end = batch_scan_skip_string(s, whole, until) && s->depth == 0;
        else
            is_end = take_byte(s, whole.p[s->at]);
    }
    return is_end || s->at == whole.len;
}
