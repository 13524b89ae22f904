/* SPDX-License-Identifier: Apache-2.0 */
/* One URL of a field value, seen from the other side of the upgrade. On a proxy listener only
 * the scheme and a default port change; on a forward listener the listener's URLs and those of
 * `to` are exchanged, and all other hosts, which the client does not reach through us, stay as
 * they are. */
#ifndef TLSFAN_HTTP_REWRITE_URL_H
#define TLSFAN_HTTP_REWRITE_URL_H

#include "http/rewrite.h"

/* Both give false and leave *URL as it is when nothing is to change, else true and *URL in
 * ARENA. A URL with userinfo keeps it on a proxy listener and is not touched on a forward
 * listener. IS_ORIGIN: the value is an origin (RFC 6454 §7), so that a path of `to` is not part
 * of it; else references by absolute path (and, from upstream, by network path) are mapped too. */

/* What an upstream wrote, for the client: https:// becomes http:// where that would be upgraded
 * again, without ":443". ":80" stays https://: http://HOST:80 would lead to port 443. Forward: a
 * URL at or below `to` becomes the listener's; one outside the path of `to` cannot be reached
 * through the listener and stays. With host = client, what the origin made of the listener's
 * name is taken for `to` as well. */
bool rewrite_url_to_client(const struct rewrite *r, struct arena *arena, struct str *url,
                           bool is_origin);

/* What a client wrote, for the origin: http:// becomes https:// where that is upgraded, without
 * ":80" and ":443". Forward: a URL of the listener becomes one below `to`; with host = client
 * the listener's name stays in it. */
bool rewrite_url_to_origin(const struct rewrite *r, struct arena *arena, struct str *url,
                           bool is_origin);

#endif
