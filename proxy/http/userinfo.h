/* SPDX-License-Identifier: Apache-2.0 */
/* User information in a request target ("user:password@", RFC 3986 §3.2.1): what clients that leave
 * it to their proxy mean by it is Basic credentials (RFC 7617). Whatever is found wrong with it, no
 * byte of it is shown. */
#ifndef TLSFAN_HTTP_USERINFO_H
#define TLSFAN_HTTP_USERINFO_H

#include "base/mem.h"

enum { USERINFO_MAX = 8192 }; /* bytes, as written; tokens that stand for passwords are long */

/* Takes what is before the last "@", and that, off AUTHORITY: more than one "@" is a mistake of the
 * sender. Gives it without the "@"; p NULL when there is none. */
struct str userinfo_take(struct str *authority);

/* False with WHY, a static sentence, for: an "@", a backslash (where some readers end the host), a
 * byte that is not printable ASCII, a "%" without two digits, a control byte however it is written,
 * a colon in the user's name (RFC 7617 §2: it would end the name), more than USERINFO_MAX bytes. */
MUST_CHECK bool userinfo_check(struct str raw, const char **why);

/* "Basic ..." in ARENA, of RAW that passed; p NULL of an empty one. Bytes beyond ASCII stay what
 * they are (UTF-8 most often). */
struct str userinfo_basic(struct arena *arena, struct str raw);

/* True when OTHER, of a Host field, is RAW that passed: as written, decoded, as urllib sends it, or
 * decoded from UTF-8 to Latin-1, as urllib does too. */
bool userinfo_is_same(struct arena *arena, struct str raw, struct str other);

#endif
