/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys against itself and against the example file. TLSFAN_SOURCE_DIR comes from the
 * build. */
#include "conf/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "conf/conf_load.h"
#include "conf/value.h"

static char *example(void)
{
    return xstrdup(TLSFAN_SOURCE_DIR "/conf/tlsfan.conf");
}

static struct conf *load(const char *file, const char **options, unsigned n)
{
    struct conf_source src = {.file = file, .options = options, .n_options = n};
    struct conf_faults faults = {0};
    struct conf *c = conf_load(&src, &faults);
    if (c == NULL)
        fail_msg("%s", faults.text);
    free(faults.text);
    return c;
}

static void names_are_found(void **state)
{
    (void)state;
    for (int scope = 0; scope < KEY_SCOPES; scope++) {
        unsigned n;
        const struct key *keys = keys_of((enum key_scope)scope, &n);
        for (unsigned i = 0; i < n; i++) {
            assert_ptr_equal(key_find((enum key_scope)scope, str_from(keys[i].name)), &keys[i]);
            assert_non_null(keys[i].help);
            assert_non_null(keys[i].def);
            if (keys[i].type == KEY_CHOICE || keys[i].type == KEY_FLAG)
                assert_non_null(keys[i].choices);
        }
    }
    assert_null(key_find(KEY_GLOBAL, STR("client")));
    assert_null(key_find(KEY_GLOBAL, STR("nothing")));
    assert_null(key_find(KEY_RULE, STR("http3")));
}

/* A new key of rules is marked, or told here not to be part of what a TLS context is made of. */
static void rule_keys_say_what_they_decide(void **state)
{
    (void)state;
    static const char *const nothing[] = {
        "upgrade",        "port",           "connect_to", "sni",         "verify",
        "http2",          "max_per_host",   "rate",       "retry_after", "response_timeout",
        "read_timeout",   "tunnel_timeout", "lenient",    "readahead",   "intercept",
        "request_header", "proxy"};
    unsigned n, n_global;
    const struct key *keys = keys_of(KEY_RULE, &n);
    for (unsigned i = 0; i < n; i++) {
        bool is_listed = false;
        for (size_t j = 0; j < sizeof(nothing) / sizeof(nothing[0]); j++)
            is_listed = is_listed || strcmp(nothing[j], keys[i].name) == 0;
        if (is_listed == (keys[i].decides != DECIDES_NOTHING))
            fail_msg("rule key %s: mark it or list it", keys[i].name);
    }
    const struct key *globals = keys_of(KEY_GLOBAL, &n_global);
    for (unsigned i = 0; i < n_global; i++)
        if (str_starts(str_from(globals[i].name), STR("tls.")))
            assert_true(globals[i].in_base && globals[i].decides != DECIDES_NOTHING);
}

/* What a rule inherits is one field with the key that gives it. */
static void inherited_keys_have_a_base(void **state)
{
    (void)state;
    unsigned n, n_global;
    const struct key *keys = keys_of(KEY_RULE, &n);
    const struct key *globals = keys_of(KEY_GLOBAL, &n_global);
    for (unsigned i = 0; i < n; i++) {
        const struct key *base = NULL;
        for (unsigned j = 0; j < n_global; j++)
            if (globals[j].in_base && globals[j].offset == keys[i].offset)
                base = &globals[j];
        assert_int_equal(base != NULL, keys[i].inherits);
        if (base == NULL)
            continue;
        assert_int_equal(base->type, keys[i].type);
        assert_int_equal(base->decides, keys[i].decides);
        assert_false(key_is_list(base));
    }
}

/* What compares and keeps the values takes them for unsigned fields of the snapshot. */
static void keys_taken_at_start_are_numbers(void **state)
{
    (void)state;
    unsigned n_marked = 0;
    for (int scope = 0; scope < KEY_SCOPES; scope++) {
        unsigned n;
        const struct key *keys = keys_of((enum key_scope)scope, &n);
        for (unsigned i = 0; i < n; i++) {
            if (!keys[i].at_start)
                continue;
            assert_true(scope == KEY_GLOBAL && !keys[i].in_base);
            assert_true(keys[i].type == KEY_NUMBER || keys[i].type == KEY_WORKERS);
            n_marked++;
        }
    }
    assert_int_equal(n_marked, 2);
}

static void environment_names(void **state)
{
    (void)state;
    char name[KEY_ENV_MAX];
    const struct key *k = key_find(KEY_GLOBAL, STR("tls.ca_file"));
    assert_string_equal(key_env_name(k, name), "TLSFAN_TLS_CA_FILE");
    assert_ptr_equal(key_find_env(STR("TLSFAN_TLS_CA_FILE")), k);
    assert_null(key_find_env(STR("TLSFAN_TLS")));
    unsigned n;
    const struct key *keys = keys_of(KEY_GLOBAL, &n);
    for (unsigned i = 0; i < n; i++)
        assert_ptr_equal(key_find_env(str_from(key_env_name(&keys[i], name))), &keys[i]);
}

