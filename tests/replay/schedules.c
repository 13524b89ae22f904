/* SPDX-License-Identifier: Apache-2.0 */
/* Plays schedules: schedules [COUNT [FIRST]] as many as COUNT says, whose bytes follow from their
 * numbers, or schedules FILE those bytes. Exits with 1 at the first that breaks a rule, having said
 * which, what it did, and how to play it again. */
#include "schedule.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COUNT = 4000, LONGEST = 400 };

static uint64_t chance(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static size_t make_bytes(uint64_t number, uint8_t *to)
{
    uint64_t x = (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 0; i < 8; i++)
        chance(&x);
    size_t n = 20 + chance(&x) % (LONGEST - 20);
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(chance(&x) >> 32);
    return n;
}

static int play(const uint8_t *p, size_t n, const char *name)
{
    const char *fault = schedule_play(p, n);
    if (fault == NULL)
        return 0;
    schedule_print(stderr);
    fprintf(stderr, "%s\nagain: schedules %s\n", fault, name);
    return 1;
}

static int play_file(const char *path)
{
    uint8_t bytes[1 << 16];
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return 1;
    }
    size_t n = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    int r = play(bytes, n, path);
    schedule_print(stdout);
    return r;
}

int main(int argc, char **argv)
{
    uint8_t bytes[LONGEST];
    char name[32];
    char *end = NULL;
    uint64_t count = argc > 1 ? strtoull(argv[1], &end, 10) : COUNT;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    if (end != NULL && *end != '\0')
        return play_file(argv[1]);
    clock_t began = clock();
    for (uint64_t i = first; i < first + count; i++) {
        snprintf(name, sizeof(name), "1 %llu", (unsigned long long)i);
        if (play(bytes, make_bytes(i, bytes), name) != 0)
            return 1;
    }
    double s = (double)(clock() - began) / CLOCKS_PER_SEC;
    printf("%llu schedules, %.0f a second\n", (unsigned long long)count, (double)count / s);
    schedule_clear();
    return 0;
}
