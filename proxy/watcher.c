/* SPDX-License-Identifier: Apache-2.0 */
/* Files that change: see watcher.h. A file counts as changed when two looks find the same new
 * version of it: one that is being written, or a certificate whose key is yet to come, is given the
 * time between them. No clock is asked, as a file server may have another.
 *
 * A file server that does not answer holds up whoever asks it, for minutes or for good. So each
 * look is a thread's, which has all it needs; the main thread asks from time to time whether it is
 * over, and whoever comes second, of the thread that ends and the watcher that leaves it, frees it.
 */
#include "watcher.h"

#include <stdlib.h>
#include <unistd.h>

#include "conf/files.h"
#include "news.h"

enum {
    LOOK_MS = 2000,
    SETTLE_MS = 1000, /* the next look where something is new */
    ANSWER_MS = 20,   /* after which a look is over, mostly */
    PATIENCE = 5,     /* times that it was not, before that is told */
    AT_ONCE = 256,    /* files a look, of a configuration with thousands of them */
    TURN_MS = 200     /* from one look to the next of those */
};

/* Owner: the watcher, or a look. */
struct watched {
    const struct conf_file *file; /* borrowed from the snapshot: how it was read */
    struct file_id tried;         /* what was read last, whether it could be used or not */
    struct file_id seen;          /* at the last look */
    bool is_told_gone;
};

enum look_end { LOOK_RUNS, LOOK_DONE, LOOK_LEFT };

/* Owner: its thread and the watcher, see above. */
struct look {
    _Atomic int end;   /* enum look_end */
    struct conf *conf; /* a reference, for the files */
    bool has_failed;   /* as the watcher's */
    bool is_all;       /* there are no other files */
    /* What it has found. */
    int news; /* a descriptor, owned: see watcher.news_fd */
    bool is_new;
    bool is_gone;        /* a file that was read: a mount that brings it back is no news */
    const char *changed; /* borrowed: the first file that has; NULL: none */
    unsigned n;
    struct watched v[AT_ONCE];
};

enum news { NEWS_NONE, NEWS_NEW, NEWS_CHANGED };

/* ---- the look, on its thread */

/* Touched, or written anew with what it had, as some tools do by the hour: a reload would cost all
 * origins their connections. After a load that failed all is tried again. */
static bool is_rewritten(const struct look *l, const struct watched *f)
{
    return !l->has_failed && conf_files_is_same(f->file);
}

/* One of ca_dir, which has changed with it: what was read from it is not used on. */
static bool is_of_directory(const struct look *l, const char *path)
{
    const char *name = strrchr(path, '/');
    const struct conf_file *dir = NULL;
    if (name != NULL)
        HASH_FIND(hh, l->conf->files, path, (size_t)(name - path), dir);
    return dir != NULL;
}

/* What is gone is used on: whoever took it away may be about to put another in its place. */
static enum news tell_gone(const struct look *l, struct watched *f)
{
    if (is_of_directory(l, f->file->path))
        return NEWS_NONE;
    if (!f->is_told_gone)
        log_warning("%s is gone: what was read from it stays in use", f->file->path);
    f->is_told_gone = true;
    return NEWS_NONE;
}

static enum news look_at(const struct look *l, struct watched *f)
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
        return tell_gone(l, f);
    if (!is_rewritten(l, f))
        return NEWS_CHANGED;
    f->tried = f->seen;
    return NEWS_NONE;
}

/* The thread or the watcher has no use for L any more. */
static void look_leave(struct look *l, enum look_end end)
{
    if (atomic_exchange(&l->end, (int)end) == LOOK_RUNS)
        return;
    if (l->news >= 0)
        close(l->news);
    conf_unref(&l->conf);
    free(l);
}

/* Before the files are looked at, lest a change falls between. */
static void look_listen(struct look *l)
{
    bool ok = true;
    l->news = l->is_all ? news_open() : -1;
    for (unsigned i = 0; i < l->n && l->news >= 0 && ok; i++)
        ok = news_add(l->news, l->v[i].file->path);
    if (l->news < 0 || ok)
        return;
    close(l->news);
    l->news = -1;
}

static void *look_run(void *arg)
{
    struct look *l = arg;
    look_listen(l);
    for (unsigned i = 0; i < l->n; i++) {
        enum news news = look_at(l, &l->v[i]);
        l->is_new = l->is_new || news == NEWS_NEW;
        l->is_gone = l->is_gone || (l->v[i].file->id.exists && !l->v[i].seen.exists);
        if (news == NEWS_CHANGED && l->changed == NULL)
            l->changed = l->v[i].file->path;
    }
    look_leave(l, LOOK_DONE);
    return NULL;
}

/* ---- the watcher, on the main thread */

static void drop_look(struct watcher *w)
{
    if (w->look != NULL)
        look_leave(w->look, LOOK_LEFT);
    w->look = NULL;
    w->n_waits = 0;
}

