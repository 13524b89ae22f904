/* SPDX-License-Identifier: Apache-2.0 */
/* The file on the disk: see dns_resolv.h. */
#include "net/dns_resolv.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { RESOLV_MAX = 65536 }; /* bytes that are read */

static const char resolv_conf[] = "/etc/resolv.conf";

struct dns_resolv_id dns_resolv_identify(void)
{
    struct stat st;
    if (stat(resolv_conf, &st) != 0)
        return (struct dns_resolv_id){0};
    return (struct dns_resolv_id){(int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
                                  st.st_ino, (uint64_t)st.st_size};
}

bool dns_resolv_is_same(const struct dns_resolv_id *a, const struct dns_resolv_id *b)
{
    return a->mtime == b->mtime && a->inode == b->inode && a->size == b->size;
}

/* At most RESOLV_MAX bytes; empty when it cannot be read, as glibc has it. Heap. */
static char *read_text(size_t *len)
{
    char *text = xmalloc(RESOLV_MAX);
    FILE *fp = fopen(resolv_conf, "re");
    *len = fp == NULL ? 0 : fread(text, 1, RESOLV_MAX, fp);
    if (fp != NULL)
        fclose(fp);
    return text;
}

void dns_resolv_read(struct dns_search *s)
{
    char host_name[256] = "";
    size_t len;
    char *text = read_text(&len);
    if (gethostname(host_name, sizeof(host_name) - 1) != 0)
        host_name[0] = '\0';
    struct dns_search_source from = {.file = str_make(text, len),
                                     .localdomain = getenv("LOCALDOMAIN"),
                                     .res_options = getenv("RES_OPTIONS"),
                                     .host_name = host_name};
    dns_search_clear(s);
    dns_search_read(s, &from);
    free(text);
}
