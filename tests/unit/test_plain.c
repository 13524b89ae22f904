/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/plain.c: what is said where an origin speaks plain HTTP; and that what a client chose
 * gets into no command line. That the advice works when it is pasted is test_73_run_end.py's. */
#include "conf_file_fixture.h"

#include "conf/conf_load.h"
#include "conf/rule.h"
#include "exchange/plain.h"

static struct exchange x;
static struct source_side side;
static struct conf *conf;

/* With TEXT in a file (NULL: none) and an option (NULL: none). */
static void configure(const char *text, const char *option, bool is_run)
{
    const char *options[] = {"client.allow=loopback", option};
    struct conf_faults faults = {0};
    struct conf_source src = {
        .options = options, .n_options = option == NULL ? 1 : 2, .is_run = is_run};
    if (text != NULL) {
        put(text);
        src.file = path;
    }
    conf_unref(&conf);
    conf = conf_load(&src, &faults);
    if (conf == NULL)
        fail_msg("%s", faults.text);
}

/* An http:// request for HOST:PORT, which is 443 where none was written, fails by F. */
static void fail_by(const char *host, uint16_t port, struct fault *f)
{
    memset(&x, 0, sizeof(x));
    x.conf = conf;
    x.from = &side;
    x.rule = rule_find(conf, str_from(host), port);
    x.where = (struct up_where){.conf = conf,
                                .rule = x.rule,
                                .host = str_from(host),
                                .port = port,
                                .rule_port = port,
                                .tls = true};
    x.rewrite.is_upgraded = true;
    plain_advise(&x, f);
}

/* The sentence for an origin that speaks plain HTTP, or perhaps does. */
static const char *told_by(enum fault_code code, const char *host, uint16_t port)
{
    static struct fault f;
    fault_set(&f, code, "FAULT");
    f.is_plain = true;
    fail_by(host, port, &f);
    return f.text;
}

static const char *told(const char *host, uint16_t port, bool perhaps)
{
    return told_by(perhaps ? FAULT_UP_CLOSED : FAULT_TLS_PROTOCOL, host, port);
}

#define FILE_3 "/tmp/tlsfan_conf_file."

static void under_run(void **state)
{
    (void)state;
    configure(NULL, NULL, true);
    assert_string_equal(told("localhost", 9200, false),
                        "FAULT; if that is right, start tlsfan run with -o "
                        "'rule[localhost:9200].upgrade=off', or with no_proxy=localhost in its "
                        "environment");
    assert_string_equal(told("h.test", 443, true),
                        "FAULT: perhaps it speaks plain HTTP; if so, start tlsfan run with -o "
                        "'rule[h.test].upgrade=off', or with no_proxy=h.test in its environment");
    assert_non_null(strstr(told("::1", 9200, true), " -o 'rule[[::1]:9200].upgrade=off', or"));
    /* There is no no_proxy where the network leads here by itself. */
    struct source_turned turned = {.is_captured = true};
    side.turned = &turned;
    assert_string_equal(told("h.test", 80, false),
                        "FAULT; if that is right, start tlsfan run with -o "
                        "'rule[h.test:80].upgrade=off'");
    side.turned = NULL;
}

/* The rule that is written first holds, and options come last. */
static void under_run_with_rules(void **state)
{
    (void)state;
    configure("\nrule \"*\" { lenient = off }\n", NULL, true);
    const char *text = told("localhost", 9200, false);
    assert_non_null(strstr(text,
                           "; if that is right, write rule \"localhost:9200\" { upgrade = off "
                           "} in front of rule \"*\" (" FILE_3));
    assert_non_null(strstr(text, ":2), or with no_proxy=localhost"));
    configure("rule \"localhost\" { lenient = off }\n", NULL, true);
    assert_non_null(
        strstr(told("localhost", 9200, false), " -o 'rule[localhost].upgrade=off', or"));
    configure(NULL, "rule[*].lenient=off", true);
    assert_non_null(
        strstr(told("localhost", 9200, false),
               " -o 'rule[localhost:9200].upgrade=off' in front of -o rule[*].lenient"));
}

static void served(void **state)
{
    (void)state;
    configure(NULL, NULL, false);
    assert_string_equal(told("h.test", 8080, false),
                        "FAULT; if that is right, start tlsfan with -o "
                        "'rule[h.test:8080].upgrade=off'");
    configure("via = off\n", NULL, false);
    assert_non_null(
        strstr(told("h.test", 8080, false),
               "; if that is right, write rule \"h.test:8080\" { upgrade = off } into " FILE_3));
    configure("\nrule \"*.test\" { lenient = off }\n", NULL, false);
    assert_non_null(strstr(told("h.test", 8080, true),
                           "; if so, write rule \"h.test:8080\" { upgrade = off } in front of rule "
                           "\"*.test\" (" FILE_3));
    configure("\nrule \"h.test\" { lenient = off }\n", NULL, false);
    assert_non_null(strstr(told("h.test", 8080, true),
                           "; if so, add upgrade = off to rule \"h.test\" (" FILE_3));
}

