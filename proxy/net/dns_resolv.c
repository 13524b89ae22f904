/* SPDX-License-Identifier: Apache-2.0 */
/* The file on the disk: see dns_resolv.h. */
#include "net/dns_resolv.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"

enum { RESOLV_MAX = 1 << 20 }; /* bytes */

static const char resolv_conf[] = "/etc/resolv.conf";

struct file_id dns_resolv_identify(void)
{
    return file_identify(resolv_conf);
}

/* What cannot be read is empty, as glibc has it. */
uint64_t dns_resolv_read(struct dns_search *s)
{
    char host_name[256] = "";
    size_t len = 0;
    char *text = file_read(resolv_conf, RESOLV_MAX, &len);
    uint64_t digest = text == NULL ? 0 : hash_bytes(text, len);
    if (gethostname(host_name, sizeof(host_name) - 1) != 0)
        host_name[0] = '\0';
    struct dns_search_source from = {.file = text == NULL ? STR("") : str_make(text, len),
                                     .localdomain = getenv("LOCALDOMAIN"),
                                     .res_options = getenv("RES_OPTIONS"),
                                     .host_name = host_name};
    dns_search_clear(s);
    dns_search_read(s, &from);
    free(text);
    return digest;
}
