/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that hashes credentials, and the queue before it: a ring of places (client addresses),
 * each with its checks, each with the jobs that wait for it. The lock guards all of it; it is held
 * for short walks only, never while hashing. A place exists while it has checks, a check while it
 * has jobs or is being hashed. A job whose result has been sent to its loop has no check any more,
 * and is freed there. */
#include "exchange/auth.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/log_limit.h"
#include "conf/policy.h"

struct auth_job {
    struct list link;         /* in check->jobs */
    struct auth_check *check; /* NULL: the result is on its way */
    struct loop *loop;
    enum auth_result result;
    auth_fn fn; /* NULL: cancelled; only touched on the loop */
    void *arg;
};

/* One pair of credentials that came from one place. */
struct auth_check {
    struct list link;         /* in place->checks, or in auth.running */
    struct auth_place *place; /* NULL: it is being hashed */
    struct list jobs;
    struct conf *conf; /* a reference */
    struct auth_digest digest;
    char *value;
    size_t len;
    uint64_t connection; /* that asked first */
    uint64_t turn;       /* within the place: lower ones go first, like ones as they came */
};

/* A client address. */
struct auth_place {
    struct list link; /* in auth.ring */
    uint8_t key[ADDR_HOST_KEY];
    struct list checks;
    unsigned n;
    uint64_t turn; /* of the check that went last */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list ring;    /* whose turn it is, in order */
    struct list running; /* checks of one and the same pair */
    unsigned n;          /* checks that wait */
    bool has_thread, stopping;
    pthread_t thread;
} auth = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .work = PTHREAD_COND_INITIALIZER,
          .ring = {&auth.ring, &auth.ring},
          .running = {&auth.running, &auth.running}};

const char auth_busy[] = "too many credentials wait to be checked; try again";

static struct auth_check *check_at(struct list *link)
{
    return container_of(link, struct auth_check, link);
}

static struct auth_place *place_at(struct list *link)
{
    return container_of(link, struct auth_place, link);
}

/* ---- results */

/* On the loop. */
static void job_finish(void *arg)
{
    struct auth_job *job = arg;
    struct auth_job last = *job;
    free(job);
    if (last.fn != NULL)
        last.fn(last.arg, last.result);
}

static void check_free(struct auth_check *c)
{
    conf_unref(&c->conf);
    explicit_bzero(c->value, c->len);
    free(c->value);
    free(c);
}

/* Under the lock. C is in no list any more. */
static void check_end(struct auth_check *c, enum auth_result result)
{
    struct list *it;
    while ((it = list_pop(&c->jobs)) != NULL) {
        struct auth_job *job = container_of(it, struct auth_job, link);
        job->check = NULL;
        job->result = result;
        loop_send(job->loop, job_finish, job);
    }
    check_free(c);
}

/* ---- the queue, under the lock */

/* Takes C out of its place, which goes with its last one. */
static void check_take(struct auth_check *c)
{
    struct auth_place *place = c->place;
    list_remove(&c->link);
    c->place = NULL;
    auth.n--;
    if (--place->n > 0)
        return;
    list_remove(&place->link);
    free(place);
}

static struct auth_place *auth_place_of(const struct addr *peer)
{
    uint8_t key[ADDR_HOST_KEY];
    addr_host_key(peer, key);
    list_foreach (it, &auth.ring) {
        if (memcmp(place_at(it)->key, key, sizeof(key)) == 0)
            return place_at(it);
    }
    struct auth_place *place = xcalloc(1, sizeof(*place));
    memcpy(place->key, key, sizeof(key));
    list_init(&place->link);
    list_init(&place->checks);
    list_push_back(&auth.ring, &place->link);
    return place;
}

static bool auth_is_same(const struct auth_digest *a, const struct auth_digest *b)
{
    return a->low == b->low && a->high == b->high;
}

static struct auth_check *find_check(struct list *checks, const struct auth_digest *d)
{
    list_foreach (it, checks) {
        if (auth_is_same(&check_at(it)->digest, d))
            return check_at(it);
    }
    return NULL;
}

/* Behind what the connection has waiting. Who has nothing waiting comes next but for those who came
 * before in the same state; so nobody is overtaken for ever. */
static uint64_t turn_of(const struct auth_place *place, uint64_t connection)
{
    uint64_t turn = place->turn;
    list_foreach (it, &place->checks) {
        const struct auth_check *c = check_at(it);
        if (c->connection == connection && c->turn > turn)
            turn = c->turn;
    }
    return turn + 1;
}

static struct auth_place *fullest(void)
{
    struct auth_place *most = NULL;
    list_foreach (it, &auth.ring) {
        if (most == NULL || place_at(it)->n > most->n)
            most = place_at(it);
    }
    return most;
}

/* Room for a check of PLACE with TURN: where there is none, the last in line gives way, in a place
 * to who has less waiting, and in all to a place that has less. */
static bool auth_make_room(struct auth_place *place, uint64_t turn)
{
    struct auth_check *last = NULL;
    if (place->n >= AUTH_PLACE_MAX) {
        last = check_at(place->checks.prev);
        if (last->turn <= turn)
            return false;
    } else if (auth.n >= AUTH_CHECKS_MAX) {
        struct auth_place *most = fullest();
        if (most->n <= place->n + 1)
            return false;
        last = check_at(most->checks.prev);
    }
    if (last != NULL) {
        check_take(last);
        check_end(last, AUTH_BUSY);
    }
    return true;
}

