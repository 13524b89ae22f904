/* SPDX-License-Identifier: Apache-2.0 */
/* News of the kernel that a file may be another than it was, by inotify(7): nobody looks while
 * nothing changes. Only of file systems of this machine's own: what others write to a network file
 * system is not told. Nor is what a mount does to a path: it is laid over a part of it, or brings
 * what was missing. So a file that went away is not to be waited for in this way. */
#ifndef TLSFAN_NEWS_H
#define TLSFAN_NEWS_H

#include "base/str.h"

/* A descriptor that is readable once there is news of what was added; -1: there is none. */
int news_open(void);

/* PATH, a file or directory that may not exist yet, each link on the way to it and what these lead
 * to. False where something of it can change without news. Waits for file systems. */
MUST_CHECK bool news_add(int fd, const char *path);

#endif
