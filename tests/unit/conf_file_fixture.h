/* SPDX-License-Identifier: Apache-2.0 */
/* One temporary file for all tests of a program, and what a snapshot knows of the files it was made
 * from. */
#ifndef TLSFAN_TESTS_CONF_FILE_FIXTURE_H
#define TLSFAN_TESTS_CONF_FILE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/files.h"

static char path[] = "/tmp/tlsfan_conf_file.XXXXXX";
static struct conf_file *files;

static inline int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static inline int remove_file(void **state)
{
    (void)state;
    conf_files_clear(&files);
    return unlink(path);
}

/* LEN bytes of TEXT are all that the file has. */
static inline void put_bytes(const char *text, size_t len)
{
    FILE *fp = fopen(path, "w");
    assert_non_null(fp);
    assert_int_equal(fwrite(text, 1, len, fp), len);
    assert_int_equal(fclose(fp), 0);
}

static inline void put(const char *text)
{
    put_bytes(text, strlen(text));
}

#endif
