/* SPDX-License-Identifier: Apache-2.0 */
/* `tlsfan run`. COMMAND is to be as if it had been started without us: its streams, its signals,
 * its limits; only the environment names the proxy. It begins in our process group, so the
 * terminal's signals reach it without us unless it makes a group of its own. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture.h"
#include "run_end.h"
#include "run_env.h"
#include "server.h"

enum { RUN_CA_DAYS = 3650 }; /* no run is longer; the key goes with it */

/* One command. Lives on run_command()'s stack. */
struct run {
    struct server *server;
    struct run_env *env;
    struct conf_source source; /* with the CA of --intercept, which we own */
    pid_t pid;                 /* 0: it has ended and was waited for */
    int status;                /* what tlsfan exits with */
    bool has_begun;            /* there was a COMMAND */
    struct run_end end;        /* what is said when it has ended */
    sigset_t early;            /* came before COMMAND could hear them, and wait to be read */
};

/* The mask and SIGPIPE as they were before signals_take(). */
static void set_attributes(posix_spawnattr_t *attr, const struct signals_before *before)
{
    sigset_t reset;
    sigemptyset(&reset);
    if (!before->ignores_pipe)
        sigaddset(&reset, SIGPIPE);
    posix_spawnattr_init(attr);
    posix_spawnattr_setsigmask(attr, &before->mask);
    posix_spawnattr_setsigdefault(attr, &reset);
    posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

/* As capture_spawn(), where there is no network of its own. */
static int run_spawn(pid_t *pid, const struct capture_command *c)
{
    posix_spawnattr_t attr;
    struct rlimit raised;
    set_attributes(&attr, c->before);
    /* Programs that close every possible descriptor, or use select(2), would suffer from our limit.
     * Nobody is connected yet, so the workers do not miss it for the moment. */
    bool swap = getrlimit(RLIMIT_NOFILE, &raised) == 0 && setrlimit(RLIMIT_NOFILE, c->limit) == 0;
    int cause = posix_spawnp(pid, c->words[0], NULL, &attr, c->words, c->environment);
    if (swap)
        setrlimit(RLIMIT_NOFILE, &raised);
    posix_spawnattr_destroy(&attr);
    return cause;
}

static int spawn_failed(const char *name, int cause)
{
    if (cause < 0)
        return STATUS_RUN_FAILED;
    const char *what =
        cause == ENOEXEC ? "it is no program, and no script with a #! line" : strerror(cause);
    fprintf(stderr, "tlsfan: cannot run %s: %s\n", name, what);
    switch (cause) {
    case ENOENT:
    case ENOTDIR:
        return STATUS_NOT_FOUND;
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return STATUS_RUN_FAILED;
    default:
        return STATUS_NOT_EXECUTABLE;
    }
}

/* COMMAND has been stopped by the terminal's doing, and so are we: the shell that has started us
 * looks at us alone. The signal may wait already; raised before it is let in, it is one. As process
 * 1, or in a group that no shell looks after, the kernel drops it. */
static void stop_with_command(int number)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    kill(getpid(), number);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
}

/* COMMAND, in the foreground, has stopped itself by SIGSTOP, and the shell that has started us
 * looks at us alone: links and elinks do so at Ctrl-Z, and `suspend` in a shell with job control,
 * which has the terminal for a group of its own and must get it back. Whom another has stopped
 * elsewhere may be continued without us. */
static void suspend_with_shell(const struct run *r)
{
    pid_t own = getpgrp();
    pid_t group = getpgid(r->pid);
    int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (tty < 0)
        return;
    if (own != getsid(0) && tcgetpgrp(tty) == group) {
        kill(getpid(), SIGSTOP);
        if (group != own && tcgetpgrp(tty) == own)
            tcsetpgrp(tty, group);
    }
    close(tty);
}

static void on_command_change(struct run *r, int status)
{
    int stop = WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
    if (stop == SIGTSTP || stop == SIGTTIN || stop == SIGTTOU)
        stop_with_command(stop);
    else if (stop == SIGSTOP)
        suspend_with_shell(r);
    if (stop != 0)
        return;
    r->pid = 0;
    r->end.was_killed = WIFSIGNALED(status);
    r->status = WIFSIGNALED(status) ? STATUS_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
    server_quit(r->server);
}

/* As process 1 of a container tlsfan gets the orphans of COMMAND too, and waits for them as well.
 */
static void reap_children(struct run *r)
{
    int status;
    const int how = WNOHANG | WUNTRACED;
    for (pid_t pid = waitpid(-1, &status, how); pid > 0; pid = waitpid(-1, &status, how)) {
        if (pid == r->pid)
            on_command_change(r, status);
        else
            capture_has_ended(pid);
    }
}

