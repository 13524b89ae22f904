/* SPDX-License-Identifier: Apache-2.0 */
/* Is the object behind a callback's `void *` what the callback takes it for? Long-lived objects
 * have a word that says of which kind they are, and the head of a callback checks it. Debug and
 * sanitizer builds end the process where it is another, or the memory of an object that was freed
 * (xfree() has filled it); in a release build nothing of it is left, not even the word.
 *
 *     struct thing { ...; struct magic magic; };
 *     MAGIC_SET(thing, t);                          where it is made
 *     struct thing *t = CHECKED(thing, arg);        at the head of a callback */
#ifndef TLSFAN_BASE_MAGIC_H
#define TLSFAN_BASE_MAGIC_H

#include <stddef.h>
#include <string.h>

enum { MAGIC_LEN = 16 }; /* bytes of a kind's name that tell it from others */

/* Ends the process: a callback wanted a TYPE. */
_Noreturn void magic_fail(const char *type);

#ifdef NDEBUG

struct magic {
};

#define MAGIC_SET(type, object) ((void)(object))
#define CHECKED(type, arg)      ((struct type *)(arg))

#else

struct magic {
    char word[MAGIC_LEN];
};

static inline void *magic_check(void *object, size_t offset, const char *type)
{
    if (strncmp((const char *)object + offset, type, MAGIC_LEN) != 0)
        magic_fail(type);
    return object;
}

#define MAGIC_SET(type, object) \
    ((void)memcpy((object)->magic.word, (char[MAGIC_LEN]){#type}, MAGIC_LEN))
#define CHECKED(type, arg) ((struct type *)magic_check((arg), offsetof(struct type, magic), #type))

#endif

#endif
