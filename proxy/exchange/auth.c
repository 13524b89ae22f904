/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that hashes credentials. A job belongs to the thread until its result has been sent to
 * the loop, and is freed there; a cancelled job still runs, but nobody is told. */
#include "exchange/auth.h"

#include <stdlib.h>

#include <pthread.h>

#include "conf/policy.h"

enum { AUTH_JOBS_MAX = 256 };

struct auth_job {
    struct list link;
    struct loop *loop;
    struct conf *conf; /* a reference */
    char *value;
    size_t len;
    bool ok;
    void (*fn)(void *arg, bool ok); /* NULL: cancelled; only touched on the loop */
    void *arg;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list jobs;
    unsigned n;
    bool running, stopping;
    pthread_t thread;
} auth = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .work = PTHREAD_COND_INITIALIZER,
          .jobs = {&auth.jobs, &auth.jobs}};

/* On the loop: tells the result and frees the job. */
static void auth_finish(void *arg)
{
    struct auth_job *job = arg;
    void (*fn)(void *, bool) = job->fn;
    void *fn_arg = job->arg;
    bool ok = job->ok;
    conf_unref(&job->conf);
    explicit_bzero(job->value, job->len);
    free(job->value);
    free(job);
    if (fn != NULL)
        fn(fn_arg, ok);
}

static void *auth_run(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&auth.lock);
    while (!auth.stopping) {
        struct list *item = list_pop(&auth.jobs);
        if (item == NULL) {
            pthread_cond_wait(&auth.work, &auth.lock);
            continue;
        }
        auth.n--;
        pthread_mutex_unlock(&auth.lock);
        struct auth_job *job = container_of(item, struct auth_job, link);
        job->ok = policy_auth_slow(job->conf, str_make(job->value, job->len));
        loop_send(job->loop, auth_finish, job);
        pthread_mutex_lock(&auth.lock);
    }
    pthread_mutex_unlock(&auth.lock);
    return NULL;
}

struct auth_job *auth_start(struct engine *e, const struct conf *c, struct str value,
                            void (*fn)(void *arg, bool ok), void *arg)
{
    struct auth_job *job = NULL;
    pthread_mutex_lock(&auth.lock);
    if (!auth.running && !auth.stopping)
        auth.running = pthread_create(&auth.thread, NULL, auth_run, NULL) == 0;
    if (auth.running && auth.n < AUTH_JOBS_MAX) {
        job = xcalloc(1, sizeof *job);
        job->loop = e->loop;
        job->conf = conf_ref((struct conf *)c);
        job->value = xstrndup(value.p, value.len);
        job->len = value.len;
        job->fn = fn;
        job->arg = arg;
        list_init(&job->link);
        list_push_back(&auth.jobs, &job->link);
        auth.n++;
        pthread_cond_signal(&auth.work);
    }
    pthread_mutex_unlock(&auth.lock);
    return job;
}

void auth_cancel(struct auth_job *job)
{
    if (job != NULL)
        job->fn = NULL;
}

void auth_stop(void)
{
    pthread_mutex_lock(&auth.lock);
    auth.stopping = true;
    bool running = auth.running;
    auth.running = false;
    pthread_cond_signal(&auth.work);
    pthread_mutex_unlock(&auth.lock);
    if (running)
        pthread_join(auth.thread, NULL);
    struct list *item;
    while ((item = list_pop(&auth.jobs)) != NULL)
        auth_finish(container_of(item, struct auth_job, link));
}
