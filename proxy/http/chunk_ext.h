/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of chunk extensions (RFC 9112 §7.1.1), a byte at a time:
 *
 *     chunk-ext     = 1*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )
 *     quoted-string = <"> *( "\" value-byte / value-byte but <"> and "\" ) <">
 *
 * What they say is for nobody here. But readers that skip them and readers that parse them do not
 * agree on where the line of a malformed one ends. */
#ifndef TLSFAN_HTTP_CHUNK_EXT_H
#define TLSFAN_HTTP_CHUNK_EXT_H

enum chunk_ext {
    CHUNK_EXT_NAME_BEGIN,  /* behind ";": the name; the state to begin with */
    CHUNK_EXT_NAME,        /* the rest of it, or what follows */
    CHUNK_EXT_NAME_END,    /* what follows, behind white space: not the end of the line */
    CHUNK_EXT_VALUE_BEGIN, /* behind "=": the value */
    CHUNK_EXT_VALUE,       /* the rest of a token, or what follows */
    CHUNK_EXT_QUOTED,      /* the rest of a quoted string */
    CHUNK_EXT_ESCAPED,     /* behind "\" in it */
    CHUNK_EXT_QUOTED_END,  /* what follows it */
    CHUNK_EXT_VALUE_END,   /* what follows, behind white space: not the end of the line */
    CHUNK_EXT_DONE,        /* C was CR or LF, and in its place */
    CHUNK_EXT_BAD          /* C may not be there */
};

/* The state behind byte C. */
enum chunk_ext chunk_ext_next(enum chunk_ext state, char c);

#endif
