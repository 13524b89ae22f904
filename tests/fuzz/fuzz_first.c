/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: the first bytes of a connection that knows no proxy, and the TLS hello among
 * them. In pieces they say what they say at once. The first byte of the input says how small the
 * pieces are. */
#include <stdlib.h>
#include <string.h>

#include "http/h1_first.h"
#include "net/tls_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static enum h1_first_is look(const char *p, size_t n, size_t step)
{
    struct h1_first f = {0};
    enum h1_first_is is = H1_FIRST_MORE;
    size_t at = 0;
    while (at < n && is == H1_FIRST_MORE) {
        at = at + step < n ? at + step : n;
        is = h1_first_look(&f, p, at);
        must(f.start <= at && f.at <= at);
    }
    if (at > 0 && is == H1_FIRST_MORE)
        must(h1_first_settle(&f, p, at) != H1_FIRST_MORE);
    if (at > 0)
        (void)h1_first_is_request(&f, p, at);
    must(is != H1_FIRST_MORE || n < 2 * H1_FIRST_LINE);
    return is;
}

static enum tls_hello_is feed(const char *p, size_t n, size_t step, char *name)
{
    enum tls_hello_is is = TLS_HELLO_MORE;
    for (size_t at = 0; at < n && is == TLS_HELLO_MORE;) {
        at = at + step < n ? at + step : n;
        is = tls_hello_read(p, at, name);
    }
    must(is == TLS_HELLO_READ || name[0] == '\0');
    return is;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *p = (const char *)data + 1;
    size_t n = size - 1, step = 1 + data[0];
    enum h1_first_is is = look(p, n, n);
    must(look(p, n, step) == is || n >= H1_FIRST_LINE);
    if (is != H1_FIRST_TLS && data[0] % 8 != 0)
        return 0; /* mostly hellos, for these take long */
    char name[TLS_HELLO_NAME], again[TLS_HELLO_NAME];
    enum tls_hello_is hello = feed(p, n, n, name);
    must(feed(p, n, step, again) == hello && strcmp(name, again) == 0);
    return 0;
}
