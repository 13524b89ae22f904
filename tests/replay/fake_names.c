/* SPDX-License-Identifier: Apache-2.0 */
/* c-ares: see fake.h. The file of hosts is empty. */
#include "fake_impl.h"

#include <ares.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/mem.h"

enum { NAMES = 32, QUESTIONS = 256, ADDRESSES = 8 };

struct ares_channeldata {
    bool is_file;
};

static struct {
    char name[256], answer[256];
} names[NAMES];

static struct question {
    struct ares_channeldata *channel;
    char name[256];
    int family;
    ares_addrinfo_callback fn;
    void *arg;
} questions[QUESTIONS];
static unsigned n_names, n_questions;

static const char *answer_of(const char *name)
{
    for (unsigned i = 0; i < n_names; i++) {
        if (strcasecmp(names[i].name, name) == 0)
            return names[i].answer;
    }
    return "absent";
}

/* One block: the answer, its nodes and their addresses. */
static struct ares_addrinfo *info_of(const char *list, int family)
{
    struct block {
        struct ares_addrinfo info;
        struct ares_addrinfo_node nodes[ADDRESSES];
        struct addr addrs[ADDRESSES];
    } *b = xcalloc(1, sizeof(*b));
    struct str rest = str_from(list), part;
    struct ares_addrinfo_node **end = &b->info.nodes;
    for (unsigned i = 0; i < ADDRESSES && str_next_part(&rest, ',', &part); i++) {
        if (!addr_parse_ip(&b->addrs[i], str_trim(part), 0))
            abort();
        if (family != AF_UNSPEC && addr_family(&b->addrs[i]) != family)
            continue;
        b->nodes[i] = (struct ares_addrinfo_node){.ai_ttl = 3600,
                                                  .ai_family = addr_family(&b->addrs[i]),
                                                  .ai_addrlen = b->addrs[i].len,
                                                  .ai_addr = &b->addrs[i].sa};
        *end = &b->nodes[i];
        end = &b->nodes[i].ai_next;
    }
    return &b->info;
}

/* True once Q has been answered. */
static bool answer(const struct question *q)
{
    static const struct {
        const char *word;
        int status;
    } words[] = {{"absent", ARES_ENOTFOUND}, {"fails", ARES_ESERVFAIL}, {"silent", ARES_ETIMEOUT}};
    const char *text = answer_of(q->name);
    if (strcmp(text, "waits") == 0)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcmp(text, words[i].word) == 0) {
            q->fn(q->arg, words[i].status, 0, NULL);
            return true;
        }
    }
    struct ares_addrinfo *info = info_of(text, q->family);
    if (info->nodes != NULL) {
        q->fn(q->arg, ARES_SUCCESS, 0, info);
        return true;
    }
    free(info);
    q->fn(q->arg, ARES_ENODATA, 0, NULL);
    return true;
}

static void answer_all(void)
{
    for (unsigned i = 0; i < n_questions; i++) {
        struct question q = questions[i];
        if (strcmp(answer_of(q.name), "waits") == 0)
            continue;
        questions[i--] = questions[--n_questions];
        fake_is_stirred = true;
        answer(&q);
    }
}

void fake_name(const char *name, const char *text)
{
    unsigned i = 0;
    while (i < n_names && strcasecmp(names[i].name, name) != 0)
        i++;
    if (i == NAMES)
        abort();
    n_names += i == n_names;
    snprintf(names[i].name, sizeof(names[i].name), "%s", name);
    snprintf(names[i].answer, sizeof(names[i].answer), "%s", text);
    answer_all();
}

unsigned fake_questions(void)
{
    return n_questions;
}

void fake_clear_names(void)
{
    n_names = n_questions = 0;
}

/* ---- the program's side */

/* The machine's own lists of servers, domains and hosts are not the script's: there are none. */
static bool is_missing(const char *path)
{
    errno = ENOENT;
    return strcmp(path, "/etc/resolv.conf") == 0 || strcmp(path, "/etc/hosts") == 0;
}

WRAP(int, open, (const char *path, int flags, ...))
{
    va_list args;
    va_start(args, flags);
    unsigned mode = (flags & O_CREAT) != 0 ? va_arg(args, unsigned) : 0;
    va_end(args);
    return is_missing(path) ? -1 : __real_open(path, flags, mode);
}

WRAP(int, stat, (const char *path, struct stat *st))
{
    return is_missing(path) ? -1 : __real_stat(path, st);
}

WRAP(int, gethostname, (char *to, size_t n))
{
    snprintf(to, n, "replay");
    return 0;
}

WRAP(int, ares_library_init, (int flags))
{
    (void)flags;
    return ARES_SUCCESS;
}

WRAP(int, ares_init_options, (ares_channel * to, struct ares_options *o, int mask))
{
    *to = xcalloc(1, sizeof(**to));
    (*to)->is_file = (mask & ARES_OPT_LOOKUPS) != 0 && strcmp(o->lookups, "f") == 0;
    return ARES_SUCCESS;
}

WRAP(void, ares_destroy, (ares_channel ch))
{
    for (unsigned i = 0; i < n_questions; i++) {
        struct question q = questions[i];
        if (q.channel != ch)
            continue;
        questions[i--] = questions[--n_questions];
        q.fn(q.arg, ARES_EDESTRUCTION, 0, NULL);
    }
    free(ch);
}

WRAP(int, ares_set_servers_ports_csv, (ares_channel ch, const char *servers))
{
    (void)ch;
    (void)servers;
    return ARES_SUCCESS;
}

WRAP(struct timeval *, ares_timeout, (ares_channel ch, struct timeval *max, struct timeval *tv))
{
    (void)ch;
    (void)tv;
    return max;
}

WRAP(void, ares_process_fd, (ares_channel ch, ares_socket_t r, ares_socket_t w))
{
    (void)ch;
    (void)r;
    (void)w;
}

WRAP(void, ares_freeaddrinfo, (struct ares_addrinfo * info))
{
    free(info);
}

WRAP(void, ares_getaddrinfo,
     (ares_channel ch, const char *name, const char *service,
      const struct ares_addrinfo_hints *hints, ares_addrinfo_callback fn, void *arg))
{
    (void)service;
    if (ch->is_file) {
        fn(arg, ARES_ENOTFOUND, 0, NULL);
        return;
    }
    struct question q = {.channel = ch, .family = hints->ai_family, .fn = fn, .arg = arg};
    snprintf(q.name, sizeof(q.name), "%s", name);
    if (answer(&q))
        return;
    if (n_questions == QUESTIONS)
        abort();
    questions[n_questions++] = q;
}
