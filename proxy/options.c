/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. -l, -f and -w become the same "KEY=VALUE" that -o takes, in their order, so
 * that the configuration has one way in for all flags. */
#include "options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/suggest.h"

enum { READAHEAD_PAGES = 16, READAHEAD_MAX = 1000 };

/* The leading + stops at the first word that is no option, the : tells a missing argument from an
 * unknown option. */
static const char short_options[] = "+:c:l:f:s:o:w:tTVh";

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"listen", required_argument, NULL, 'l'},
    {"forward", required_argument, NULL, 'f'},
    {"option", required_argument, NULL, 'o'},
    {"service", required_argument, NULL, 's'},
    {"check-health", optional_argument, NULL, 'H'},
    {"workers", required_argument, NULL, 'w'},
    {"test", no_argument, NULL, 't'},
    {"dump", no_argument, NULL, 'T'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {"make-ca", required_argument, NULL, 'M'},
    {"intercept", optional_argument, NULL, 'I'},
    {"capture", no_argument, NULL, 'C'},
    {"read-ahead", optional_argument, NULL, 'R'},
    {NULL, 0, NULL, 0},
};

static const char help_text[] =
    "Usage: tlsfan [OPTION]...\n"
    "       tlsfan [OPTION]... run [--intercept[=PATTERN,...]] [--capture] [--read-ahead[=N]]\n"
    "              -- COMMAND [ARGUMENT...]\n"
    "       tlsfan [OPTION]... --check-health [ADDR:PORT]\n"
    "       tlsfan --make-ca DIR [NAME...]\n"
    "\n"
    "An HTTPS forward proxy: takes plain http:// requests, makes them as verified TLS requests,\n"
    "many at once, and gives the responses back in order.\n"
    "\n"
    "  -c, --config FILE           configuration file (default: none)\n"
    "  -l, --listen LISTENER       proxy listener, may be repeated (default: 127.0.0.1:3128);\n"
    "                              ADDR:PORT, [::1]:PORT, unix:/path, tls:ADDR:PORT or\n"
    "                              transparent:ADDR:PORT; port 0 picks a free one\n"
    "  -f, --forward LISTENER=URL  a listener that speaks for one origin\n"
    "  -s, --service ADDR:PORT     service listener: health, metrics, the live page, batch calls;\n"
    "                              off for none (default: 127.0.0.1:3129)\n"
    "  -o, --option KEY=VALUE      set a configuration key, for example\n"
    "                              -o tls.ca_file=/x.pem, -o 'rule[*.example.com].port=8443'\n"
    "  -w, --workers N             worker threads, or auto (default: auto)\n"
    "  -t, --test                  check the configuration and exit\n"
    "  -T, --dump                  the same, and print it as it applies, secrets masked\n"
    "      --check-health [ADDR:PORT]  ask the service listener: exit 0 if it is well, 1 if not\n"
    "      --make-ca DIR [NAME...] write a CA for interception to DIR, which may sign for any "
    "host,\n"
    "                              or for the hosts and addresses named\n"
    "  -V, --version               print the version and exit\n"
    "  -h, --help                  print this and exit\n"
    "\n"
    "run -- COMMAND starts COMMAND with http_proxy set to a proxy of its own, and exits with its\n"
    "status.\n"
    "\n"
    "      --intercept[=PATTERN,...]  reads what COMMAND sends to https:// URLs, too, with a CA "
    "made\n"
    "                              for this run alone: for programs whose own TLS is old or slow\n"
    "      --capture               gives COMMAND a network of its own in which every address is\n"
    "                              tlsfan's: for programs that know no proxy, static ones too\n"
    "      --read-ahead[=N]        fetches up to N pages (16) ahead of a COMMAND that walks "
    "?page=1,\n"
    "                              ?page=2, ... one by one\n"
    "\n"
    "Signals: TERM and INT drain and end (a second one ends at once), HUP reloads the\n"
    "configuration, USR1 reopens log files.\n"
    "Exit status: 0 clean stop, 1 bad configuration, 2 bad usage, 3 could not start.\n";