static void drop_news(struct watcher *w)
{
    if (w->news_fd < 0)
        return;
    event_del(&w->news);
    close(w->news_fd);
    w->news_fd = -1;
}

/* There may be more of them in the next moment, and for nothing, as where a directory that lacks
 * one of the files gets others all the time: that costs no more than looks without news do. */
static void on_news(evutil_socket_t fd, short what, void *arg)
{
    struct watcher *w = arg;
    (void)fd;
    (void)what;
    drop_news(w);
    deadline_set(&w->tick, LOOK_MS);
}

/* FD is the watcher's from here on. */
static void await_news(struct watcher *w, int fd)
{
    w->news_fd = fd;
    event_assign(&w->news, w->tick.loop->base, fd, EV_READ, on_news, w);
    event_add(&w->news, NULL);
}

static void begin_look(struct watcher *w)
{
    struct look *l = xcalloc(1, sizeof(*l));
    drop_news(w); /* it listens anew */
    atomic_init(&l->end, LOOK_RUNS);
    l->conf = conf_ref(w->conf);
    l->has_failed = w->has_failed;
    l->is_all = w->n <= AT_ONCE;
    l->news = -1;
    l->n = w->n < AT_ONCE ? w->n : AT_ONCE;
    for (unsigned i = 0; i < l->n; i++)
        l->v[i] = w->v[(w->next + i) % w->n];
    w->look = l;
}

/* Nothing of it happens until there are threads again. */
static void start_look(struct watcher *w)
{
    pthread_t thread;
    begin_look(w);
    if (pthread_create(&thread, NULL, look_run, w->look) == 0) {
        pthread_detach(thread);
        deadline_set(&w->tick, ANSWER_MS);
        return;
    }
    look_leave(w->look, LOOK_DONE);
    drop_look(w);
    deadline_set(&w->tick, LOOK_MS);
}

/* With as many files as one looks at, each of them is looked at every LOOK_MS; with thousands, as
 * often as TURN_MS allows. */
static int look_wait(const struct watcher *w, bool is_new)
{
    if (w->n <= AT_ONCE)
        return is_new ? SETTLE_MS : LOOK_MS;
    int ms = (int)((int64_t)LOOK_MS * AT_ONCE / w->n);
    return ms > TURN_MS ? ms : TURN_MS;
}

static void take_look(struct watcher *w)
{
    struct look *l = w->look;
    char *changed = l->changed == NULL ? NULL : xstrdup(l->changed);
    for (unsigned i = 0; i < l->n; i++)
        w->v[(w->next + i) % w->n] = l->v[i];
    w->next = (w->next + l->n) % w->n;
    if (l->news >= 0 && !l->is_new && !l->is_gone && changed == NULL) {
        await_news(w, l->news);
        l->news = -1;
    } else {
        deadline_set(&w->tick, look_wait(w, l->is_new));
    }
    drop_look(w);
    if (changed == NULL)
        return;
    log_info("%s has changed", changed);
    free(changed);
    w->on_change(w->arg);
}

static void on_tick(void *arg)
{
    struct watcher *w = arg;
    if (w->look == NULL) {
        start_look(w);
    } else if (atomic_load(&w->look->end) == LOOK_DONE) {
        take_look(w);
    } else {
        if (++w->n_waits == PATIENCE)
            log_warning("a file system does not answer: changes of the files that the "
                        "configuration names are not seen");
        deadline_set(&w->tick, SETTLE_MS);
    }
}

void watcher_init(struct watcher *w, struct loop *l, void (*on_change)(void *arg), void *arg)
{
    *w = (struct watcher){.news_fd = -1, .on_change = on_change, .arg = arg};
    deadline_init(&w->tick, l, on_tick, w);
}

static void watcher_clear(struct watcher *w)
{
    drop_look(w);
    drop_news(w);
    conf_unref(&w->conf);
    free(w->v);
    w->v = NULL;
    w->n = w->next = 0;
    w->has_failed = false;
}

void watcher_set(struct watcher *w, struct conf *c)
{
    watcher_clear(w);
    w->conf = conf_ref(c);
    for (const struct conf_file *f = c->files; f != NULL; f = f->hh.next) {
        if (f->text != NULL)
            continue;
        w->v = xgrow(w->v, w->n, sizeof(*w->v));
        w->v[w->n++] = (struct watched){.file = f, .tried = f->id, .seen = f->id};
    }
    deadline_set(&w->tick, w->n > 0 ? LOOK_MS : 0);
}

void watcher_tried(struct watcher *w)
{
    drop_look(w);
    drop_news(w);
    deadline_set(&w->tick, w->n > 0 ? LOOK_MS : 0);
    w->has_failed = true; /* until watcher_set() */
    for (unsigned i = 0; i < w->n; i++)
        w->v[i].tried = file_identify(w->v[i].file->path);
}

void watcher_close(struct watcher *w)
{
    deadline_close(&w->tick);
    watcher_clear(w);
}
