/* SPDX-License-Identifier: Apache-2.0 */
/* Every word of the file counts, in whatever case and place: c-ares decides what is a name. */
#include "net/dns_hosts.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "net/dns_search.h"

enum {
    HOSTS_MAX = 64 << 20, /* bytes */
    WORD_MAX = DNS_NAME_MAX + 1
};

static const char hosts_file[] = "/etc/hosts";

/* Of at most WORD_MAX bytes. */
static uint32_t hosts_mark(struct str word)
{
    char lower[WORD_MAX];
    str_lower(lower, word);
    return (uint32_t)hash_bytes(lower, word.len);
}

static int compare_marks(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void hosts_add(struct dns_hosts *h, struct str word)
{
    if (word.len == 0 || word.len > WORD_MAX)
        return;
    h->marks = xgrow(h->marks, h->n, sizeof(*h->marks));
    h->marks[h->n++] = hosts_mark(word);
}

void dns_hosts_read(struct dns_hosts *h, struct str text)
{
    size_t start = 0;
    dns_hosts_clear(h);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c > ' ' && c != '#')
            continue;
        hosts_add(h, str_make(text.p + start, i - start));
        start = i + 1;
    }
    hosts_add(h, str_from_byte(text, start));
    if (h->n > 0)
        qsort(h->marks, h->n, sizeof(*h->marks), compare_marks);
}

bool dns_hosts_has(const struct dns_hosts *h, struct str name)
{
    if (h->n == 0 || name.len > WORD_MAX)
        return false;
    uint32_t mark = hosts_mark(name);
    return bsearch(&mark, h->marks, h->n, sizeof(mark), compare_marks) != NULL;
}

bool dns_hosts_may_have(struct dns_hosts *h, struct str name)
{
    struct file_id id = file_identify(hosts_file);
    if (!h->is_read || !file_is_same(&id, &h->id)) {
        size_t len = 0;
        char *text = file_read(hosts_file, HOSTS_MAX, &len);
        bool is_unknown = text == NULL && errno != ENOENT;
        dns_hosts_read(h, text == NULL ? STR("") : str_make(text, len));
        free(text);
        h->is_read = true;
        h->is_unknown = is_unknown;
        h->id = id;
    }
    return h->is_unknown || dns_hosts_has(h, name);
}

void dns_hosts_clear(struct dns_hosts *h)
{
    free(h->marks);
    *h = (struct dns_hosts){.n = 0};
}
