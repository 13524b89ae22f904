/* SPDX-License-Identifier: Apache-2.0 */
/* What a snapshot was made from: see files.h. */
#include "conf/files.h"

#include <stdlib.h>

#include "base/mem.h"

enum {
    TEXT_MAX = 64 << 20, /* bytes of one file of the configuration */
    NAMED_MAX =
        256 << 20 /* and of one that it names: there are long lists of revoked certificates */
};

static struct conf_file *files_find(struct conf_file *files, const char *path)
{
    struct conf_file *f = NULL;
    HASH_FIND(hh, files, path, strlen(path), f);
    return f;
}

static struct conf_file *add(struct conf_file **files, const char *path)
{
    struct conf_file *f = xcalloc(1, sizeof(*f));
    f->path = xstrdup(path);
    HASH_ADD_KEYPTR(hh, *files, f->path, strlen(f->path), f);
    return f;
}

static char *copy_of(const char *text, size_t len)
{
    char *copy = xmalloc(len + 1);
    memcpy(copy, text, len + 1);
    return copy;
}

static void files_keep(struct conf_file **files, const char *path, const char *text, size_t len)
{
    struct conf_file *f = add(files, path);
    f->text = copy_of(text, len);
    f->len = len;
}

/* What it was before the first of several readings counts. */
void conf_files_note(struct conf_file **files, const char *path)
{
    if (files_find(*files, path) == NULL)
        add(files, path)->id = file_identify(path);
}

char *conf_files_read(struct conf_file **files, const char *path, size_t *len)
{
    return conf_files_read_short(files, path, NAMED_MAX, len);
}

char *conf_files_read_short(struct conf_file **files, const char *path, size_t max, size_t *len)
{
    conf_files_note(files, path);
    char *text = file_read(path, max, len);
    struct conf_file *f = files_find(*files, path);
    f->max = f->max > max ? f->max : max;
    uint64_t digest = text == NULL ? 0 : hash_bytes(text, *len);
    /* Two readers of one snapshot that found different contents are not to be matched by either. */
    f->digest = !f->is_read || f->digest == digest ? digest : 0;
    f->is_read = true;
    return text;
}

bool conf_files_is_same(const struct conf_file *f)
{
    size_t len;
    if (f->digest == 0)
        return false;
    char *text = file_read(f->path, f->max, &len);
    bool is_same = text != NULL && hash_bytes(text, len) == f->digest;
    if (text != NULL)
        explicit_bzero(text, len);
    free(text);
    return is_same;
}

char *conf_files_text(struct conf_file **files, const char *path, size_t *len)
{
    const struct conf_file *f = files_find(*files, path);
    if (f != NULL && f->text != NULL) {
        *len = f->len;
        return copy_of(f->text, f->len);
    }
    char *text = file_read(path, TEXT_MAX, len);
    if (text != NULL)
        files_keep(files, path, text, *len);
    return text;
}

void conf_files_keep(struct conf_file **files, const struct conf_file *from)
{
    for (; from != NULL; from = from->hh.next)
        if (from->text != NULL)
            files_keep(files, from->path, from->text, from->len);
}

void conf_files_clear(struct conf_file **files)
{
    struct conf_file *f, *next;
    HASH_ITER (hh, *files, f, next) {
        HASH_DEL(*files, f);
        free(f->path);
        free(f->text);
        free(f);
    }
}
