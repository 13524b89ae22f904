/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over the table of keys. A line is a value: no text of the configuration has a line feed
 * in it. */
#include "conf/tls_key.h"

#include <stdio.h>
#include <stdlib.h>

static void tls_key_put_value(FILE *out, const struct key *k, const struct rule *r)
{
    const void *field = (const char *)r + k->offset;
    switch (k->type) {
    case KEY_BOOL:
    case KEY_FLAG:
        fprintf(out, "%d\n", *(const bool *)field);
        return;
    case KEY_CHOICE:
        fprintf(out, "%d\n", *(const int *)field);
        return;
    case KEY_TEXT:
    case KEY_HOST: {
        struct str text = str_from(*(const char *const *)field);
        fprintf(out, "%.*s\n", STR_ARG(text));
        return;
    }
    case KEY_PINS: {
        const struct list_of_pins *pins = field;
        for (unsigned i = 0; i < pins->n; i++)
            for (size_t n = 0; n < sizeof(pins->v[i].sha256); n++)
                fprintf(out, "%02x", pins->v[i].sha256[n]);
        putc('\n', out);
        return;
    }
    default:
        abort(); /* teach this function the type of the key that was marked */
    }
}

char *tls_key(const struct rule *r, enum key_decides what)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        abort();
    for (enum key_scope scope = KEY_GLOBAL; scope <= KEY_RULE; scope++) {
        unsigned n;
        const struct key *keys = keys_of(scope, &n);
        for (unsigned i = 0; i < n; i++)
            if (keys[i].decides >= what && !keys[i].inherits)
                tls_key_put_value(out, &keys[i], r);
    }
    fclose(out);
    return text;
}
