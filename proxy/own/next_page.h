/* SPDX-License-Identifier: Apache-2.0 */
/* Where the page is that an answer names as the next one, and what may be sent there: an origin may
 * name any URL. */
#ifndef TLSFAN_OWN_NEXT_PAGE_H
#define TLSFAN_OWN_NEXT_PAGE_H

#include "own/fetch.h"

/* HEAD answers X: LIKE and TARGET are those of its next page, in the arena of X. False when there
 * is none that may be fetched. On another host it gets the fields that are the same for everybody
 * and no credentials; it must be a name that policy allows, whose rule has read-ahead, and where
 * neither rule edits fields, which may hold secrets of one host. */
MUST_CHECK bool next_page(struct exchange *x, const struct h1_head *head, struct fetch_like *like,
                          struct str *target);

#endif
