/* SPDX-License-Identifier: Apache-2.0 */
/* Names that stand behind addresses of 198.18.0.0/15 (RFC 2544: of no network that is in use), for
 * programs that connect to an address where a proxy wants a name. One of the process. Its functions
 * are thread safe, but for name_map_open() and name_map_close(), which are for when there is one
 * thread.
 *
 * A name keeps its address as long as it is known, and NAME_MAP_NAMES are known: beside that many,
 * a new one takes the place of the one that was asked for longest ago. Its address is given to
 * another name only when every other address has been. */
#ifndef TLSFAN_OWN_NAME_MAP_H
#define TLSFAN_OWN_NAME_MAP_H

#include "base/addr.h"

enum {
    NAME_MAP_NAME = 256,    /* bytes that hold any name, terminated */
    NAME_MAP_NAMES = 65536, /* of fewer than half of the addresses */
};

/* Until it is opened, and once it is closed, no name is known nor taken. A second opening does
 * nothing. */
void name_map_open(void);
void name_map_close(void);

/* The address that stands for NAME (lower case, no dot at its end), with port 0: made if need be.
 * False when there is no map, or NAME is empty or too long. */
MUST_CHECK bool name_map_get(struct str name, struct addr *a);

/* The name that A, whatever its port, stands for. False when it stands for none. */
MUST_CHECK bool name_map_find(const struct addr *a, char name[NAME_MAP_NAME]);

/* A lies in 198.18.0.0/15, whether it stands for a name or not. */
bool name_map_has(const struct addr *a);

#endif