/* Only the first fault counts: the others may follow from it. */
static void PRINTF_LIKE(2, 3) fail(struct options *o, const char *fmt, ...)
{
    va_list args;
    if (o->fault != NULL)
        return;
    char text[512];
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    o->fault = xstrdup(text);
}

/* Takes over TEXT; FLAG is what faults name. */
static void add_option(struct options *o, char *text, const char *flag)
{
    o->texts = xrealloc(o->texts, (o->n_texts + 1) * sizeof(*o->texts));
    o->flags = xrealloc(o->flags, (o->n_texts + 1) * sizeof(*o->flags));
    o->flags[o->n_texts] = flag;
    o->texts[o->n_texts++] = text;
}

static void options_add_forward(struct options *o, const char *text)
{
    const char *eq = strchr(text, '=');
    if (eq == NULL || eq == text || eq[1] == '\0')
        fail(o, "-f takes LISTENER=URL, not %s", text);
    add_option(o, xasprintf("forward=%s", text), "-f");
}

static void add_key(struct options *o, const char *text)
{
    const char *eq = strchr(text, '=');
    if (eq == NULL || eq == text)
        fail(o, "-o takes KEY=VALUE, not %s", text);
    add_option(o, xstrdup(text), "-o");
}

/* The long option that WRITTEN, "--confg=x", may mean; "" when none is near. */
static const char *options_near(const char *written)
{
    struct str name = str_from_byte(str_from(written), 2);
    name.len = str_find(name, '=');
    for (const struct option *l = long_options; l->name != NULL; l++)
        if (suggest_is_near(name, str_from(l->name)))
            return l->name;
    return "";
}

/* WORD has it, perhaps among letters that are known. */
static void take_unknown(struct options *o, const char *word, bool is_missing)
{
    char letter[3] = {'-', (char)optopt, '\0'};
    bool is_long = strncmp(word, "--", 2) == 0;
    const char *name = is_long ? word : letter;
    const char *near = is_long ? options_near(name) : "";
    if (is_missing)
        fail(o, "option %s needs an argument", name);
    else if (near[0] != '\0' && !str_starts(str_from_byte(str_from(name), 2), str_from(near)))
        fail(o, "option %s is not known: did you mean --%s?", name, near);
    else
        fail(o, "option %s is not known, ambiguous, or takes no argument", name);
}

/* A flag that only `run` has, NAME. */
static bool is_for_run(struct options *o, const char *name)
{
    if (!o->source.is_run)
        fail(o, "%s is a flag of run: tlsfan run %s -- COMMAND", name, name);
    return o->source.is_run;
}

static void take_intercept(struct options *o, const char *patterns)
{
    if (!is_for_run(o, "--intercept"))
        return;
    o->source.run.intercept = patterns == NULL ? "" : patterns;
    if (patterns != NULL && *patterns == '\0')
        fail(o, "--intercept= takes hosts, divided by commas; without the = it is all of them");
}

static void take_readahead(struct options *o, const char *pages)
{
    uint64_t n = READAHEAD_PAGES;
    if (!is_for_run(o, "--read-ahead"))
        return;
    if (pages != NULL && (!str_to_u64(str_from(pages), &n) || n == 0 || n > READAHEAD_MAX))
        fail(o, "--read-ahead takes a number of pages from 1 to %d, not %s", READAHEAD_MAX, pages);
    o->source.run.readahead = (unsigned)n;
}

/* C is what getopt found in WORD. */
static void options_take(struct options *o, int c, const char *word)
{
    switch (c) {
    case 'c':
        o->source.file = optarg;
        break;
    case 'l':
        add_option(o, xasprintf("listen=%s", optarg), "-l");
        break;
    case 'f':
        options_add_forward(o, optarg);
        break;
    case 'o':
        add_key(o, optarg);
        break;
    case 's':
        add_option(o, xasprintf("service=%s", optarg), "-s");
        break;
    case 'H':
        o->action = ACTION_HEALTH;
        o->address = optarg;
        break;
    case 'M':
        o->action = ACTION_MAKE_CA;
        o->address = optarg;
        break;
    case 'I':
        take_intercept(o, optarg);
        break;
    case 'C':
        o->source.run.capture = is_for_run(o, "--capture");
        break;
    case 'R':
        take_readahead(o, optarg);
        break;
    case 'w':
        add_option(o, xasprintf("workers=%s", optarg), "-w");
        break;
    case 't':
        o->action = o->action == ACTION_DUMP ? ACTION_DUMP : ACTION_TEST;
        break;
    case 'T':
        o->action = ACTION_DUMP;
        break;
    case 'V':
        o->action = ACTION_VERSION;
        break;
    case 'h':
        o->action = ACTION_HELP;
        break;
    default:
        take_unknown(o, word, c == ':');
    }
}