/* A path is in no field value as it is. */
static void odd_paths(void **state)
{
    struct rule odd = {
        .host = "h.test", .pattern = "h.test", .where = "/\xc3\xbc\r\n.conf:3", .index = 1};
    struct fault f;
    (void)state;
    configure("via = off\n", NULL, false);
    fault_set(&f, FAULT_TLS_PROTOCOL, "FAULT");
    fail_by("h.test", 8080, &f);
    f.is_plain = true;
    x.rule = &odd;
    plain_advise(&x, &f);
    assert_string_equal(
        f.text, "FAULT; if that is right, add upgrade = off to rule \"h.test\" (/????.conf:3)");
}

/* A person may paste it. */
static void names_for_a_shell(void **state)
{
    static const char *const names[] = {"a';reboot;'", "$(reboot)", "a]b", "a b", "", "-\\x"};
    (void)state;
    configure(NULL, NULL, true);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_string_equal(told(names[i], 9200, false),
                            "FAULT; if that is right, upgrade = off in a rule for this host allows "
                            "it");
    char name[300];
    memset(name, 'a', sizeof(name));
    name[255] = '\0';
    struct fault f;
    fault_set(&f, FAULT_TLS_PROTOCOL, "%.*s", 250, name);
    f.is_plain = true;
    fail_by(name, 9200, &f);
    assert_int_equal(strlen(f.text), 250); /* whole or not at all */
}

static void nobody_at_443(void **state)
{
    struct fault f;
    (void)state;
    configure(NULL, NULL, true);
    fault_set(&f, FAULT_REFUSED, "REFUSED");
    fail_by("localhost", 443, &f);
    assert_string_equal(f.text, "REFUSED; if it serves plain HTTP at port 80 alone, start tlsfan "
                                "run with -o 'rule[localhost].upgrade=off', or with "
                                "no_proxy=localhost in its environment");
    fault_set(&f, FAULT_REFUSED, "REFUSED");
    fail_by("localhost", 9200, &f);
    assert_string_equal(f.text, "REFUSED");
    configure(NULL, "connect_to=localhost:443:127.0.0.1:1", true);
    fail_by("localhost", 443, &f);
    assert_string_equal(f.text, "REFUSED");
}

/* As servers are that wait for the end of a head. */
static void silent(void **state)
{
    (void)state;
    configure(NULL, NULL, false);
    assert_string_equal(told_by(FAULT_CONNECT_TIMEOUT, "h.test", 8080),
                        "FAULT: perhaps it speaks plain HTTP; if so, start tlsfan with -o "
                        "'rule[h.test:8080].upgrade=off'");
    assert_string_equal(told_by(FAULT_CONNECT_TIMEOUT, "h.test", 443), "FAULT");
}

/* Where no rule would help, or there is no telling. */
static void no_advice(void **state)
{
    struct fault f;
    (void)state;
    configure(NULL, NULL, false);
    fault_set(&f, FAULT_UP_CLOSED, "CLOSED");
    fail_by("h", 443, &f);
    assert_string_equal(f.text, "CLOSED");
    configure(NULL, "upstream.proxy=http://p:1", false);
    assert_string_equal(told("h", 443, true), "FAULT");
    configure(NULL, NULL, false);
    (void)told("h", 443, true);
    x.rewrite.is_upgraded = false; /* the URL says https:// */
    f.is_plain = true;
    plain_advise(&x, &f);
    assert_string_equal(f.text, "CLOSED");
    struct forward forward = {.listener = "127.0.0.1:9001"};
    x.rewrite.forward = &forward;
    plain_advise(&x, &f);
    assert_string_equal(f.text, "CLOSED: perhaps it speaks plain HTTP; if so, write http:// in the "
                                "`to` of forward \"127.0.0.1:9001\"");
}

static int close_all(void **state)
{
    conf_unref(&conf);
    return remove_file(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(under_run),     cmocka_unit_test(under_run_with_rules),
        cmocka_unit_test(served),        cmocka_unit_test(names_for_a_shell),
        cmocka_unit_test(nobody_at_443), cmocka_unit_test(silent),
        cmocka_unit_test(no_advice),     cmocka_unit_test(odd_paths),
    };
    return cmocka_run_group_tests(tests, make_file, close_all);
}
