/* SPDX-License-Identifier: Apache-2.0 */
/* Faults are gathered, so that one run shows all of them. */
#include "conf/conf_fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { FAULTS_SHOWN = 200 /* lines: each is compared with those before it */ };

void conf_fault(struct conf_faults *f, const char *where, const char *fmt, ...)
{
    char reason[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    f->n++;
    if (f->n > FAULTS_SHOWN + 1)
        return;
    if (f->n > FAULTS_SHOWN)
        snprintf(reason, sizeof(reason), "this and what follows is not shown: mend the others");
    char *text = xasprintf("%s%s: %s\n", f->text == NULL ? "" : f->text, where, reason);
    free(f->text);
    f->text = text;
}

void conf_key_fault(struct conf_faults *f, const char *where, const char *key, const char *reason)
{
    if (f->n > FAULTS_SHOWN) {
        f->n++;
        return;
    }
    bool names_key = where[0] == '-' || str_starts(str_from(where), STR("TLSFAN_"));
    char *text = xasprintf("%s%s%s", names_key ? "" : key, names_key ? "" : ": ", reason);
    char *line = xasprintf("%s: %s\n", where, text);
    if (f->text == NULL || strstr(f->text, line) == NULL)
        conf_fault(f, where, "%s", text);
    free(line);
    free(text);
}
