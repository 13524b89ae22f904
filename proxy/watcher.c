/* SPDX-License-Identifier: Apache-2.0 */
/* Files that change: see watcher.h. A file counts as changed when two looks find the same new
 * version of it: one that is being written, or a certificate whose key is yet to come, is given the
 * time between them. No clock is asked, as a file server may have another. */
#include "watcher.h"

#include <stdlib.h>

#include "conf/files.h"

enum {
    LOOK_MS = 2000,
    SETTLE_MS = 1000, /* the next look where something is new */
    AT_ONCE = 256     /* files a look, of a configuration with thousands of them */
};

/* Owner: the watcher. */
struct watched {
    const struct conf_file *file; /* borrowed from the snapshot: how it was read */
    struct file_id tried;         /* what was read last, whether it could be used or not */
    struct file_id seen;          /* at the last look */
    bool is_told_gone;
};

enum news { NEWS_NONE, NEWS_NEW, NEWS_CHANGED };

/* Touched, or written anew with what it had, as some tools do by the hour: a reload would cost all
 * origins their connections. After a load that failed all is tried again. */
static bool is_rewritten(const struct watcher *w, const struct watched *f)
{
    return !w->has_failed && conf_files_is_same(f->file);
}

/* What is gone is used on: whoever took it away may be about to put another in its place. */
static enum news tell_gone(struct watched *f)
{
    if (!f->is_told_gone)
        log_warning("%s is gone: what was read from it stays in use", f->file->path);
    f->is_told_gone = true;
    return NEWS_NONE;
}

static enum news look_at(const struct watcher *w, struct watched *f)
{
    struct file_id before = f->seen;
    f->seen = file_identify(f->file->path);
    if (f->seen.exists)
        f->is_told_gone = false;
    if (file_is_same(&f->seen, &f->tried))
        return NEWS_NONE;
    if (!file_is_same(&f->seen, &before))
        return NEWS_NEW;
    if (!f->seen.exists)
        return tell_gone(f);
    if (!is_rewritten(w, f))
        return NEWS_CHANGED;
    f->tried = f->seen;
    return NEWS_NONE;
}

static void on_look(void *arg)
{
    struct watcher *w = arg;
    const char *changed = NULL;
    bool is_new = false;
    for (unsigned i = 0; i < w->n && i < AT_ONCE; i++) {
        struct watched *f = &w->v[w->next];
        enum news news = look_at(w, f);
        w->next = (w->next + 1) % w->n;
        is_new = is_new || news == NEWS_NEW;
        if (news == NEWS_CHANGED && changed == NULL)
            changed = f->file->path;
    }
    deadline_set(&w->look, is_new ? SETTLE_MS : LOOK_MS);
    if (changed == NULL)
        return;
    log_info("%s has changed", changed);
    w->on_change(w->arg);
}

void watcher_init(struct watcher *w, struct loop *l, void (*on_change)(void *arg), void *arg)
{
    *w = (struct watcher){.on_change = on_change, .arg = arg};
    deadline_init(&w->look, l, on_look, w);
}

void watcher_set(struct watcher *w, const struct conf *c)
{
    free(w->v);
    w->v = NULL;
    w->n = w->next = 0;
    w->has_failed = false;
    for (const struct conf_file *f = c->files; f != NULL; f = f->hh.next) {
        if (f->text != NULL)
            continue;
        w->v = xgrow(w->v, w->n, sizeof(*w->v));
        w->v[w->n++] = (struct watched){.file = f, .tried = f->id, .seen = f->id};
    }
    deadline_set(&w->look, w->n > 0 ? LOOK_MS : 0);
}

void watcher_tried(struct watcher *w)
{
    w->has_failed = true; /* until watcher_set() */
    for (unsigned i = 0; i < w->n; i++)
        w->v[i].tried = file_identify(w->v[i].file->path);
}

void watcher_close(struct watcher *w)
{
    deadline_close(&w->look);
    free(w->v);
    w->v = NULL;
    w->n = 0;
}
