/* SPDX-License-Identifier: Apache-2.0 */
/* The line behind COMMAND: see run_end.h. */
#include "run_end.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum { END_TIME = 32, END_NAME = 200 };

static FILE *run_end_open(char **text, size_t *n)
{
    FILE *f = open_memstream(text, n);
    if (f == NULL)
        abort();
    return f;
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* ---- figures */

/* "812 ms", "11.4 s", "3 min 12 s", "2 h 5 min". */
static const char *end_time(char dst[END_TIME], int64_t us)
{
    long long ms = (us + 500) / 1000;
    long long s = (ms + 500) / 1000;
    if (ms < 1000)
        snprintf(dst, END_TIME, us > 0 && ms == 0 ? "1 ms" : "%lld ms", ms);
    else if (ms < 99950)
        snprintf(dst, END_TIME, "%.1f s", (double)ms / 1000);
    else if (s < 6000)
        snprintf(dst, END_TIME, "%lld min %lld s", s / 60, s % 60);
    else
        snprintf(dst, END_TIME, "%lld h %lld min", s / 3600, s / 60 % 60);
    return dst;
}

static void put_times(FILE *f, const struct summary *s)
{
    char waiting[END_TIME], busy[END_TIME];
    if (s->most == 0)
        return;
    fprintf(f, ", %s of waiting", end_time(waiting, s->waiting));
    if (s->requests > 1)
        fprintf(f, " in %s", end_time(busy, s->busy));
}

/* What stands in brackets: a part for each that there is. */
static void put_parts(FILE *f, const struct summary *s)
{
    const struct {
        uint64_t n;
        const char *what;
    } parts[] = {{s->most > 1 ? s->most : 0, "at once"},
                 {s->ahead, "fetched ahead"},
                 {s->failed, "failed"},
                 {s->given_up, "given up"}};
    const char *before = " (";
    if (s->most == 1 && s->requests > 1) {
        fputs(" (one at a time", f);
        before = ", ";
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].n == 0)
            continue;
        fprintf(f, "%s%llu %s", before, (unsigned long long)parts[i].n, parts[i].what);
        before = ", ";
    }
    if (*before == ',')
        fputs(")", f);
}

static void put_tunnels(FILE *f, const struct summary *s)
{
    fprintf(f, "%llu blind tunnel%s to %s%s", (unsigned long long)s->tunnels, plural(s->tunnels),
            s->where, s->has_more ? " and others" : "");
    if (s->unopened > 0)
        fprintf(f, " (%llu failed)", (unsigned long long)s->unopened);
}

char *run_end_figures(const struct summary *s)
{
    char *text;
    size_t n;
    FILE *f = run_end_open(&text, &n);
    fprintf(f, "%llu request%s", (unsigned long long)s->requests, plural(s->requests));
    put_times(f, s);
    put_parts(f, s);
    if (s->tunnels > 0) {
        fputs("; besides ", f);
        put_tunnels(f, s);
    }
    fclose(f);
    return text;
}

/* ---- why there are none */

static void put_why_blind(FILE *f, const struct run_end *end, const struct summary *s)
{
    fputs("made ", f);
    put_tunnels(f, s);
    fputs(" and no request that tlsfan could read: nothing was fanned out. ", f);
    if (!end->intercepts)
        fputs("Write http:// in its URLs, or run it with --intercept", f);
    else if (end->is_choosy)
        fputs("Name its hosts in --intercept=, or write http:// in its URLs", f);
    else
        fputs("A rule with intercept = off leaves them alone, or what is inside is no TLS", f);
}

static void put_why_unread(FILE *f, const struct summary *s)
{
    fprintf(f,
            "made %llu connection%s to %s%s that tlsfan intercepts, and no request inside: it may "
            "not trust the certificates of this run. Write http:// in its URLs, or leave those "
            "hosts out of the interception",
            (unsigned long long)s->intercepted, plural(s->intercepted), s->where,
            s->has_more ? " and others" : "");
}

static void put_why_captured(FILE *f)
{
    fputs("made no connection that tlsfan takes: those to ports of capture.http and "
          "capture.tunnel. Name further ports there if it uses others; UDP (QUIC) is not taken",
          f);
}

static void put_why_none(FILE *f, const struct run_end *end)
{
    char shown[END_NAME];
    fputs("made no request through tlsfan. ", f);
    if (!end->intercepts)
        fputs("https:// URLs go past it: write http://, or run it with --intercept. ", f);
    fprintf(f, "A program that reads no %s needs --capture",
            end->intercepts ? "http_proxy and https_proxy" : "http_proxy");
    if (end->no_proxy != NULL && end->no_proxy[0] != '\0')
        fprintf(f, ". Hosts of no_proxy=%s are not sent to it",
                str_escape(shown, sizeof(shown), str_from(end->no_proxy)));
}

char *run_end_warning(const struct run_end *end, const struct summary *s)
{
    char *text;
    char shown[END_NAME];
    size_t n;
    bool is_meant = s->to_host > 0 && s->tunnels + s->intercepted == 0;
    if (s->requests > 0 || is_meant || end->was_killed)
        return NULL;
    FILE *f = run_end_open(&text, &n);
    fprintf(f, "%s ", str_escape(shown, sizeof(shown), str_from(end->command)));
    if (s->intercepted > 0)
        put_why_unread(f, s);
    else if (s->tunnels > 0)
        put_why_blind(f, end, s);
    else if (end->is_captured)
        put_why_captured(f);
    else
        put_why_none(f, end);
    fclose(f);
    return text;
}

/* ---- telling */

static void end_print(const char *text)
{
    char *line = xasprintf("tlsfan: %s", text);
    log_bare(line);
    free(line);
}

void run_end_tell(const struct run_end *end, const struct summary *s)
{
    char *warning = run_end_warning(end, s);
    char *figures = s->requests > 0 ? run_end_figures(s) : NULL;
    if (warning != NULL)
        log_warning("%s", warning);
    else if (figures != NULL && isatty(STDERR_FILENO) && log_is_enabled(LOG_LEVEL_WARNING))
        end_print(figures);
    else if (figures != NULL)
        log_info("%s", figures);
    free(warning);
    free(figures);
}
