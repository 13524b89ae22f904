/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When which client of the load generator asks: each as soon as it is answered, or all together by
 * the clock; and how they are opened before.
 */
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define RAMP 64 /* clients that are opened at once; more would not fit into a listener's backlog */

enum phase {
    PHASE_RAMP,   /* each client asks once, a few at a time */
    PHASE_CLOSED, /* who is answered asks again */
    PHASE_RATE,   /* requests become due by the clock, and free clients take them */
    PHASE_HOLD,
};

static struct {
    enum phase phase;
    unsigned opened, ready; /* clients */
    uint64_t planned;       /* requests given to a client */
    /* PHASE_RATE: a ring of those that could ask. */
    struct client *free[MAX_CLIENTS];
    unsigned free_first, free_count;
    int timer;
} loop;

static void loop_set_phase(enum phase phase)
{
    loop.phase = phase;
    loop.opened = loop.ready = 0;
}

/* One wait for events, and what they bring. */
static void loop_once(struct run *run)
{
    struct epoll_event events[64];
    int n = epoll_wait(run->epoll, events, 64, SILENCE_MS);
    if (n < 0 && errno != EINTR)
        die("epoll_wait: %s", strerror(errno));
    if (n == 0)
        die("nothing came for %d s, %llu of %llu answers are in", SILENCE_MS / 1000,
            (unsigned long long)run->done, (unsigned long long)run->count);
    for (int i = 0; i < n; i++) {
        struct client *client = events[i].data.ptr;
        uint64_t expired;
        if (client != NULL)
            client_event(run, client, events[i].events);
        else if (read(loop.timer, &expired, sizeof(expired)) < 0)
            die("timer: %s", strerror(errno));
    }
}

/* ---- all clients are opened, and ask once where they are to */

static void loop_ramp_next(struct run *run)
{
    struct client *client = &run->all[loop.opened++];
    if (run->held > 0)
        client_ask(run, client, run->held);
    else
        client_open(run, client);
}

static void loop_ramp_turn(const struct client *client)
{
    if (client->in_flight == 0)
        loop.ready++;
}

static void loop_ramp(struct run *run)
{
    static const struct timespec moment = {.tv_nsec = 1000000};
    loop_set_phase(PHASE_RAMP);
    while (loop.ready < run->clients) {
        unsigned room = loop.ready + RAMP;
        while (loop.opened < run->clients && loop.opened < room)
            loop_ramp_next(run);
        /* Who is not asked says nothing either: this is when the other side accepts. */
        if (run->held == 0)
            nanosleep(&moment, NULL);
        if (loop.ready < loop.opened)
            loop_once(run);
    }
}

/* Until the one who started this program closes its input; no connection may end before. */
static void loop_hold(struct run *run)
{
    printf("{\"ready\": %u}\n", run->clients);
    fflush(stdout);
    loop_set_phase(PHASE_HOLD);
    struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.fd = run->epoll, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            die("poll: %s", strerror(errno));
        char byte;
        if (fds[0].revents != 0 && read(0, &byte, 1) <= 0)
            return;
        if (fds[1].revents != 0)
            loop_once(run);
    }
}

/* ---- who is answered asks again */

static void loop_closed_turn(struct run *run, struct client *client, bool ended)
{
    /* With a new connection per request the server closes: its end of file begins the next one. */
    bool waits_for_end = run->reconnects && client->state != CLIENT_CLOSED;
    if (ended && !run->reconnects)
        die("a kept connection was closed");
    if (client->state == CLIENT_OPEN && client->in_flight == 0 && loop.planned == run->count)
        client_close(client);
    if (waits_for_end || client->in_flight + client->wanted >= run->depth)
        return;
    uint64_t more = run->depth - client->in_flight - client->wanted;
    if (more > run->count - loop.planned)
        more = run->count - loop.planned;
    loop.planned += more;
    if (more > 0)
        client_ask(run, client, (unsigned)more);
}