/* A default that cannot be read would leave a field at zero without a word. */
static void defaults_are_valid(void **state)
{
    (void)state;
    unsigned n;
    const struct key *keys = keys_of(KEY_GLOBAL, &n);
    for (unsigned i = 0; i < n; i++) {
        if (keys[i].def[0] == '\0' || key_is_list(&keys[i]))
            continue;
        char *option = xasprintf("%s=%s", keys[i].name, keys[i].def);
        const char *options[] = {option};
        struct conf *c = load(NULL, options, 1);
        conf_unref(&c);
        free(option);
    }
}

static void example_is_the_defaults(void **state)
{
    (void)state;
    char *path = example();
    struct conf *written = load(path, NULL, 0);
    struct conf *unwritten = load(NULL, NULL, 0);
    char *a = conf_dump(written);
    char *b = conf_dump(unwritten);
    assert_string_equal(a, b);
    free(a);
    free(b);
    conf_unref(&written);
    conf_unref(&unwritten);
    free(path);
}

static char *read_text(const char *path)
{
    FILE *fp = fopen(path, "r");
    assert_non_null(fp);
    char *text = xcalloc(1, 65536);
    assert_true(fread(text, 1, 65535, fp) > 0);
    fclose(fp);
    return text;
}

/* The text of the section "NAME {", a commented one too. */
static const char *section_at(const char *text, struct str name)
{
    if (name.len == 0)
        return text;
    char *open = xasprintf("\n%.*s {\n", STR_ARG(name));
    const char *at = strstr(text, open);
    if (at != NULL)
        at += strlen(open) - 1;
    free(open);
    return at;
}

static void assert_written(const char *from, const char *until, const char *before,
                           const char *name)
{
    char *line = xasprintf("\n%s%s = ", before, name);
    const char *at = from == NULL ? NULL : strstr(from, line);
    if (at == NULL || (until != NULL && at > until))
        fail_msg("%s is not in the example file", name);
    free(line);
}

static void example_has_every_key(void **state)
{
    (void)state;
    char *path = example();
    char *text = read_text(path);
    unsigned n;
    const struct key *keys = keys_of(KEY_GLOBAL, &n);
    for (unsigned i = 0; i < n; i++) {
        struct str name = str_from(keys[i].name);
        size_t dot = str_find(name, '.');
        bool is_top = dot == name.len;
        const char *from = section_at(text, is_top ? STR("") : str_make(name.p, dot));
        const char *end = from == NULL || is_top ? NULL : strstr(from, "\n}");
        assert_written(from, end, is_top ? "" : "    ", name.p + (is_top ? 0 : dot + 1));
    }
    const char *rule = strstr(text, "\n#rule ");
    const char *forward = strstr(text, "\n#forward ");
    assert_non_null(rule);
    assert_non_null(forward);
    keys = keys_of(KEY_RULE, &n);
    for (unsigned i = 0; i < n; i++)
        assert_written(rule, forward, "#    ", keys[i].name);
    keys = keys_of(KEY_FORWARD, &n);
    for (unsigned i = 0; i < n; i++)
        assert_written(forward, NULL, "#    ", keys[i].name);
    free(text);
    free(path);
}

/* What is commented out there must be right when somebody takes the '#' away. */
static void example_sections_are_valid(void **state)
{
    (void)state;
    char *path = example();
    char *text = read_text(path);
    char name[] = "/tmp/test_keys.XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    FILE *fp = fdopen(fd, "w");
    bool in_comment = false;
    struct str rest = str_from(text);
    while (rest.len > 0) {
        struct str line = str_make(rest.p, str_find(rest, '\n'));
        rest = str_from_byte(rest, line.len + 1);
        in_comment =
            in_comment || str_starts(line, STR("#rule")) || str_starts(line, STR("#forward"));
        if (in_comment)
            fprintf(fp, "%.*s\n", STR_ARG(str_from_byte(line, 1)));
        in_comment = in_comment && !str_eq(line, STR("#}"));
    }
    fclose(fp);
    struct conf *c = load(name, NULL, 0);
    assert_int_equal(c->n_rules, 2);
    assert_int_equal(c->n_forwards, 1);
    assert_int_equal(c->rules[1].response_timeout, 60000);
    conf_unref(&c);
    unlink(name);
    free(text);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(environment_names),
        cmocka_unit_test(rule_keys_say_what_they_decide),
        cmocka_unit_test(inherited_keys_have_a_base),
        cmocka_unit_test(keys_taken_at_start_are_numbers),
        cmocka_unit_test(defaults_are_valid),
        cmocka_unit_test(example_is_the_defaults),
        cmocka_unit_test(example_has_every_key),
        cmocka_unit_test(example_sections_are_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
