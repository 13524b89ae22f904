/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the answer to a batch call: see batch_write.h. */
#include "own/batch_write.h"

#include <stdlib.h>
#include <sys/random.h>

void batch_boundary(char *dst)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bits[(BATCH_BOUNDARY - 1) / 2];
    if (getrandom(bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        abort(); /* as many come always, since the system has started */
    for (size_t i = 0; i < sizeof bits; i++) {
        dst[2 * i] = hex[bits[i] >> 4];
        dst[2 * i + 1] = hex[bits[i] & 15];
    }
    dst[2 * sizeof bits] = '\0';
}

void batch_put_part(struct evbuffer *out, const char *boundary, unsigned index,
                    const struct batch_want *want)
{
    evbuffer_add_printf(out, "%s--%s\r\nContent-Type: application/http; msgtype=response\r\n",
                        index == 0 ? "" : "\r\n", boundary);
    if (want->name != NULL)
        evbuffer_add_printf(out, "Content-ID: <%s>\r\n\r\n", want->name);
    else
        evbuffer_add_printf(out, "Content-ID: <%u>\r\n\r\n", index);
}

void batch_put_close(struct evbuffer *out, const char *boundary)
{
    evbuffer_add_printf(out, "\r\n--%s--\r\n", boundary);
}

void batch_put_head(struct evbuffer *out, const struct h1_head *head, const struct h1_out *framing)
{
    size_t size = h1_response_size(head->reason, &head->fields);
    char *text = xmalloc(size);
    evbuffer_add(out, text,
                 h1_write_response(text, head->status, head->reason, &head->fields, framing));
    free(text);
}

void batch_put_chunk(struct evbuffer *out, const char *p, size_t n)
{
    char line[H1_CHUNK_HEAD_MAX];
    evbuffer_add(out, line, h1_write_chunk_head(line, n));
    evbuffer_add(out, p, n);
    evbuffer_add(out, "\r\n", 2);
}

void batch_put_last_chunk(struct evbuffer *out, const struct fields *trailers)
{
    char *text = xmalloc(h1_trailers_size(trailers));
    evbuffer_add(out, text, h1_write_trailers(text, trailers));
    free(text);
}