static struct auth_check *check_new(const struct auth_ask *a, const struct auth_digest *d)
{
    struct auth_check *c = xcalloc(1, sizeof(*c));
    list_init(&c->link);
    list_init(&c->jobs);
    c->conf = conf_ref((struct conf *)a->conf);
    c->digest = *d;
    c->value = xstrndup(a->value.p, a->value.len);
    c->len = a->value.len;
    c->connection = a->from->id;
    return c;
}

static void place_put(struct auth_place *place, struct auth_check *c)
{
    struct list *behind = &place->checks;
    while (behind->prev != &place->checks && check_at(behind->prev)->turn > c->turn)
        behind = behind->prev;
    list_push_back(behind, &c->link);
    c->place = place;
    place->n++;
    auth.n++;
}

/* The check that A waits for, new or not; NULL: there are too many. */
static struct auth_check *find_or_queue(const struct auth_ask *a, const struct auth_digest *d)
{
    struct auth_check *c = find_check(&auth.running, d);
    if (c != NULL)
        return c;
    struct auth_place *place = auth_place_of(&a->from->peer);
    c = find_check(&place->checks, d);
    if (c != NULL)
        return c;
    uint64_t turn = turn_of(place, a->from->id);
    if (!auth_make_room(place, turn)) {
        if (place->n == 0) { /* it was made for this */
            list_remove(&place->link);
            free(place);
        }
        return NULL;
    }
    c = check_new(a, d);
    c->turn = turn;
    place_put(place, c);
    pthread_cond_signal(&auth.work);
    return c;
}

/* ---- the thread */

/* Takes the next check, and every other of the same pair. False: none waits. */
static bool take_next(void)
{
    struct list *it = list_first(&auth.ring);
    if (it == NULL)
        return false;
    struct auth_place *place = place_at(it);
    struct auth_check *next = check_at(list_first(&place->checks));
    list_remove(&place->link);
    list_push_back(&auth.ring, &place->link);
    place->turn = next->turn;
    check_take(next);
    list_push_back(&auth.running, &next->link);
    struct list *after;
    for (it = auth.ring.next; it != &auth.ring; it = after) {
        after = it->next;
        struct auth_check *same = find_check(&place_at(it)->checks, &next->digest);
        if (same == NULL)
            continue;
        check_take(same);
        list_push_back(&auth.running, &same->link);
    }
    return true;
}

static void *auth_run(void *unused)
{
    struct list *it;
    (void)unused;
    pthread_mutex_lock(&auth.lock);
    while (!auth.stopping) {
        if (!take_next()) {
            pthread_cond_wait(&auth.work, &auth.lock);
            continue;
        }
        const struct auth_check *c = check_at(list_first(&auth.running));
        pthread_mutex_unlock(&auth.lock);
        bool ok = policy_auth_slow(c->conf, str_make(c->value, c->len));
        pthread_mutex_lock(&auth.lock);
        while ((it = list_pop(&auth.running)) != NULL)
            check_end(check_at(it), ok ? AUTH_OK : AUTH_BAD);
    }
    pthread_mutex_unlock(&auth.lock);
    return NULL;
}

/* The first one to ask starts it. Under the lock. */
static bool has_thread(void)
{
    if (auth.has_thread || auth.stopping)
        return auth.has_thread;
    int cause = pthread_create(&auth.thread, NULL, auth_run, NULL);
    auth.has_thread = cause == 0;
    if (cause != 0)
        log_limited(LOG_LEVEL_ERROR, "no credentials can be checked: cannot start a thread: %s",
                    strerror(cause));
    return auth.has_thread;
}

/* ---- what the loops call */

struct auth_job *auth_start(struct loop *loop, const struct auth_ask *a, auth_fn fn, void *arg)
{
    struct auth_job *job = NULL;
    struct auth_check *c = NULL;
    struct auth_digest digest = policy_auth_digest(a->conf, a->value);
    pthread_mutex_lock(&auth.lock);
    if (has_thread())
        c = find_or_queue(a, &digest);
    if (c != NULL) {
        job = xcalloc(1, sizeof *job);
        job->check = c;
        job->loop = loop;
        job->fn = fn;
        job->arg = arg;
        list_init(&job->link);
        list_push_back(&c->jobs, &job->link);
    }
    pthread_mutex_unlock(&auth.lock);
    return job;
}

void auth_cancel(struct auth_job *job)
{
    if (job == NULL)
        return;
    pthread_mutex_lock(&auth.lock);
    struct auth_check *c = job->check;
    job->fn = NULL;
    list_remove(&job->link);
    if (c != NULL && c->place != NULL && list_is_empty(&c->jobs)) {
        check_take(c);
        check_free(c);
    }
    pthread_mutex_unlock(&auth.lock);
    if (c != NULL)
        free(job);
}

void auth_stop(void)
{
    pthread_mutex_lock(&auth.lock);
    auth.stopping = true;
    bool is_running = auth.has_thread;
    auth.has_thread = false;
    pthread_cond_signal(&auth.work);
    pthread_mutex_unlock(&auth.lock);
    if (is_running)
        pthread_join(auth.thread, NULL);
    assert(list_is_empty(&auth.ring));
    auth.stopping = false;
}
