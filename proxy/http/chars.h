/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of bytes of RFC 9110 and RFC 3986, as one table of bits. */
#ifndef TLSFAN_HTTP_CHARS_H
#define TLSFAN_HTTP_CHARS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CHAR_TOKEN = 1,  /* tchar, RFC 9110 §5.6.2 */
    CHAR_VALUE = 2,  /* field-vchar, SP, HTAB, obs-text: what a field value may hold (§5.5) */
    CHAR_TARGET = 4, /* printable ASCII but SP: what a request-target may hold here */
    CHAR_DIGIT = 8,
    CHAR_HEX = 16,
    CHAR_HOST = 32 /* unreserved, sub-delims, "%": a reg-name of any case (RFC 3986 §3.2.2) */
};

extern const uint8_t chars_table[256];

/* True when byte C is in one of CLASSES. */
static inline bool chars_is(char c, unsigned classes)
{
    return (chars_table[(uint8_t)c] & classes) != 0;
}

#endif
