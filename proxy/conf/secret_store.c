/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets in memory: see secret_store.h. */
#include "conf/secret_store.h"

#include <stdlib.h>

struct secret_bytes *secret_room(struct secret_store *s, size_t len)
{
    struct secret_bytes *b = xcalloc(1, sizeof(*b) + len + 1);
    b->len = len;
    b->next = s->all;
    s->all = b;
    return b;
}

struct secret_bytes *secret_new(struct secret_store *s, struct str text)
{
    struct secret_bytes *b = secret_room(s, text.len);
    if (text.len > 0)
        memcpy(b->text, text.p, text.len);
    return b;
}

void secret_name(struct secret_store *s, struct secret_bytes *b, const char *name)
{
    b->name = xstrdup(name);
    HASH_ADD_KEYPTR(hh, s->named, b->name, strlen(b->name), b);
}

const struct secret_bytes *secret_find(const struct secret_store *s, const char *name)
{
    struct secret_bytes *b = NULL;
    HASH_FIND(hh, s->named, name, strlen(name), b);
    return b;
}

bool secret_store_is_told(const struct secret_store *s, struct str text)
{
    for (const struct secret_bytes *b = s->named; b != NULL; b = b->hh.next)
        if (b->len > 0 && memmem(text.p, text.len, b->text, b->len) != NULL)
            return true;
    return false;
}

void secret_store_clear(struct secret_store *s)
{
    struct secret_bytes *b;
    HASH_CLEAR(hh, s->named);
    while ((b = s->all) != NULL) {
        s->all = b->next;
        explicit_bzero(b->text, b->len);
        free(b->name);
        free(b);
    }
}

void secret_free(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}
