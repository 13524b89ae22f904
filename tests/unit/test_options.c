/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: flags become configuration options in their order, and what is wrong is one
 * sentence. The file under test belongs to the program, not to the library, hence the include. */
#include "../../proxy/options.c"

#include <setjmp.h>
#include <cmocka.h>

enum { WORDS_MAX = 16 };

/* Parses "tlsfan" and WORDS, which are divided by single spaces. */
static enum exit_status parse(struct options *o, char *words)
{
    static char program[] = "tlsfan";
    static char *argv[WORDS_MAX + 2];
    int argc = 1;
    argv[0] = program;
    for (char *p = words; p != NULL && *p != '\0' && argc <= WORDS_MAX;) {
        argv[argc++] = p;
        p = strchr(p, ' ');
        if (p != NULL)
            *p++ = '\0';
    }
    argv[argc] = NULL;
    return options_parse(o, argc, argv);
}

static void test_flags_become_options(void **state)
{
    char words[] = "-c a.conf -l 127.0.0.1:1 --listen=unix:/s -f :2=https://x -o via=off -w 3";
    static const char *const want[] = {"listen=127.0.0.1:1", "listen=unix:/s",
                                       "forward=:2=https://x", "via=off", "workers=3"};
    struct options o;
    (void)state;
    assert_int_equal(parse(&o, words), STATUS_OK);
    assert_int_equal(o.action, ACTION_SERVE);
    assert_string_equal(o.source.file, "a.conf");
    assert_false(o.source.is_run);
    assert_int_equal(o.source.n_options, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_string_equal(o.source.options[i], want[i]);
    options_clear(&o);
}

static void test_actions(void **state)
{
    static const struct {
        const char *words;
        enum action action;
    } rows[] = {
        {"", ACTION_SERVE},
        {"-t", ACTION_TEST},
        {"--test", ACTION_TEST},
        {"-T", ACTION_DUMP},
        {"-t -T", ACTION_DUMP},
        {"-T -t", ACTION_DUMP},
        {"-V", ACTION_VERSION},
        {"--version", ACTION_VERSION},
        {"-h", ACTION_HELP},
        {"--help", ACTION_HELP},
        {"-h --nonsense", ACTION_HELP},
        {"run true", ACTION_RUN},
        {"run -- true", ACTION_RUN},
        {"-t run -- true", ACTION_TEST},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char words[64];
        struct options o;
        snprintf(words, sizeof(words), "%s", rows[i].words);
        assert_int_equal(parse(&o, words), STATUS_OK);
        assert_int_equal(o.action, rows[i].action);
        options_clear(&o);
    }
}

static void test_run(void **state)
{
    char words[] = "-l 127.0.0.1:1 run -c f -o via=off -- curl -c x --help";
    struct options o;
    (void)state;
    assert_int_equal(parse(&o, words), STATUS_OK);
    assert_true(o.source.is_run);
    assert_string_equal(o.source.file, "f");
    assert_int_equal(o.source.n_options, 3);
    assert_string_equal(o.source.options[0], "listen=127.0.0.1:0");
    assert_string_equal(o.source.options[1], "listen=127.0.0.1:1");
    assert_string_equal(o.source.options[2], "via=off");
    assert_string_equal(o.command[0], "curl");
    assert_string_equal(o.command[1], "-c");
    assert_string_equal(o.command[3], "--help");
    assert_null(o.command[4]);
    options_clear(&o);
}

static void test_run_capture(void **state)
{
    char words[] = "run --capture --intercept --read-ahead=3 -s off -- true --capture";
    struct options o;
    (void)state;
    assert_int_equal(parse(&o, words), STATUS_OK);
    assert_true(o.source.run.capture);
    assert_string_equal(o.source.run.intercept, "");
    assert_int_equal(o.source.run.readahead, 3);
    options_clear(&o);
    char plain[] = "run -- true --capture";
    assert_int_equal(parse(&o, plain), STATUS_OK);
    assert_false(o.source.run.capture);
    options_clear(&o);
}

static void test_faults(void **state)
{
    static const struct {
        const char *words;
        enum exit_status status;
        const char *named; /* in the sentence */
    } rows[] = {
        {"--nonsense", STATUS_USAGE, "--nonsense"},
        {"--confg x", STATUS_USAGE, "did you mean --config?"},
        {"--wrokers=3", STATUS_USAGE, "did you mean --workers?"},
        {"-x", STATUS_USAGE, "-x"},
        {"-tx", STATUS_USAGE, "-x"},
        {"-c", STATUS_USAGE, "-c"},
        {"--workers", STATUS_USAGE, "--workers"},
        {"--test=1", STATUS_USAGE, "--test"},
        {"stray", STATUS_USAGE, "stray"},
        {"-o novalue", STATUS_USAGE, "novalue"},
        {"-o =v", STATUS_USAGE, "=v"},
        {"-f 127.0.0.1:1", STATUS_USAGE, "127.0.0.1:1"},
        {"-f 127.0.0.1:1=", STATUS_USAGE, "127.0.0.1:1="},
        {"-x --nonsense", STATUS_USAGE, "-x"},
        {"--test -xt", STATUS_USAGE, "option -x"},
        {"--test -Ht", STATUS_USAGE, "option -H"},
        {"run", STATUS_RUN_FAILED, "command"},
        {"run --", STATUS_RUN_FAILED, "command"},
        {"--capture", STATUS_USAGE, "--capture"},
        {"run --capture=yes -- true", STATUS_RUN_FAILED, "--capture"},
        {"-l 127.0.0.1:1 run --capture -- true", STATUS_RUN_FAILED, "-l"},
        {"run --capture -f 127.0.0.1:1=http://h -- true", STATUS_RUN_FAILED, "-f"},
        {"--nonsense run -- true", STATUS_RUN_FAILED, "--nonsense"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char words[64];
        struct options o;
        snprintf(words, sizeof(words), "%s", rows[i].words);
        assert_int_equal(parse(&o, words), rows[i].status);
        assert_non_null(strstr(o.fault, rows[i].named));
        options_clear(&o);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags_become_options),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_run_capture),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
