/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in targets: see sequence.h. */
#include "own/sequence.h"

enum {
    DIGITS_MAX = 20,        /* of 2^64 */
    CLOCK_NEAR = 30 * 86400 /* s: a counter that began at the time of day has not gone further */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool sequence_read(struct sequence *s, struct str target)
{
    s->n = 0;
    for (size_t i = 0; i < target.len;) {
        if (target.p[i] == '%') {
            i += 3;
            continue;
        }
        size_t from = i;
        while (i < target.len && is_digit(target.p[i]))
            i++;
        struct sequence_number number = {.at = from, .len = i - from};
        if (number.len == 0)
            i++;
        else if (str_to_u64(str_make(target.p + from, number.len), &number.value)) {
            if (s->n == SEQUENCE_NUMBERS)
                return false;
            s->v[s->n++] = number;
        }
    }
    return s->n > 0;
}

size_t sequence_shape(const struct sequence *s, struct str target, char *dst)
{
    size_t from = 0;
    size_t n = 0;
    for (unsigned i = 0; i <= s->n; i++) {
        size_t at = i < s->n ? s->v[i].at : target.len;
        memcpy(dst + n, target.p + from, at - from);
        n += at - from;
        if (i == s->n)
            break;
        dst[n++] = '\0';
        from = at + s->v[i].len;
    }
    return n;
}

bool sequence_step(const struct sequence *a, const struct sequence *b, struct sequence_step *step)
{
    memset(step, 0, sizeof *step);
    if (a->n != b->n)
        return false;
    for (unsigned i = 0; i < a->n; i++) {
        const struct sequence_number *from = &a->v[i];
        const struct sequence_number *to = &b->v[i];
        if (to->value == from->value && to->len == from->len)
            continue;
        if (to->value <= from->value || step->n == SEQUENCE_RISES)
            return false;
        step->v[step->n++] = (struct sequence_rise){i, to->value - from->value};
    }
    return step->n > 0;
}

bool sequence_step_is(const struct sequence_step *a, const struct sequence_step *b)
{
    if (a->n != b->n)
        return false;
    for (unsigned i = 0; i < a->n; i++) {
        if (a->v[i].which != b->v[i].which || a->v[i].by != b->v[i].by)
            return false;
    }
    return true;
}

bool sequence_is_clock(const struct sequence *s, const struct sequence_step *step, uint64_t now)
{
    for (unsigned i = 0; i < step->n; i++) {
        uint64_t value = s->v[step->v[i].which].value;
        for (uint64_t unit = 1; unit <= 1000; unit *= 1000) {
            uint64_t time = value / unit;
            if ((time > now ? time - now : now - time) < CLOCK_NEAR)
                return true;
        }
    }
    return false;
}

size_t sequence_room(struct str target)
{
    return target.len + SEQUENCE_RISES * (size_t)DIGITS_MAX;
}

/* VALUE at DST, at least WIDTH digits wide. */
static size_t sequence_put(char *dst, uint64_t value, size_t width)
{
    char digits[DIGITS_MAX];
    size_t n = str_put_u64(digits, value);
    size_t zeros = n < width ? width - n : 0;
    memset(dst, '0', zeros);
    memcpy(dst + zeros, digits, n);
    return zeros + n;
}

/* Number WHICH after K steps; false when 64 bits do not hold it. */
static bool sequence_value(const struct sequence *s, unsigned which,
                           const struct sequence_step *step, uint64_t k, uint64_t *value)
{
    *value = s->v[which].value;
    for (unsigned i = 0; i < step->n; i++) {
        uint64_t rise;
        if (step->v[i].which == which)
            return !__builtin_mul_overflow(step->v[i].by, k, &rise) &&
                   !__builtin_add_overflow(*value, rise, value);
    }
    return true;
}

size_t sequence_next(const struct sequence *s, struct str target, const struct sequence_step *step,
                     uint64_t k, char *dst)
{
    size_t from = 0;
    size_t n = 0;
    for (unsigned i = 0; i < s->n; i++) {
        const struct sequence_number *number = &s->v[i];
        uint64_t value;
        if (!sequence_value(s, i, step, k, &value))
            return 0;
        memcpy(dst + n, target.p + from, number->at - from);
        n += number->at - from;
        n += sequence_put(dst + n, value, number->len);
        from = number->at + number->len;
    }
    memcpy(dst + n, target.p + from, target.len - from);
    return n + target.len - from;
}