static void loop_closed(struct run *run)
{
    loop_set_phase(PHASE_CLOSED);
    for (unsigned i = 0; i < run->clients; i++) {
        uint64_t left = run->count - loop.planned;
        unsigned wanted = left < run->depth ? (unsigned)left : run->depth;
        loop.planned += wanted;
        if (wanted > 0)
            client_ask(run, &run->all[i], wanted);
    }
    while (run->done < run->count)
        loop_once(run);
}

/* ---- requests become due by the clock */

/* Requests that are due by now. */
static uint64_t loop_due(const struct run *run)
{
    double due = (double)(now_ns() - run->start_ns) / 1e9 * run->rate;
    return due < (double)run->count ? (uint64_t)due : run->count;
}

/*
 * Gives what is due to the clients that are free. The clock of a request that had to wait for one
 * started when it was due. Where one was free, it starts now: that this program was woken late is
 * no fault of the server's.
 */
static void loop_dispatch(struct run *run, bool waited)
{
    uint64_t due = loop_due(run);
    while (loop.planned < due && loop.free_count > 0) {
        struct client *client = loop.free[loop.free_first];
        loop.free_first = (loop.free_first + 1) % run->clients;
        loop.free_count--;
        uint64_t due_ns = run->start_ns + (uint64_t)((double)(loop.planned + 1) / run->rate * 1e9);
        client->asked_ns = waited ? due_ns : now_ns();
        loop.planned++;
        client_ask(run, client, 1);
    }
}

static void loop_rate_turn(struct run *run, struct client *client, bool ended)
{
    if (ended)
        die("a kept connection was closed");
    if (client->in_flight > 0)
        return;
    loop_dispatch(run, false);
    loop.free[(loop.free_first + loop.free_count++) % run->clients] = client;
    loop_dispatch(run, true);
}

static void loop_start_timer(struct run *run)
{
    loop.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    long ns = (long)(1e9 / run->rate);
    struct timespec every = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    struct itimerspec spec = {.it_interval = every, .it_value = every};
    struct epoll_event event = {.events = EPOLLIN};
    if (loop.timer < 0 || timerfd_settime(loop.timer, 0, &spec, NULL) != 0 ||
        epoll_ctl(run->epoll, EPOLL_CTL_ADD, loop.timer, &event) != 0)
        die("timer: %s", strerror(errno));
}

static void loop_rate(struct run *run)
{
    loop_set_phase(PHASE_RATE);
    for (unsigned i = 0; i < run->clients; i++)
        loop.free[loop.free_count++] = &run->all[i];
    loop_start_timer(run);
    while (run->done < run->count) {
        loop_once(run);
        loop_dispatch(run, false);
    }
}

/* ---- what clients say */

void run_turn(struct run *run, struct client *client, bool ended)
{
    switch (loop.phase) {
    case PHASE_RAMP:
        loop_ramp_turn(client);
        break;
    case PHASE_CLOSED:
        loop_closed_turn(run, client, ended);
        break;
    case PHASE_RATE:
        loop_rate_turn(run, client, ended);
        break;
    case PHASE_HOLD:
        die("a connection that was held was closed");
    }
}

void run_answered(struct run *run, struct client *client)
{
    run->end_ns = now_ns();
    if (loop.phase == PHASE_RAMP)
        return;
    if (run->latencies != NULL)
        run->latencies[run->done] = (float)(run->end_ns - client->asked_ns) / 1e3f;
    client->asked_ns = 0;
    run->done++;
}

void run_all(struct run *run)
{
    if (run->holds || run->rate > 0 || run->fans_out) {
        run->held = run->fans_out ? 0 : run->holds ? run->held : 1;
        loop_ramp(run);
        run->begun = run->bytes = 0;
    }
    run->start_ns = now_ns();
    if (run->holds)
        loop_hold(run);
    else if (run->rate > 0)
        loop_rate(run);
    else
        loop_closed(run);
}
