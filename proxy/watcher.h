/* SPDX-License-Identifier: Apache-2.0 */
/* Sees when the files that the configuration names (CAs, CRLs, certificates, keys, passwords) are
 * others than when they were read, and has them read again. It asks by stat(): when there is news
 * of the kernel, which an idle process waits for, and every few seconds where the kernel has none,
 * as of a network file system, of thousands of files or where one is gone. Main thread, which waits
 * for no file system: the looks are a thread's. */
#ifndef TLSFAN_WATCHER_H
#define TLSFAN_WATCHER_H

#include "base/loop.h"
#include "conf/conf.h"

struct watched;
struct look;

/* Embedded in the server. */
struct watcher {
    struct deadline tick;
    struct conf *conf; /* a reference: the snapshot whose files it watches */
    struct watched *v;
    unsigned n, next;  /* `next` is looked at first */
    bool has_failed;   /* the last load: what is in use is not what the files had then */
    struct look *look; /* that is under way; NULL: none */
    unsigned n_waits;  /* for it */
    int news_fd;       /* readable when a file may have changed; -1: `tick` runs instead */
    struct event news;
    void (*on_change)(void *arg);
    void *arg;
};

/* ON_CHANGE is called when a file has other contents and been left alone for a second, and may call
 * any of the functions below. */
void watcher_init(struct watcher *w, struct loop *l, void (*on_change)(void *arg), void *arg);

/* Watches the files of C, of which it takes a reference, instead of what was watched before. */
void watcher_set(struct watcher *w, struct conf *c);

/* All files are about to be read: as they are now, or that they are not there, is not found to have
 * changed again, even if what is read cannot be used; watcher_set() follows where it can. */
void watcher_tried(struct watcher *w);

/* Any number of times. */
void watcher_close(struct watcher *w);

#endif