/* Whether COMMAND still has to be told of a signal that the kernel has sent: the terminal tells a
 * whole group, but of a hangup only the process that leads the session. */
static bool is_untold(const struct run *r, int number)
{
    struct sigaction now;
    /* nohup: COMMAND has been given that, too. */
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
        return false;
    switch (number) {
    case SIGHUP:
    case SIGCONT:
        return getsid(0) == getpid() || getpgid(r->pid) != getpgrp();
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
        /* Nobody could continue what is stopped in the group that leads the session. */
        return getpgrp() != getsid(0) && getpgid(r->pid) != getpgrp();
    case SIGALRM:
        return true; /* alarm(2) of who has started us: COMMAND would have inherited it */
    case SIGXCPU:
        return false; /* of our own time: COMMAND has a limit, too */
    default:
        return getpgid(r->pid) != getpgrp();
    }
}

static void on_signal(void *arg, const struct signalfd_siginfo *info)
{
    struct run *r = arg;
    int number = (int)info->ssi_signo;
    bool is_early = sigismember(&r->early, number) == 1;
    sigdelset(&r->early, number);
    if (number == SIGCHLD) {
        reap_children(r);
        return;
    }
    /* What the kernel sends to a thread for what it did (SIGXFSZ) looks as if it were our own. */
    bool is_ours = info->ssi_code == SI_USER && info->ssi_pid == (uint32_t)getpid();
    bool is_kernels = info->ssi_code == SI_KERNEL;
    if (r->pid == 0 || is_ours || (is_kernels && !is_early && !is_untold(r, number)))
        return;
    if (kill(r->pid, number) != 0 && errno != ESRCH)
        log_warning("signal %d cannot be passed on to the command: %s", number, strerror(errno));
}

/* Starts the proxy, and makes what COMMAND is told of it. False after a line on stderr. */
static bool run_start(struct run *r, const struct options *o)
{
    enum exit_status status = STATUS_OK;
    char *why = NULL;
    r->source = o->source;
    if (r->source.run.capture)
        capture_start();
    if (r->source.run.intercept != NULL)
        r->source.run.ca = tls_ca_make(NULL, 0, RUN_CA_DAYS, &why);
    r->server = server_start(&r->source, &status);
    if (r->server == NULL)
        return false;
    const struct conf *c = server_conf(r->server);
    r->end.intercepts = conf_may_intercept(c);
    r->env =
        run_env_new(server_port(r->server), r->end.intercepts, r->source.run.ca, capture_leave);
    if (r->env == NULL)
        server_stop(r->server);
    else
        run_env_hide(r->env, c);
    return r->env != NULL;
}

/* What COMMAND has seen of no_proxy: programs read one or the other. */
static const char *run_no_proxy(void)
{
    const char *lower = getenv("no_proxy");
    return lower != NULL && lower[0] != '\0' ? lower : getenv("NO_PROXY");
}

/* Once no worker counts any more. */
static void run_tell(struct run *r, const struct options *o)
{
    struct summary s = summary_get();
    r->end.command = o->command[0];
    r->end.no_proxy = run_no_proxy();
    r->end.is_captured = r->source.run.capture;
    r->end.is_choosy = r->source.run.intercept != NULL && r->source.run.intercept[0] != '\0';
    run_end_tell(&r->end, &s);
}

/* Starts COMMAND and waits for it. */
static void run_to_end(struct run *r, const struct capture_command *c)
{
    int cause = capture_is_on() ? capture_spawn(&r->pid, c) : run_spawn(&r->pid, c);
    /* What has come since COMMAND began is told twice, which does no harm: it could do nothing
     * about it yet but what the system does. What came just before is not lost. */
    sigpending(&r->early);
    r->has_begun = cause == 0;
    if (cause == 0)
        server_run(r->server, on_signal, r);
    else
        r->status = spawn_failed(c->words[0], cause);
}

int run_command(const struct options *o)
{
    struct run r = {0};
    struct signals_before before;
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    getrlimit(RLIMIT_NOFILE, &limit);
    /* Ignored, as some parents leave it, there would be no status to wait for. */
    signal(SIGCHLD, SIG_DFL);
    signals_take(true, &before);
    summary_open();
    if (run_start(&r, o)) {
        run_to_end(&r, &(struct capture_command){o->command, run_env_list(r.env), &before, &limit});
        server_stop(r.server);
        if (r.has_begun)
            run_tell(&r, o);
    } else {
        r.status = STATUS_RUN_FAILED;
    }
    capture_close();
    run_env_free(r.env);
    tls_ca_unref(r.source.run.ca);
    return r.status;
}
