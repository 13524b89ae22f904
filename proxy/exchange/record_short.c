/* SPDX-License-Identifier: Apache-2.0 */
/* The access line for people. At a terminal it is as wide as that: the middle of a long URL gives
 * way. Not of one that failed, which somebody will want to copy; nor elsewhere, where nobody looks
 * at a line as it comes. What peers wrote is printable ASCII here, whatever it was. */
#include <stdio.h>

#include "base/log.h"
#include "base/loop.h"
#include "exchange/record_impl.h"

enum {
    SHORT_TIME = 9, /* columns of "12:00:00 " */
    SHORT_BEFORE =
        SHORT_TIME + 4 + 8 + 8 + 8, /* of all before the URL: status, duration, size, method */
    SHORT_URL_MIN = 24,             /* columns; narrower terminals fold the line */
    SHORT_WHO = 160                 /* bytes of what stands behind it */
};

static const char dim[] = "\033[2m", red[] = "\033[31m", green[] = "\033[32m",
                  yellow[] = "\033[33m", cyan[] = "\033[36m", reset[] = "\033[m";

static bool has_failed_somehow(const struct exchange *x)
{
    return x->fault != FAULT_NONE || x->status >= 400 || x->status == 0;
}

static const char *status_colour(const struct exchange *x)
{
    if (x->fault != FAULT_NONE || x->status >= 500 || x->status == 0)
        return red;
    return x->status >= 400 ? yellow : x->status >= 300 ? cyan : green;
}

/* TEXT in COLOUR, where the terminal has any. */
static void short_colour(struct pen *w, unsigned traits, const char *colour, const char *text)
{
    bool is_coloured = (traits & LOG_HAS_COLOURS) != 0;
    if (is_coloured)
        pen_text(w, colour);
    pen_text(w, text);
    if (is_coloured)
        pen_text(w, reset);
}

static void short_clock(struct pen *w, unsigned traits)
{
    int64_t now = loop_wall();
    char ms[8];
    if ((traits & LOG_STAMPS) != 0)
        return;
    if ((traits & LOG_IS_TERMINAL) != 0) {
        short_colour(w, traits, dim, record_time((time_t)(now / 1000000), CLOCK_LOCAL));
        pen_text(w, " ");
        return;
    }
    snprintf(ms, sizeof ms, ".%03dZ ", (int)(now / 1000 % 1000));
    pen_text(w, record_time((time_t)(now / 1000000), CLOCK_ISO));
    pen_text(w, ms);
}

static void short_duration(char *dst, size_t cap, int64_t us)
{
    int64_t ms = us < 0 ? 0 : (us + 500) / 1000;
    if (ms < 1000)
        snprintf(dst, cap, "%4d ms ", (int)ms);
    else if (ms < 100000)
        snprintf(dst, cap, "%2d.%02d s ", (int)(ms / 1000), (int)(ms % 1000 / 10));
    else
        snprintf(dst, cap, "%5lld s ", (long long)(ms / 1000));
}

static void short_size(char *dst, size_t cap, uint64_t n)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    size_t unit = 0;
    if (n < 1000) {
        snprintf(dst, cap, "%5u B ", (unsigned)n);
        return;
    }
    for (; n >= 1000000; n /= 1000)
        unit++;
    if (n < 100000)
        snprintf(dst, cap, "%2u.%u %s ", (unsigned)(n / 1000), (unsigned)(n % 1000 / 100),
                 units[unit]);
    else
        snprintf(dst, cap, "%4u %s ", (unsigned)(n / 1000), units[unit]);
}

/* The method, in the width of the longest that is usual. */
static void short_method(struct pen *w, struct str method)
{
    pen_escaped(w, method);
    for (size_t n = method.len; n < 7; n++)
        pen_text(w, " ");
    pen_text(w, " ");
}

/* Who asked, where it is not this machine without credentials, and what is not seen of the rest. */
static size_t short_who(char *dst, const struct exchange *x, struct str user)
{
    struct pen w = {dst, dst + SHORT_WHO, false};
    const char *peer = x->from->peer_text;
    if (!x->from->is_local || strcmp(peer, "tlsfan") == 0) {
        pen_text(&w, " from ");
        pen_text(&w, peer);
    }
    if (user.len > 0) {
        pen_text(&w, " as ");
        pen_escaped(&w, user);
    }
    if (x->is_ahead)
        pen_text(&w, " (read ahead)");
    return (size_t)(w.p - dst);
}

/* Takes the middle of what W has written since START away, so that COLUMNS are left. */
static void short_cut(struct pen *w, char *start, size_t columns)
{
    size_t n = (size_t)(w->p - start);
    if (n <= columns)
        return;
    size_t tail = (columns - 3) / 3, head = columns - 3 - tail;
    memcpy(start + head, "...", 3);
    memmove(start + head + 3, w->p - tail, tail);
    w->p = start + columns;
}

static void short_url(struct pen *w, const struct exchange *x, size_t behind, unsigned traits)
{
    char *start = w->p;
    record_url(w, x);
    if ((traits & LOG_IS_TERMINAL) == 0 || has_failed_somehow(x))
        return;
    size_t columns = log_access_columns(), taken = SHORT_BEFORE + behind;
    if (columns > 0)
        short_cut(w, start, columns > taken + SHORT_URL_MIN ? columns - taken : SHORT_URL_MIN);
}

static void short_sentence(struct pen *w, const struct exchange *x, unsigned traits)
{
    struct str why = record_details(x);
    char text[sizeof((struct fault){0}.text)];
    if (why.len == 0)
        return;
    snprintf(text, sizeof text, "%.*s", STR_ARG(why));
    if ((traits & LOG_IS_TERMINAL) != 0) {
        pen_text(w, "\n         ");
        short_colour(w, traits, red, text);
        return;
    }
    pen_text(w, " (");
    pen_text(w, fault_info(x->fault)->type);
    pen_text(w, ": ");
    pen_text(w, text);
    pen_text(w, ")");
}

void record_short(struct pen *w, const struct exchange *x, struct str user, unsigned traits)
{
    char text[32], who[SHORT_WHO];
    size_t behind = short_who(who, x, user);
    short_clock(w, traits);
    if (x->status == 0)
        snprintf(text, sizeof text, "  -");
    else
        snprintf(text, sizeof text, "%3u", x->status);
    short_colour(w, traits, status_colour(x), text);
    pen_text(w, " ");
    short_duration(text, sizeof text, x->t.end - x->t.begin);
    pen_text(w, text);
    short_size(text, sizeof text, x->bytes_out);
    pen_text(w, text);
    short_method(w, x->head.method.name);
    short_url(w, x, behind, traits);
    pen_bytes(w, who, behind);
    short_sentence(w, x, traits);
    pen_text(w, "\n");
}
