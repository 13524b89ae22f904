/* SPDX-License-Identifier: Apache-2.0 */
/* The one table behind chars_is(). Bytes that are not listed are in no class: controls and DEL. */
#include "http/chars.h"

/* What every printable byte but SP is good for. */
#define PRINT (CHAR_VALUE | CHAR_TARGET)
#define ALPHA (PRINT | CHAR_TOKEN | CHAR_HOST)

const uint8_t chars_table[256] = {
    ['\t'] = CHAR_VALUE,
    [' '] = CHAR_VALUE,
    ['!'] = PRINT | CHAR_TOKEN | CHAR_HOST,
    ['"'] = PRINT,
    ['#'] = PRINT | CHAR_TOKEN,
    ['$' ... '\''] = PRINT | CHAR_TOKEN | CHAR_HOST,
    ['('] = PRINT | CHAR_HOST,
    [')'] = PRINT | CHAR_HOST,
    ['*'] = PRINT | CHAR_TOKEN | CHAR_HOST,
    ['+'] = PRINT | CHAR_TOKEN | CHAR_HOST,
    [','] = PRINT | CHAR_HOST,
    ['-'] = PRINT | CHAR_TOKEN | CHAR_HOST,
    ['.'] = PRINT | CHAR_TOKEN | CHAR_HOST,
    ['/'] = PRINT,
    ['0' ... '9'] = ALPHA | CHAR_DIGIT | CHAR_HEX,
    [':'] = PRINT,
    [';'] = PRINT | CHAR_HOST,
    ['<'] = PRINT,
    ['='] = PRINT | CHAR_HOST,
    ['>' ... '@'] = PRINT,
    ['A' ... 'F'] = ALPHA | CHAR_HEX,
    ['G' ... 'Z'] = ALPHA,
    ['[' ... ']'] = PRINT,
    ['^'] = PRINT | CHAR_TOKEN,
    ['_'] = ALPHA,
    ['`'] = PRINT | CHAR_TOKEN,
    ['a' ... 'f'] = ALPHA | CHAR_HEX,
    ['g' ... 'z'] = ALPHA,
    ['{'] = PRINT,
    ['|'] = PRINT | CHAR_TOKEN,
    ['}'] = PRINT,
    ['~'] = ALPHA,
    [0x80 ... 0xff] = CHAR_VALUE, /* obs-text */
};
