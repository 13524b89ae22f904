/* SPDX-License-Identifier: Apache-2.0 */
/* Faults are gathered, so that one run shows all of them. */
#include "conf/conf_fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { FAULTS_SHOWN = 200 /* lines: each is compared with those before it */ };

/* What was written may hold anything, and a fault is one line. */
static void fault_clean(char *text)
{
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
}

void conf_fault(struct conf_faults *f, const char *where, const char *fmt, ...)
{
    char reason[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    f->n++;
    if (f->n > FAULTS_SHOWN)
        return;
    char *line = xasprintf("%s: %s", where, reason);
    fault_clean(line);
    char *text = xasprintf("%s%s\n", f->text == NULL ? "" : f->text, line);
    free(line);
    free(f->text);
    f->text = text;
}

void conf_key_fault(struct conf_faults *f, const char *where, const char *key, const char *reason)
{
    if (f->n >= FAULTS_SHOWN) {
        f->n++;
        return;
    }
    bool names_key = where[0] == '-' || str_starts(str_from(where), STR("TLSFAN_"));
    char *text = xasprintf("%s%s%s", names_key ? "" : key, names_key ? "" : ": ", reason);
    char *line = xasprintf("%s: %s", where, text);
    fault_clean(line);
    if (f->text == NULL || strstr(f->text, line) == NULL)
        conf_fault(f, where, "%s", text);
    free(line);
    free(text);
}

/* ---- their order */

/* Where a line of the faults belongs. */
struct fault_line {
    struct str text;
    struct str file; /* "" where none is named */
    unsigned rank;   /* of the source */
    uint64_t number; /* of the line in the file */
    unsigned at;     /* as found */
};

enum { RANK_FILE = 1, RANK_VARIABLE = FAULTS_SHOWN + 2, RANK_FLAG, RANK_OTHER };

/* Finds ":LINE: " of "FILE:LINE: reason". */
static bool fault_place(struct fault_line *l)
{
    for (size_t i = 0; i < l->text.len; i++) {
        size_t end = i + 1;
        while (l->text.p[i] == ':' && end < l->text.len && l->text.p[end] >= '0' &&
               l->text.p[end] <= '9')
            end++;
        if (end == i + 1 || end >= l->text.len || l->text.p[end] != ':')
            continue;
        l->file = str_make(l->text.p, i);
        return str_to_u64(str_make(l->text.p + i + 1, end - i - 1), &l->number);
    }
    return false;
}

/* LINES[AT] is parsed, those before it are. Files keep the order in which faults named them first,
 * but MAIN stands before those that it includes. */
static void fault_rank(struct fault_line *lines, unsigned at, struct str main)
{
    struct fault_line *l = &lines[at];
    l->rank = RANK_OTHER;
    if (l->text.p[0] == '-')
        l->rank = RANK_FLAG;
    else if (str_starts(l->text, STR("TLSFAN_")))
        l->rank = RANK_VARIABLE;
    else if (fault_place(l)) {
        l->rank = str_eq(l->file, main) ? 0 : RANK_FILE + at;
        for (unsigned i = 0; i < at && l->rank > 0; i++)
            if (str_eq(lines[i].file, l->file) && lines[i].rank < RANK_VARIABLE)
                l->rank = lines[i].rank < l->rank ? lines[i].rank : l->rank;
    }
}

static int fault_compare(const void *pa, const void *pb)
{
    const struct fault_line *a = pa, *b = pb;
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return a->at < b->at ? -1 : 1;
}

void conf_faults_end(struct conf_faults *f, const char *main)
{
    struct fault_line lines[FAULTS_SHOWN] = {0};
    unsigned n = 0;
    struct str rest = str_from(f->text);
    while (n < FAULTS_SHOWN && str_next_part(&rest, '\n', &lines[n].text)) {
        lines[n].at = n;
        fault_rank(lines, n, str_from(main));
        n++;
    }
    if (n == 0)
        return;
    qsort(lines, n, sizeof(lines[0]), fault_compare);
    size_t len = 0;
    char *text = xmalloc(strlen(f->text) + 100);
    for (unsigned i = 0; i < n; i++) {
        memcpy(text + len, lines[i].text.p, lines[i].text.len);
        len += lines[i].text.len;
        text[len++] = '\n';
    }
    text[len] = '\0';
    if (f->n > n)
        snprintf(text + len, 100, "%u more faults are not shown: mend these first\n", f->n - n);
    free(f->text);
    f->text = text;
}
