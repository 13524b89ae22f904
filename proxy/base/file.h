/* SPDX-License-Identifier: Apache-2.0 */
/* Files that others write: whether one is another than it was, and reading it whole. */
#ifndef TLSFAN_BASE_FILE_H
#define TLSFAN_BASE_FILE_H

#include "base/str.h"

/* Tells one version of a file from another. Links are followed, so that a file put in its place and
 * a link turned to another file show as well as new contents do. All 0 where there is none. */
struct file_id {
    bool exists;
    uint64_t device, inode, size;
    int64_t modified, changed; /* ns since 1970: the contents; the inode, by chmod or rename too */
};

/* What PATH is now. Look before reading: then what is written while it is read is seen later. */
struct file_id file_identify(const char *path);
bool file_is_same(const struct file_id *a, const struct file_id *b);

/* The whole file, terminated behind its LEN bytes. Heap, caller-owned; NULL with errno, which is
 * EFBIG where it has MAX bytes or more, ENODATA of a pipe that has none and no writer: it is not
 * waited for, and is no empty file. */
char *file_read(const char *path, size_t max, size_t *len);

/* Writes all N bytes to FD. False with errno, never 0. */
MUST_CHECK bool file_write(int fd, const char *p, size_t n);

#endif
