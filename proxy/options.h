/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what is to be done, and the flags as a source of configuration. */
#ifndef TLSFAN_OPTIONS_H
#define TLSFAN_OPTIONS_H

#include <stdio.h>

#include "conf/conf_load.h"

enum action {
    ACTION_SERVE,
    ACTION_RUN,     /* `run -- COMMAND` */
    ACTION_TEST,    /* -t */
    ACTION_DUMP,    /* -T */
    ACTION_HEALTH,  /* --check-health */
    ACTION_MAKE_CA, /* --make-ca */
    ACTION_VERSION,
    ACTION_HELP
};

/* Exit statuses that are part of the contract. */
enum exit_status {
    STATUS_OK = 0,
    STATUS_BAD_CONF = 1,
    STATUS_USAGE = 2,
    STATUS_NOT_STARTED = 3,
    STATUS_RUN_FAILED = 125, /* of `run`, whatever it was */
    STATUS_NOT_EXECUTABLE = 126,
    STATUS_NOT_FOUND = 127,
    STATUS_SIGNAL = 128 /* plus the signal that ended COMMAND */
};

struct options {
    enum action action;
    struct conf_source source; /* points into argv and into `texts` */
    const char *address;       /* of --check-health, NULL: that of the configuration; or DIR */
    char **command;     /* of `run`, or the names of a CA: the rest of argv, NULL at its end */
    char **texts;       /* heap: the texts of source.options */
    const char **flags; /* heap: source.flags */
    unsigned n_texts;
    char *fault; /* heap: one sentence, when the command line is wrong */
};

/* Reads ARGV, which must outlive O. Gives STATUS_OK; or STATUS_USAGE, STATUS_RUN_FAILED where `run`
 * was asked for, and o->fault. O is to be cleared in every case. */
MUST_CHECK enum exit_status options_parse(struct options *o, int argc, char **argv);
void options_clear(struct options *o);

/* The text of --help. */
void options_help(FILE *out);

#endif
