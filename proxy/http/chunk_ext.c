/* SPDX-License-Identifier: Apache-2.0 */
/* Chunk extensions: one state for what may come next. */
#include "http/chunk_ext.h"

#include "base/str.h"
#include "http/chars.h"

/* Behind a name or a value, where a further extension begins or the line ends. */
static enum chunk_ext end_item(enum chunk_ext state, char c, enum chunk_ext blank)
{
    if (str_is_blank(c))
        return blank;
    if (c == ';')
        return CHUNK_EXT_NAME_BEGIN;
    return state != blank && (c == '\r' || c == '\n') ? CHUNK_EXT_DONE : CHUNK_EXT_BAD;
}

static enum chunk_ext step_name(enum chunk_ext state, char c)
{
    bool is_token = chars_is(c, CHAR_TOKEN);
    if (state == CHUNK_EXT_NAME_BEGIN && str_is_blank(c))
        return state;
    if (state != CHUNK_EXT_NAME_END && is_token)
        return CHUNK_EXT_NAME;
    if (state == CHUNK_EXT_NAME_BEGIN)
        return CHUNK_EXT_BAD;
    return c == '=' ? CHUNK_EXT_VALUE_BEGIN : end_item(state, c, CHUNK_EXT_NAME_END);
}

static enum chunk_ext begin_value(char c)
{
    if (str_is_blank(c))
        return CHUNK_EXT_VALUE_BEGIN;
    if (c == '"')
        return CHUNK_EXT_QUOTED;
    return chars_is(c, CHAR_TOKEN) ? CHUNK_EXT_VALUE : CHUNK_EXT_BAD;
}

static enum chunk_ext step_quoted(char c)
{
    if (c == '"')
        return CHUNK_EXT_QUOTED_END;
    if (c == '\\')
        return CHUNK_EXT_ESCAPED;
    return chars_is(c, CHAR_VALUE) ? CHUNK_EXT_QUOTED : CHUNK_EXT_BAD;
}

enum chunk_ext chunk_ext_next(enum chunk_ext state, char c)
{
    switch (state) {
    case CHUNK_EXT_NAME_BEGIN:
    case CHUNK_EXT_NAME:
    case CHUNK_EXT_NAME_END:
        return step_name(state, c);
    case CHUNK_EXT_VALUE_BEGIN:
        return begin_value(c);
    case CHUNK_EXT_VALUE:
        return chars_is(c, CHAR_TOKEN) ? state : end_item(state, c, CHUNK_EXT_VALUE_END);
    case CHUNK_EXT_QUOTED:
        return step_quoted(c);
    case CHUNK_EXT_ESCAPED:
        return chars_is(c, CHAR_VALUE) ? CHUNK_EXT_QUOTED : CHUNK_EXT_BAD;
    case CHUNK_EXT_QUOTED_END:
    case CHUNK_EXT_VALUE_END:
        return end_item(state, c, CHUNK_EXT_VALUE_END);
    case CHUNK_EXT_DONE:
    case CHUNK_EXT_BAD:
        break;
    }
    return CHUNK_EXT_BAD;
}
