/* SPDX-License-Identifier: Apache-2.0 */
/* The first bytes of a connection: see h1_first.h. No byte is looked at twice, however many pieces
 * they come in. */
#include "http/h1_first.h"

#include <string.h>

#include "http/chars.h"
#include "http/fields.h"

static const char h2_preface[] = "PRI * HTTP/2.0";

/* A byte that no text has. */
static bool first_is_control(char c)
{
    return ((unsigned char)c < ' ' && c != '\t') || c == 0x7f;
}

/* Of a connection that does not begin with text. */
static enum h1_first_is first_of_tls(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    enum { HANDSHAKE = 0x16, MAJOR = 3, CLIENT_HELLO = 1 };
    if (u[0] == HANDSHAKE)
        return n < 2 ? H1_FIRST_MORE : u[1] == MAJOR ? H1_FIRST_TLS : H1_FIRST_OTHER;
    if ((u[0] & 0x80) == 0)
        return H1_FIRST_OTHER;
    if (n < 3)
        return H1_FIRST_MORE;
    return u[2] == CLIENT_HELLO ? H1_FIRST_TLS : H1_FIRST_OTHER;
}

/* The line [start, end) of P is whole. */
static enum h1_first_is first_of_line(const struct h1_first *f, const char *p, size_t end)
{
    static const char version[] = " HTTP/d.d";
    enum { VERSION = sizeof(version) - 1 };
    struct str line = str_make(p + f->start, end - f->start);
    if (line.len > 0 && line.p[line.len - 1] == '\r')
        line.len--;
    if (line.len <= f->method + VERSION || str_eq(line, STR(h2_preface)))
        return H1_FIRST_OTHER;
    const char *v = line.p + line.len - VERSION;
    bool is_version = memcmp(v, version, 6) == 0 && chars_is(v[6], CHAR_DIGIT) && v[7] == '.' &&
                      chars_is(v[8], CHAR_DIGIT);
    return is_version ? H1_FIRST_HTTP : H1_FIRST_OTHER;
}

/* Goes over the method. False: no method is there, or too long a one. */
static bool first_skip_method(struct h1_first *f, const char *p, size_t n)
{
    while (f->at < n && chars_is(p[f->at], CHAR_TOKEN))
        f->at++;
    size_t len = f->at - f->start;
    if (f->at < n && p[f->at] == ' ')
        f->method = len;
    return len <= H1_FIRST_METHOD && (f->at == n || f->method > 0);
}

static enum h1_first_is first_look_at_line(struct h1_first *f, const char *p, size_t n)
{
    if (f->method == 0 && !first_skip_method(f, p, n))
        return H1_FIRST_OTHER;
    for (; f->at < n; f->at++) {
        if (p[f->at] == '\n')
            return first_of_line(f, p, f->at);
        bool is_end = p[f->at] == '\r' && (f->at + 1 == n || p[f->at + 1] == '\n');
        if (is_end && f->at + 1 == n)
            break; /* looked at again with the next one */
        if (first_is_control(p[f->at]) && !is_end)
            return H1_FIRST_OTHER;
    }
    return n - f->start >= H1_FIRST_LINE ? H1_FIRST_HTTP : H1_FIRST_MORE;
}

enum h1_first_is h1_first_look(struct h1_first *f, const char *p, size_t n)
{
    /* Empty lines before a request (RFC 9112 section 2.2). */
    while (f->method == 0 && f->at == f->start && n - f->start >= 2 && p[f->start] == '\r' &&
           p[f->start + 1] == '\n')
        f->at = f->start += 2;
    if (f->start >= H1_FIRST_LINE)
        return H1_FIRST_OTHER;
    if (f->start == n || (p[f->start] == '\r' && f->start + 1 == n))
        return H1_FIRST_MORE;
    if (f->start == 0 && !chars_is(p[0], CHAR_TOKEN))
        return first_of_tls(p, n);
    return first_look_at_line(f, p, n);
}

enum h1_first_is h1_first_settle(const struct h1_first *f, const char *p, size_t n)
{
    if (f->method > 0)
        return H1_FIRST_HTTP;
    return n > 0 && p[0] == 0x16 ? H1_FIRST_TLS : H1_FIRST_OTHER;
}

bool h1_first_is_request(const struct h1_first *f, const char *p, size_t n)
{
    struct str text = str_make(p + f->start, n - f->start);
    struct method m = method_lookup(str_make(text.p, f->method));
    return m.id != METHOD_OTHER || str_starts(text, STR(h2_preface));
}
