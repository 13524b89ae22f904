/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a snapshot is made from: the configuration's own, whose texts are kept, and those
 * that it names. Whoever is about to read one says so here. */
#ifndef TLSFAN_CONF_FILES_H
#define TLSFAN_CONF_FILES_H

#include "base/file.h"
#include "base/hash.h"

/* Owner: the snapshot, as a table by path, which is walked in the order of reading. */
struct conf_file {
    UT_hash_handle hh;
    char *path;
    struct file_id id; /* just before it was read */
    uint64_t digest;   /* hash_bytes() of what conf_files_read() found; 0: nothing, or two things */
    bool is_read;      /* by conf_files_read() */
    size_t max;        /* bytes that were read at most */
    char *text;        /* of the configuration itself, terminated; NULL: a file that it names */
    size_t len;        /* of text */
};

/* PATH, a file or directory that the configuration names, is about to be read. */
void conf_files_note(struct conf_file **files, const char *path);

/* The whole of PATH, a file that the configuration names: notes and reads it. Heap, caller-owned,
 * terminated; NULL with errno, see file_read(). */
char *conf_files_read(struct conf_file **files, const char *path, size_t *len);
/* The same for one that is short: EFBIG from MAX bytes on. */
char *conf_files_read_short(struct conf_file **files, const char *path, size_t max, size_t *len);

/* The text of PATH, a part of the configuration itself, from the disk when it is not kept already.
 * Heap, caller-owned, terminated; NULL with errno. */
char *conf_files_text(struct conf_file **files, const char *path, size_t *len);

/* Keeps copies of the texts of FROM, which is another snapshot's: those files are not read. */
void conf_files_keep(struct conf_file **files, const struct conf_file *from);

/* PATH holds now what F had when it was read. */
bool conf_files_is_same(const struct conf_file *f);

void conf_files_clear(struct conf_file **files);

#endif
