/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 messages, read anew and simply: not by what is tested. */
#include "world.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct str message_field(struct str head, const char *name)
{
    size_t n = strlen(name);
    const char *end = head.p + head.len;
    for (const char *p = memchr(head.p, '\n', head.len); p != NULL;
         p = memchr(p, '\n', (size_t)(end - p))) {
        p++;
        if ((size_t)(end - p) <= n || strncasecmp(p, name, n) != 0 || p[n] != ':')
            continue;
        const char *stop = memchr(p, '\r', (size_t)(end - p));
        return str_trim(str_make(p + n + 1, (size_t)((stop == NULL ? end : stop) - p) - n - 1));
    }
    return STR("");
}

static size_t line_end(struct str s, size_t from)
{
    const char *at = from < s.len ? memmem(s.p + from, s.len - from, "\r\n", 2) : NULL;
    return at == NULL ? SIZE_MAX : (size_t)(at - s.p) + 2;
}

/* Bytes of a chunked body with its end; SIZE_MAX while it is not whole. */
static size_t chunked_len(struct str s, char *to, size_t *n_to)
{
    size_t at = 0;
    for (;;) {
        size_t data = line_end(s, at);
        if (data == SIZE_MAX)
            return SIZE_MAX;
        size_t n = strtoul(s.p + at, NULL, 16);
        if (n == 0)
            return line_end(s, data); /* no trailers here */
        if (data + n + 2 > s.len)
            return SIZE_MAX;
        if (to != NULL)
            memcpy(to + *n_to, s.p + data, n);
        *n_to += n;
        at = data + n + 2;
    }
}

size_t message_unchunk(struct str body, char *to)
{
    size_t n = 0;
    (void)chunked_len(body, to, &n);
    return n;
}

struct message message_read(struct str text, bool is_bare, bool is_end)
{
    struct message m = {0};
    const char *end = text.len > 0 ? memmem(text.p, text.len, "\r\n\r\n", 4) : NULL;
    size_t unused = 0, len = 0;
    if (end == NULL)
        return m;
    m.head = str_make(text.p, (size_t)(end - text.p) + 4);
    m.start = str_make(text.p, line_end(text, 0) - 2);
    bool is_answer = m.start.len > 12 && memcmp(text.p, "HTTP/1.", 7) == 0;
    m.status = is_answer ? (int)strtol(m.start.p + 9, NULL, 10) : 0;
    struct str rest = str_make(text.p + m.head.len, text.len - m.head.len);
    struct str length = message_field(m.head, "Content-Length");
    m.is_chunked = message_field(m.head, "Transfer-Encoding").len > 0;
    m.has_length = length.len > 0;
    if (is_answer && (is_bare || m.status < 200 || m.status == 204 || m.status == 304))
        len = 0;
    else if (m.is_chunked)
        len = chunked_len(rest, NULL, &unused);
    else if (m.has_length)
        len = strtoul(length.p, NULL, 10);
    else if (is_answer)
        len = is_end ? rest.len : SIZE_MAX;
    m.is_whole = len <= rest.len;
    m.body = str_make(rest.p, m.is_whole ? len : rest.len);
    m.len = m.head.len + m.body.len;
    return m;
}
