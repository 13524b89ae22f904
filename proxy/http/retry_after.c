/* SPDX-License-Identifier: Apache-2.0 */
/* Retry-After: see retry_after.h. Read by hand, for strptime() takes the locale's names and more
 * forms than there are. */
#include "http/retry_after.h"

struct date_pen {
    struct str rest;
    bool is_bad;
};

struct date_parts {
    int64_t year, month, day, hour, minute, second;
};

/* N digits exactly; where the first may be a blank, as in asctime(), it counts as 0. */
static int64_t date_digits(struct date_pen *d, size_t n, bool may_be_blank)
{
    int64_t v = 0;
    if (d->rest.len < n) {
        d->is_bad = true;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        char c = d->rest.p[i];
        if (i == 0 && may_be_blank && c == ' ')
            c = '0';
        if (c < '0' || c > '9')
            d->is_bad = true;
        else
            v = 10 * v + (c - '0');
    }
    d->rest = str_from_byte(d->rest, n);
    return v;
}

static void date_text(struct date_pen *d, struct str text)
{
    if (!str_starts(d->rest, text))
        d->is_bad = true;
    d->rest = str_from_byte(d->rest, text.len);
}

static int64_t date_month(struct date_pen *d)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (int i = 0; i < 12; i++) {
        if (!str_starts(d->rest, str_make(names + 3 * (size_t)i, 3)))
            continue;
        d->rest = str_from_byte(d->rest, 3);
        return i + 1;
    }
    d->is_bad = true;
    return 1;
}

static void date_time(struct date_pen *d, struct date_parts *t)
{
    t->hour = date_digits(d, 2, false);
    date_text(d, STR(":"));
    t->minute = date_digits(d, 2, false);
    date_text(d, STR(":"));
    t->second = date_digits(d, 2, false);
}

/* "06 Nov 1994 08:49:37 GMT", behind "Sun, ". */
static void date_fixed(struct date_pen *d, struct date_parts *t)
{
    t->day = date_digits(d, 2, false);
    date_text(d, STR(" "));
    t->month = date_month(d);
    date_text(d, STR(" "));
    t->year = date_digits(d, 4, false);
    date_text(d, STR(" "));
    date_time(d, t);
    date_text(d, STR(" GMT"));
}

/* "06-Nov-94 08:49:37 GMT", behind "Sunday, ": what would be more than 50 years away is a hundred
 * years before that. */
static void date_rfc850(struct date_pen *d, struct date_parts *t, int64_t wall)
{
    int64_t this_year = 1970 + wall / 31556952;
    t->day = date_digits(d, 2, false);
    date_text(d, STR("-"));
    t->month = date_month(d);
    date_text(d, STR("-"));
    t->year = this_year - this_year % 100 + date_digits(d, 2, false);
    if (t->year > this_year + 50)
        t->year -= 100;
    date_text(d, STR(" "));
    date_time(d, t);
    date_text(d, STR(" GMT"));
}

/* "Nov  6 08:49:37 1994", behind "Sun ". */
static void date_asctime(struct date_pen *d, struct date_parts *t)
{
    t->month = date_month(d);
    date_text(d, STR(" "));
    t->day = date_digits(d, 2, true);
    date_text(d, STR(" "));
    date_time(d, t);
    date_text(d, STR(" "));
    t->year = date_digits(d, 4, false);
}

static int64_t date_days(const struct date_parts *t)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t y = t->month <= 2 ? t->year - 1 : t->year; /* whose leap days have been */
    return 365 * (t->year - 1970) + y / 4 - y / 100 + y / 400 - 477 + before[t->month - 1] +
           t->day - 1;
}

int64_t http_date(struct str value, int64_t wall)
{
    struct date_parts t;
    size_t name = 0;
    while (name < value.len && value.p[name] != ',' && value.p[name] != ' ')
        name++;
    struct date_pen d = {.rest = str_from_byte(value, name)};
    bool has_comma = d.rest.len > 0 && d.rest.p[0] == ',';
    date_text(&d, has_comma ? STR(", ") : STR(" "));
    if (!has_comma)
        date_asctime(&d, &t);
    else if (name == 3)
        date_fixed(&d, &t);
    else
        date_rfc850(&d, &t, wall);
    if (d.is_bad || d.rest.len > 0 || name < 3 || t.day < 1 || t.day > 31 || t.hour > 23 ||
        t.minute > 59 || t.second > 60)
        return -1;
    int64_t s = ((date_days(&t) * 24 + t.hour) * 60 + t.minute) * 60 + t.second;
    return s < 0 ? -1 : s;
}

int64_t retry_after_ms(struct str value, int64_t wall)
{
    int64_t s = 0;
    size_t n = 0;
    for (; n < value.len && value.p[n] >= '0' && value.p[n] <= '9'; n++)
        s = s < RETRY_AFTER_MOST ? 10 * s + (value.p[n] - '0') : RETRY_AFTER_MOST;
    int64_t ms = s * 1000;
    if (value.len == 0 || n < value.len) {
        s = http_date(value, wall / 1000000);
        if (s < 0)
            return -1;
        /* What is left of it; a date names the second that must have begun. */
        ms = s > 253402300799 ? RETRY_AFTER_MOST : s * 1000 - wall / 1000;
        ms = ms < 0 ? 0 : ms;
    }
    return ms < RETRY_AFTER_MOST ? ms : RETRY_AFTER_MOST;
}