/* True when an action was asked for that is done at once: whatever follows on the line is not
 * looked at. */
static bool is_final(const struct options *o)
{
    return o->action == ACTION_VERSION || o->action == ACTION_HELP;
}

/* Up to the first word that is no option. */
static void take_options(struct options *o, int argc, char **argv)
{
    int c = 0;
    while (c != -1 && !is_final(o)) {
        const char *word = argv[optind > 0 ? optind : 1];
        c = getopt_long(argc, argv, short_options, long_options, NULL);
        if (c != -1)
            options_take(o, c, word);
    }
}

/* Nobody could reach them but COMMAND, and it is led to others. */
static void check_capture_alone(struct options *o)
{
    for (unsigned i = 1; i < o->n_texts && o->source.run.capture; i++)
        if (strncmp(o->texts[i], "listen=", 7) == 0 || strncmp(o->texts[i], "forward=", 8) == 0)
            fail(o,
                 "with --capture there is no listener but those of the command's network: leave "
                 "out %s",
                 o->texts[i][0] == 'l' ? "-l" : "-f");
}

/* `run`, more options, then COMMAND; OPTIND stands on `run`. */
static void take_run(struct options *o, int argc, char **argv)
{
    o->source.is_run = true;
    if (o->action == ACTION_SERVE)
        o->action = ACTION_RUN;
    /* In front of all others: a list is replaced by its first option, and -l adds to it. */
    add_option(o, NULL, NULL);
    memmove(o->texts + 1, o->texts, (o->n_texts - 1) * sizeof(*o->texts));
    memmove(o->flags + 1, o->flags, (o->n_texts - 1) * sizeof(*o->flags));
    o->texts[0] = xstrdup("listen=127.0.0.1:0");
    o->flags[0] = "run";
    optind++;
    take_options(o, argc, argv);
    o->command = argv + optind;
    check_capture_alone(o);
    if (o->action == ACTION_RUN && optind >= argc)
        fail(o, "run needs a command: tlsfan run -- COMMAND");
}

enum exit_status options_parse(struct options *o, int argc, char **argv)
{
    memset(o, 0, sizeof(*o));
    optind = 0; /* GNU: begin anew, for a program that parses more than once */
    opterr = 0;
    take_options(o, argc, argv);
    if (o->action == ACTION_MAKE_CA)
        o->command = argv + optind;
    else if (!is_final(o) && optind < argc && strcmp(argv[optind], "run") == 0)
        take_run(o, argc, argv);
    else if (o->action == ACTION_HEALTH && o->address == NULL && optind == argc - 1)
        o->address = argv[optind];
    else if (!is_final(o) && optind < argc)
        fail(o, "%s is no option and no command of tlsfan%s", argv[optind],
             access(argv[optind], R_OK) == 0 ? ": a configuration file is named with -c" : "");
    o->source.environment = environ;
    o->source.options = (const char **)o->texts;
    o->source.flags = o->flags;
    o->source.n_options = o->n_texts;
    if (o->fault == NULL || is_final(o))
        return STATUS_OK;
    return o->source.is_run ? STATUS_RUN_FAILED : STATUS_USAGE;
}

void options_clear(struct options *o)
{
    for (unsigned i = 0; i < o->n_texts; i++)
        free(o->texts[i]);
    free(o->texts);
    free(o->flags);
    free(o->fault);
    memset(o, 0, sizeof(*o));
}

void options_help(FILE *out)
{
    fputs(help_text, out);
}
