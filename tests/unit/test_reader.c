/* SPDX-License-Identifier: Apache-2.0 */
/* conf/reader.c: what the file says becomes texts with the lines they stand in; sections, lists and
 * where reading ends. What values mean is build's. */
#include "conf/reader.h"

#include "conf_file_fixture.h"

static struct settings s;
static struct conf_faults faults;

static int clear(void **state)
{
    (void)state;
    settings_clear(&s);
    conf_files_clear(&files);
    free(faults.text);
    faults = (struct conf_faults){0};
    return 0;
}

static void read_text(const char *text)
{
    put(text);
    settings_init(&s);
    reader_add_file(&s, &files, path, &faults);
}

static const struct setting *global(const char *name)
{
    return section_setting(s.global, key_find(KEY_GLOBAL, str_from(name)));
}

static void assert_value(const struct setting *setting, unsigned i, const char *text, unsigned line)
{
    char *where = xasprintf("%s:%u", path, line);
    assert_true(i < setting->n);
    assert_string_equal(setting->v[i].text, text);
    assert_string_equal(setting->v[i].where, where);
    assert_int_equal(setting->source, FROM_FILE);
    free(where);
}

static void texts_have_their_lines(void **state)
{
    (void)state;
    read_text("via = off\nclient {\n  lenient = on # why\n  max_head = \"64k\"\n}\n"
              "listen = {\"127.0.0.1:1\",\n\"127.0.0.1:2\"}\n");
    assert_null(faults.text);
    assert_false(s.is_partial);
    assert_value(global("via"), 0, "off", 1);
    assert_value(global("client.lenient"), 0, "on", 3);
    assert_value(global("client.max_head"), 0, "64k", 4);
    assert_int_equal(global("listen")->n, 2);
    assert_value(global("listen"), 0, "127.0.0.1:1", 6);
    assert_value(global("listen"), 1, "127.0.0.1:2", 7);
    assert_int_equal(global("workers")->source, FROM_NOWHERE);
}

static void lists_are_written_anew_added_to_and_emptied(void **state)
{
    (void)state;
    read_text("listen = {\"a\"}\nlisten += {\"b\"}\ndestination {\n connect_ports = {}\n"
              " ports = {\"1\"}\n ports = {\"2\"}\n}\n");
    assert_null(faults.text);
    assert_int_equal(global("listen")->n, 2);
    assert_value(global("listen"), 1, "b", 2);
    assert_int_equal(global("destination.ports")->n, 1);
    assert_value(global("destination.ports"), 0, "2", 6);
    /* Its default has an element: that there is none was written. */
    assert_int_equal(global("destination.connect_ports")->n, 0);
    assert_int_equal(global("destination.connect_ports")->source, FROM_FILE);
    assert_int_equal(global("destination.deny")->source, FROM_NOWHERE);
}

static void sections_are_kept_in_order(void **state)
{
    (void)state;
    read_text("rule \"b\" {\n port = 1\n}\nrule \"a\" {}\nforward \"127.0.0.1:1\" {\n"
              "to = \"https://h\"\n}\n");
    assert_null(faults.text);
    assert_int_equal(s.n_rules, 2);
    assert_string_equal(s.rules[0]->title, "b");
    assert_string_equal(s.rules[1]->title, "a");
    assert_value(section_setting(s.rules[0], key_find(KEY_RULE, STR("port"))), 0, "1", 2);
    assert_int_equal(s.n_forwards, 1);
    assert_value(section_setting(s.forwards[0], key_find(KEY_FORWARD, STR("to"))), 0, "https://h",
                 6);
}

/* What stands behind the fault may have been the rest of it. */
static void reading_ends_at_a_fault(void **state)
{
    (void)state;
    read_text("via = off\nnonsense = 1\nworkers = 1\n");
    assert_non_null(strstr(faults.text, ":2: unknown key \"nonsense\"\n"));
    assert_int_equal(faults.n, 1);
    assert_true(s.is_partial);
    assert_value(global("via"), 0, "off", 1);
    assert_int_equal(global("workers")->source, FROM_NOWHERE);
    clear(NULL);
    read_text("workers = 1\n"); /* the next one begins from the start */
    assert_null(faults.text);
    assert_false(s.is_partial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(texts_have_their_lines, clear),
        cmocka_unit_test_teardown(lists_are_written_anew_added_to_and_emptied, clear),
        cmocka_unit_test_teardown(sections_are_kept_in_order, clear),
        cmocka_unit_test_teardown(reading_ends_at_a_fault, clear),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
