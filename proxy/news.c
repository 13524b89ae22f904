/* SPDX-License-Identifier: Apache-2.0 */
/* News of files: see news.h. The path is walked as the kernel walks it, and each thing on it is
 * watched before it is looked at, so that what changes in between is told. Watched are the things
 * themselves: that one was put in their place shows in that they are moved or deleted. So nothing
 * is heard of what else happens in /tmp. */
#include "news.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    LINKS_MAX = 40,   /* as the kernel has it */
    ZFS = 0x2fc12fc1, /* not in linux/magic.h, nor is that of XFS in older ones */
    XFS = 0x58465342
};

/* Not IN_ATTRIB of a directory, which tells of all that is in it. */
static const uint32_t mask_any = IN_MOVE_SELF | IN_DELETE_SELF;
static const uint32_t mask_link = IN_ATTRIB;
static const uint32_t mask_file = IN_ATTRIB | IN_MODIFY | IN_CLOSE_WRITE;
static const uint32_t mask_missing = IN_CREATE | IN_MOVED_TO;
static const uint32_t mask_list = IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM;

int news_open(void)
{
    return inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
}

static unsigned long news_fs_type(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 ? (unsigned long)fs.f_type & 0xffffffff : 0;
}

/* Nobody but this kernel writes to it. */
static bool is_our_own(const char *path)
{
    static const unsigned long ours[] = {
        BTRFS_SUPER_MAGIC,
        EXT4_SUPER_MAGIC,
        F2FS_SUPER_MAGIC,
        OVERLAYFS_SUPER_MAGIC,
        RAMFS_MAGIC,
        SQUASHFS_MAGIC,
        TMPFS_MAGIC,
        XFS,
        ZFS,
    };
    unsigned long type = news_fs_type(path);
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (ours[i] == type)
            return true;
    }
    return false;
}

/* It may be looked up as another inode than the one that is watched, which is told nothing then: an
 * overlay has no lasting one for a file or link of a lower layer that has several names. */
static bool is_watched_in_vain(const char *path, const struct stat *st)
{
    return !S_ISDIR(st->st_mode) && st->st_nlink > 1 && news_fs_type(path) == OVERLAYFS_SUPER_MAGIC;
}

/* Where a walk is. */
struct walk_news {
    int fd;
    char *at;   /* heap: the directory that it has come to */
    char *rest; /* heap: what it is still to go */
    unsigned links;
};

static bool news_watch(int fd, const char *path, uint32_t mask)
{
    return inotify_add_watch(fd, path, mask | IN_DONT_FOLLOW | IN_MASK_ADD) >= 0;
}

/* Takes the next name off the rest; NULL at the end. */
static char *next_name(struct walk_news *w)
{
    char *p = w->rest + strspn(w->rest, "/");
    size_t n = strcspn(p, "/");
    char *name = n == 0 ? NULL : xasprintf("%.*s", (int)n, p);
    memmove(w->rest, p + n, strlen(p + n) + 1);
    return name;
}

static void news_set(char **dst, char *text)
{
    free(*dst);
    *dst = text;
}

/* The walk goes on where the link PATH leads. */
static bool follow_link(struct walk_news *w, const char *path)
{
    char target[4096];
    ssize_t n = readlink(path, target, sizeof(target));
    if (n <= 0 || n == (ssize_t)sizeof(target) || ++w->links > LINKS_MAX)
        return false;
    if (target[0] == '/')
        news_set(&w->at, xstrdup("/"));
    news_set(&w->rest, xasprintf("%.*s/%s", (int)n, target, w->rest));
    return true;
}

enum step { STEP_ON, STEP_END, STEP_NO_NEWS };

/* PATH is the next thing on the way. */
static enum step step_to(struct walk_news *w, const char *path)
{
    struct stat st;
    bool is_there = news_watch(w->fd, path, mask_any);
    if (!is_there && errno == ENOENT) {
        if (!news_watch(w->fd, w->at, mask_missing))
            return STEP_NO_NEWS;
        is_there = news_watch(w->fd, path, mask_any); /* it may have come just before */
        if (!is_there && errno == ENOENT)
            return STEP_END;
    }
    if (!is_there || lstat(path, &st) != 0)
        return STEP_NO_NEWS;
    bool is_link = S_ISLNK(st.st_mode);
    if (is_watched_in_vain(is_link ? w->at : path, &st))
        return STEP_NO_NEWS;
    if (is_link)
        return news_watch(w->fd, path, mask_link) && follow_link(w, path) ? STEP_ON : STEP_NO_NEWS;
    if (!is_our_own(path))
        return STEP_NO_NEWS;
    bool is_last = w->rest[strspn(w->rest, "/")] == '\0';
    if (is_last)
        return news_watch(w->fd, path, S_ISDIR(st.st_mode) ? mask_list : mask_file) ? STEP_END
                                                                                    : STEP_NO_NEWS;
    news_set(&w->at, xstrdup(path));
    return STEP_ON;
}

bool news_add(int fd, const char *path)
{
    struct walk_news w = {
        .fd = fd, .at = xstrdup(path[0] == '/' ? "/" : "."), .rest = xstrdup(path)};
    enum step step = is_our_own(w.at) ? STEP_ON : STEP_NO_NEWS;
    while (step == STEP_ON) {
        char *name = next_name(&w);
        char *next = name == NULL ? NULL : xasprintf("%s/%s", w.at, name);
        step = next == NULL ? STEP_END : step_to(&w, next);
        free(next);
        free(name);
    }
    free(w.at);
    free(w.rest);
    return step == STEP_END;
}
