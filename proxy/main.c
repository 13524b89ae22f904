/* SPDX-License-Identifier: Apache-2.0 */
/* tlsfan, from the top: what the command line asks for, and the exit status. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "conf/files.h"
#include "health.h"
#include "make_ca.h"
#include "notice.h"
#include "options.h"
#include "run.h"
#include "server.h"
#include "trial.h"
#include "version.h"

/* Whoever started us may have closed them; a connection must not become our stderr. */
static void fill_standard_streams(void)
{
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = open("/dev/null", O_RDWR);
    if (fd >= 0)
        close(fd);
}

static int usage_fault(const struct options *o, enum exit_status status)
{
    fprintf(stderr, "tlsfan: %s (see tlsfan --help)\n", o->fault);
    return (int)status;
}

/* Which files it is about: the one that was named and those that it includes. */
static void print_ok(FILE *out, const struct conf_source *source, const struct conf *c)
{
    const char *between = " with ";
    fputs("configuration ok: ", out);
    fputs(source->file == NULL ? "no file, but defaults, variables and flags" : source->file, out);
    for (const struct conf_file *f = c->files; f != NULL; f = f->hh.next) {
        if (f->text == NULL || strcmp(f->path, source->file) == 0)
            continue;
        fprintf(out, "%s%s", between, f->path);
        between = ", ";
    }
    putc('\n', out);
}

/* -t and -T. What is said about it goes to stderr with -T, so that stdout reads back as a
 * configuration. Warnings go there always, and are no faults. */
static int test(const struct conf_source *source, bool dump)
{
    struct conf_faults faults = {0};
    char why[64];
    if (!log_open(LOG_LEVEL_WARNING, "off", why, sizeof(why)))
        return STATUS_NOT_STARTED;
    struct conf *c = server_load(source, &faults);
    if (c == NULL) {
        log_plain(LOG_LEVEL_ERROR, faults.text);
        free(faults.text);
        return STATUS_BAD_CONF;
    }
    notice_rules(c);
    trial_tell(c, source->is_run);
    trial_here(c, source->is_run);
    print_ok(dump ? stderr : stdout, source, c);
    if (dump) {
        char *text = conf_dump(c);
        fputs(text, stdout);
        free(text);
    }
    conf_unref(&c);
    return STATUS_OK;
}

static int main_serve(const struct conf_source *source)
{
    struct signals_before before;
    enum exit_status status = STATUS_OK;
    /* As process 1 of a container we get orphans: nobody waits for them. */
    signal(SIGCHLD, SIG_IGN);
    signals_take(false, &before);
    struct server *s = server_start(source, &status);
    if (s == NULL)
        return (int)status;
    server_run(s, NULL, NULL);
    server_stop(s);
    log_info("tlsfan has ended");
    return STATUS_OK;
}

static int act(const struct options *o)
{
    switch (o->action) {
    case ACTION_RUN:
        return run_command(o);
    case ACTION_TEST:
    case ACTION_DUMP:
        return test(&o->source, o->action == ACTION_DUMP);
    case ACTION_HEALTH:
        return health_check(&o->source, o->address);
    case ACTION_MAKE_CA:
        return (int)make_ca(o->address, o->command);
    case ACTION_VERSION:
        version_print(stdout);
        return STATUS_OK;
    case ACTION_HELP:
        options_help(stdout);
        return STATUS_OK;
    case ACTION_SERVE:
        break;
    }
    return main_serve(&o->source);
}

/* What was asked for on stdout must have got there. */
static int flush_stdout(int status)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return status;
    fprintf(stderr, "tlsfan: cannot write to stdout: %s\n", strerror(errno));
    return status == STATUS_OK ? STATUS_BAD_CONF : status;
}

int main(int argc, char **argv)
{
    struct options o;
    fill_standard_streams();
    hash_init();
    enum exit_status status = options_parse(&o, argc, argv);
    int result = status == STATUS_OK ? flush_stdout(act(&o)) : usage_fault(&o, status);
    options_clear(&o);
    return result;
}
