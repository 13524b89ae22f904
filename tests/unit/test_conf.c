/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the configuration: file, environment and options; faults with their lines; open
 * listeners; rules and forwards. A case is a text, what must come of it, and nothing outside /tmp.
 * */
#include "conf/conf.h"
#include "conf/conf_load.h"
#include "conf/policy.h"
#include "conf/rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static char *main_file, *other_file;

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test_conf.XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    main_file = xasprintf("%s/a.conf", dir);
    other_file = xasprintf("%s/b.conf", dir);
    setenv("TEST_CONF_SET", "www.example.com", 1);
    unsetenv("TEST_CONF_UNSET");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(main_file);
    unlink(other_file);
    rmdir(dir);
    free(main_file);
    free(other_file);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *fp = fopen(path, "w");
    assert_non_null(fp);
    fputs(text, fp);
    fclose(fp);
}

/* Up to four options or variables, NULL at the end. */
struct input {
    const char *file; /* its text, NULL: none */
    const char *options[5];
    const char *flags[5]; /* of the options; NULL: -o */
    const char *environment[5];
    bool is_run, capture;
};

static struct conf *load(const struct input *in, struct conf_faults *faults)
{
    struct conf_source src = {.options = (const char **)in->options,
                              .flags = (const char **)in->flags,
                              .environment = (char **)in->environment,
                              .is_run = in->is_run,
                              .run.capture = in->capture};
    while (in->options[src.n_options] != NULL)
        src.n_options++;
    if (in->file != NULL) {
        write_file(main_file, in->file);
        src.file = main_file;
    }
    *faults = (struct conf_faults){0};
    return conf_load(&src, faults);
}

static struct conf *load_good(const struct input *in)
{
    struct conf_faults faults;
    struct conf *c = load(in, &faults);
    if (c == NULL)
        fail_msg("%s", faults.text);
    return c;
}

#define GOOD(...) load_good(&(struct input){__VA_ARGS__})

/* FAULTS is the whole text, '^' standing for the file. */
static void expect_faults(const struct input *in, const char *expected)
{
    struct conf_faults faults;
    struct conf *c = load(in, &faults);
    assert_null(c);
    char *text = xstrdup("");
    for (const char *p = expected; *p != '\0'; p++) {
        char one[2] = {*p, '\0'};
        char *longer = xasprintf("%s%s", text, *p == '^' ? main_file : one);
        free(text);
        text = longer;
    }
    assert_string_equal(faults.text, text);
    free(text);
    free(faults.text);
}

#define BAD(expected, ...) expect_faults(&(struct input){__VA_ARGS__}, expected)

static void defaults(void **state)
{
    (void)state;
    struct conf *c = GOOD(.file = NULL);
    assert_int_equal(c->n_listeners, 2);
    assert_string_equal(c->listeners[0].text, "127.0.0.1:3128");
    assert_string_equal(c->listeners[1].text, "127.0.0.1:3129");
    assert_true(c->listeners[1].kind == LISTENER_SERVICE && c->listeners[0].kind == LISTENER_PROXY);
    assert_true(c->workers > 0);
    assert_int_equal(c->max_memory, 1 << 30);
    assert_int_equal(c->drain_timeout, 30000);
    assert_int_equal(c->client.max_head, 65536);
    assert_int_equal(c->destination.connect_ports.n, 1);
    assert_int_equal(c->destination.connect_ports.v[0], 443);
    assert_int_equal(c->n_rules, 1);
    assert_int_equal(c->rules[0].response_timeout, 60000);
    assert_int_equal(c->rules[0].tunnel_timeout, 3600000);
    assert_int_equal(c->rules[0].max_per_host, 256);
    assert_int_equal(c->rules[0].tls.min_version, 0x0303);
    assert_true(c->rules[0].tls.verify && c->rules[0].upgrade);
    assert_true(c->log.format == LOG_FORMAT_AUTO && !c->log.query && c->via);
    assert_false(c->client.allow_is_set);
    conf_unref(&c);
    assert_null(c);
}

static void file_is_read(void **state)
{
    (void)state;
    struct conf *c = GOOD(.file = "# ${TEST_CONF_UNSET} in a comment\n"
                                  "max_memory = 64m /* ${TEST_CONF_UNSET} */\n"
                                  "// another\n"
                                  "client { idle_timeout = 500ms lenient = on }\n"
                                  "client { max_head = 8k }\n"
                                  "dns { servers = {\"127.0.0.1:5353\", ::1} family = ipv6 }\n"
                                  "destination { deny += {\"10.0.0.0/8\"} ports = {80, 443} "
                                  "connect_ports = {} allow_hosts = {'*.Example.com.'} }\n"
                                  "upstream { bind = \"127.0.0.2\" }\n"
                                  "connect_to = {\"A.example::[::1]:8443\", \":80::\"}\n");
    assert_int_equal(c->max_memory, 64 << 20);
    assert_int_equal(c->client.idle_timeout, 500);
    assert_int_equal(c->client.max_head, 8192);
    assert_true(c->client.lenient);
    assert_int_equal(c->dns.servers.n, 2);
    assert_int_equal(c->dns.family, AF_INET6);
    assert_int_equal(c->destination.ports.n, 2);
    assert_int_equal(c->destination.connect_ports.n, 0);
    assert_string_equal(c->destination.allow_hosts.v[0], "*.example.com");
    assert_true(c->destination.deny.n > 10);
    assert_true(c->upstream.bind4.len > 0 && c->upstream.bind6.len == 0);
    const struct connect_to *to = conf_connect_to(c, STR("a.example"), 443);
    assert_non_null(to);
    assert_string_equal(to->to_host, "::1");
    assert_int_equal(to->to_port, 8443);
    assert_ptr_equal(conf_connect_to(c, STR("b.example"), 80), &c->connect_to[1]);
    assert_null(conf_connect_to(c, STR("b.example"), 81));
    conf_unref(&c);
}

static void later_sources_win(void **state)
{
    (void)state;
    struct conf *c =
        GOOD(.file = "workers = 3\nclient { max_pipeline = 7 allow = {\"10.0.0.0/8\"} }\n"
                     "destination { ports = {1, 2} connect_ports = {3} }",
             .environment = {"TLSFAN_CLIENT_MAX_PIPELINE=8", "TLSFAN_DESTINATION_PORTS=4,5",
                             "PATH=/", "TLSFAN_CLIENT_ALLOW=private, loopback"},
             .options = {"workers=5", "destination.ports=6", "destination.ports=7",
                         "destination.connect_ports="});
    assert_int_equal(c->workers, 5);
    assert_int_equal(c->client.max_pipeline, 8);
    assert_int_equal(c->destination.ports.n, 2);
    assert_int_equal(c->destination.ports.v[0], 6);
    assert_int_equal(c->destination.ports.v[1], 7);
    assert_int_equal(c->destination.connect_ports.n, 0);
    struct addr a;
    assert_true(addr_parse_ip(&a, STR("192.168.1.1"), 0));
    assert_true(netset_has(&c->client.allow, &a));
    conf_unref(&c);
}

static void faults_have_lines(void **state)
{
    (void)state;
    BAD("^:2: unknown key \"client.alow\": did you mean allow?\n",
        .file = "client {\nalow = {} }\nworkers = x");
    BAD("^:1: unknown key \"nothing\"\n", .file = "nothing = \"127.0.0.1:3129\"");
    BAD("^:4: unknown key \"rule.http3\": did you mean http2?\n",
        .file = "/* a\n */\nrule x {\nhttp3 = on }");
}

static void many_faults_at_once(void **state)
{
    (void)state;
    BAD("^:1: workers: \"x\" is no number\n"
        "^:4: destination.ports: \"0\" is no port: 1 to 65535\n"
        "^:5: destination.ports: \"x\" is no port: 1 to 65535\n"
        "^:6: client.max_head: \"64q\" is no size: its unit must be k, m or g\n"
        "^:7: client.header_timeout: \"30\" lacks a unit: ms, s, m or h\n"
        "^:8: dns.family: \"ipv5\" is none of any, ipv4, ipv6\n"
        "^:9: via: \"maybe\" is neither on nor off\n"
        "^:10: min_version: \"2\" is none of 1.0, 1.1, 1.2, 1.3\n",
        .file = "workers = x\n\ndestination { ports = {80,\n 0,\n x} }\n"
                "client { max_head = 64q\nheader_timeout = 30 }\n"
                "dns { family = ipv5 }\nvia = maybe\nrule a { min_version = 2 }");
}

static void text_is_checked(void **state)
{
    (void)state;
    BAD("^:2: the variable TEST_CONF_UNSET is not set\n",
        .file = "via = on\nlog { access = \"/x/${TEST_CONF_UNSET}\" }");
    BAD("^:2: this { is not closed\n", .file = "via = on\nclient {\nlenient = on\n");
    BAD("^:1: this string is not closed\n", .file = "log { access = \"x\n}\n");
    BAD("^:1: * stands outside quotes: put the whole text into them, as in \"*.example.com\"\n",
        .file = "rule *.example.com { }");
    BAD("^:2: this comment is not closed\n", .file = "\n/* x\n");
    BAD("^:1: } without a section or list that it closes\n", .file = "}\n");
    BAD("^:2: missing equal sign after option 'via': write KEY = VALUE\n", .file = "\nvia on");
    BAD("^:1: premature end of file: a value or a \"}\" is missing\n", .file = "via");
    BAD("^:2: found duplicate title 'a'\n", .file = "rule a { }\nrule a { }");
    BAD("^:1: it begins with a byte order mark: save it as UTF-8 without one\n",
        .file = "\xef\xbb\xbfvia = on\n");
    struct conf *c = GOOD(.file = "rule \"${TEST_CONF_SET}\" { sni = \"${TEST_CONF_UNSET:-b}\" }\n"
                                  "log { access = '/tmp/${TEST_CONF_UNSET}' }");
    assert_string_equal(c->rules[1].host, "www.example.com");
    assert_string_equal(c->rules[1].sni, "b");
    assert_string_equal(c->log.access, "/tmp/${TEST_CONF_UNSET}");
    char *dump = conf_dump(c);
    conf_unref(&c);
    c = GOOD(.file = dump);
    assert_string_equal(c->log.access, "/tmp/${TEST_CONF_UNSET}");
    conf_unref(&c);
    free(dump);
}

/* What an operator is writing does not count before it is asked for. */
static void texts_are_kept(void **state)
{
    (void)state;
    struct conf_faults faults = {0};
    write_file(other_file, "workers = 4\n");
    struct conf *running = GOOD(.file = "include(\"b.conf\")\nvia = off");
    struct conf_source src = {.file = main_file, .running = running};
    write_file(other_file, "nonsense = 1");
    write_file(main_file, "include(\"b.conf\")\n");
    struct conf *again = conf_load(&src, &faults);
    assert_non_null(again);
    conf_unref(&running);
    src.running = again;
    write_file(main_file, "");
    struct conf *third = conf_load(&src, &faults);
    assert_non_null(third);
    assert_true(again->workers == 4 && !again->via && third->workers == 4 && !third->via);
    src.running = NULL;
    struct conf *asked = conf_load(&src, &faults);
    assert_non_null(asked);
    assert_true(asked->via);
    conf_unref(&again);
    conf_unref(&third);
    conf_unref(&asked);
}

static void includes(void **state)
{
    (void)state;
    write_file(other_file, "# one\nworkers = 4\nclient { lenient = on }\n");
    struct conf *c = GOOD(.file = "include(\"b.conf\")\nvia = off");
    assert_int_equal(c->workers, 4);
    assert_true(c->client.lenient && !c->via);
    conf_unref(&c);

    struct conf_faults faults;
    write_file(other_file, "\nclient { lenient = sometimes }\n");
    assert_null(load(&(struct input){.file = "include(\"b.conf\")\nworkers = no"}, &faults));
    char *expected = xasprintf("%s:2: workers: \"no\" is no number\n"
                               "%s:2: client.lenient: \"sometimes\" is neither on nor off\n",
                               main_file, other_file);
    assert_string_equal(faults.text, expected);
    free(expected);
    free(faults.text);

    write_file(other_file, "\n\nnonsense = 1\n");
    assert_null(load(&(struct input){.file = "include(\"b.conf\")\n"}, &faults));
    expected = xasprintf("%s:3: unknown key \"nonsense\"\n", other_file);
    assert_string_equal(faults.text, expected);
    free(expected);
    free(faults.text);

    write_file(other_file, "include(\"b.conf\")");
    assert_null(load(&(struct input){.file = "include(\"b.conf\")\n"}, &faults));
    assert_non_null(strstr(faults.text, "nested too deeply"));
    free(faults.text);

    /* A fault inside an include must not leave the parser in it. */
    c = GOOD(.file = "workers = 2");
    assert_int_equal(c->workers, 2);
    conf_unref(&c);
}

static void missing_file(void **state)
{
    (void)state;
    struct conf_source src = {.file = "/nonexistent/tlsfan.conf"};
    struct conf_faults faults = {0};
    assert_null(conf_load(&src, &faults));
    assert_string_equal(faults.text,
                        "/nonexistent/tlsfan.conf: cannot read it: No such file or directory\n");
    free(faults.text);
}

static void option_faults_name_the_option(void **state)
{
    (void)state;
    BAD("-o tls.ca_fle: unknown key: did you mean tls.ca_file?\n", .options = {"tls.ca_fle=/x"});
    BAD("-o: write KEY=VALUE, not \"via\"\n", .options = {"via"});
    BAD("-o via: \"x\" is neither on nor off\n", .options = {"via=x"});
    BAD("-o rule[a].prot: unknown key: did you mean rule[a].port?\n",
        .options = {"rule[a].prot=1"});
    BAD("TLSFAN_WORKERS: must be 1 to 1024\n", .environment = {"TLSFAN_WORKERS=0"});
    BAD("-f x: write LISTENER=URL\n", .options = {"forward=x"});
    BAD("-o forward=x: write LISTENER=URL\n", .options = {"forward=x"}, .flags = {"-o"});
    BAD("-w x: \"x\" is no number\n", .options = {"workers=x"}, .flags = {"-w"});
    BAD("-o listen: listener tls:127.0.0.1:1 has no certificate to show: set client.cert and "
        "client.key\n",
        .options = {"listen=tls:127.0.0.1:1"});
    BAD("-o client.cert: is set, but client.key is not\n",
        .options = {"listen=tls:127.0.0.1:1", "client.cert=/x"});
    BAD("-o client.key: is set, but client.cert is not\n", .options = {"client.key=/x"});
    BAD("-o listen: listener tls:0.0.0.0:1 is open to other machines: set client.allow, for "
        "example to {\"private\"}, or client.auth_file\n",
        .options = {"listen=tls:0.0.0.0:1", "client.cert=/x", "client.key=/x",
                    "client.client_ca=/x"});
}

static void unknown_variables_are_no_fault(void **state)
{
    (void)state;
    struct conf *c =
        GOOD(.environment = {"TLSFAN_PORT=tcp://10.0.0.1:3128", "TLSFAN_SERVICE_PORT_HTTP=1",
                             "TLSFAN_PORT_3128_TCP_ADDR=10.0.0.1"});
    conf_unref(&c);
}

static void rules(void **state)
{
    (void)state;
    struct conf *c =
        GOOD(.file =
                 "upstream { response_timeout = 7s }\n"
                 "tls { ca_extra = \"/e\" min_version = \"1.3\" }\n"
                 "rule \"*.Example.com:8080\" { port = 443 connect_to = \"10.0.0.1:8443\"\n"
                 " request_header = {\"X-A: b c \", \"Cookie:\"} read_timeout = 0 }\n"
                 "rule \"[::1]:99\" { ca_file = \"/c\" client_cert = \"/k\" max_per_host = 0 }\n"
                 "rule \"*\" { verify = off response_timeout = \"\" min_version = \"\" }",
             .options = {"rule[*.Example.com:8080].upgrade=off", "rule[[::1]:99].max_per_host=3",
                         "rule[new.example].sni=Other.Example"});
    assert_int_equal(c->n_rules, 5);
    const struct rule *r = &c->rules[1];
    assert_string_equal(r->host, "*.example.com");
    assert_int_equal(r->match_port, 8080);
    assert_int_equal(r->port, 443);
    assert_string_equal(r->connect_host, "10.0.0.1");
    assert_int_equal(r->connect_port, 8443);
    assert_false(r->upgrade);
    assert_int_equal(r->n_edits, 2);
    assert_string_equal(r->edits[0].value, "b c");
    assert_null(r->edits[1].value);
    assert_int_equal(r->read_timeout, 0);
    assert_int_equal(r->response_timeout, 7000);
    assert_string_equal(r->tls.ca_extra, "/e");
    r = &c->rules[2];
    assert_string_equal(r->host, "::1");
    assert_int_equal(r->max_per_host, 3);
    assert_string_equal(r->tls.ca_file, "/c");
    assert_string_equal(r->tls.ca_extra, "");
    assert_string_equal(r->tls.client_key, "/k");
    r = &c->rules[3];
    assert_false(r->tls.verify);
    assert_int_equal(r->response_timeout, 7000);
    assert_int_equal(r->tls.min_version, 0x0304);
    assert_string_equal(c->rules[4].sni, "other.example");
    conf_unref(&c);
}

static void rule_faults(void **state)
{
    (void)state;
    BAD("^:1: rule \"http://x/\": is not a name, \"*.suffix\" or \"*\", with \":port\" "
        "optionally; a rule is for hosts, without scheme and path\n",
        .file = "rule \"http://x/\" {\n}");
    BAD("^:2: rule \"a:1\": ^:1 has the same pattern\n",
        .file = "rule \"A:1\" { }\nrule \"a:1\" { }");
    BAD("^:2: request_header: {file:/nowhere}: No such file or directory\n",
        .file = "rule a {\n request_header = {\"Authorization: Bearer {file:/nowhere}\"} }");
    BAD("^:2: request_header: a secret goes nowhere without TLS: upgrade is off in this rule\n",
        .file = "rule a { upgrade = off\n request_header = {\"X: {file:/nowhere}\"} }");
    BAD("^:2: request_header: Host cannot be changed: the proxy makes it itself\n",
        .file = "rule a {\n request_header = \"Host: x\" }");
    BAD("-o rule[a].connect_to: \"10.0.0.1\" is not HOST:PORT\n",
        .options = {"rule[a].connect_to=10.0.0.1"});
}

static void secrets_are_masked(void **state)
{
    (void)state;
    struct conf *c = GOOD(.file = "rule a { request_header = {\"X-Key: s3cret\", \"X-Gone:\"} }");
    char *dump = conf_dump(c);
    assert_null(strstr(dump, "s3cret"));
    assert_non_null(strstr(dump, "request_header = {\"X-Key: ********\", \"X-Gone:\"}"));
    free(dump);
    conf_unref(&c);
}

static void forwards(void **state)
{
    (void)state;
    struct conf *c =
        GOOD(.file = "forward \"127.0.0.1:9001\" { to = \"https://API.example.com/v2/\"\n"
                     "host = client origins = {\"https://A.example:443\"} }",
             .options = {"forward=127.0.0.1:0=http://[::1]:80",
                         "forward[127.0.0.1:9001].hosts=X.example"},
             .environment = {"TLSFAN_FORWARD=unix:/tmp/x=https://b.example:444"});
    assert_int_equal(c->n_forwards, 3);
    assert_int_equal(c->n_listeners, 5);
    const struct forward *f = &c->forwards[0];
    assert_string_equal(f->host, "api.example.com");
    assert_string_equal(f->path, "/v2");
    assert_int_equal(f->port, 443);
    assert_true(f->tls && f->host_is_client);
    assert_string_equal(f->origins.v[0], "https://a.example");
    assert_string_equal(f->hosts.v[0], "x.example");
    assert_ptr_equal(c->listeners[2].forward, f);
    assert_int_equal(c->forwards[1].port, 444);
    assert_string_equal(c->forwards[2].host, "::1");
    assert_false(c->forwards[2].tls);
    conf_unref(&c);
    BAD("^:1: forward \"127.0.0.1:1\": to is not set\n", .file = "forward \"127.0.0.1:1\" { }");
    BAD("^:1: to: \"https://u@h/\" is not http(s)://HOST[:PORT][/PATH]\n",
        .file = "forward \"127.0.0.1:1\" { to = \"https://u@h/\" }");
    BAD("^:1: to: \"https://h/a/../b\" has an empty or a dot segment in its path\n",
        .file = "forward \"127.0.0.1:1\" { to = \"https://h/a/../b\" }");
}

static void open_listeners_are_refused(void **state)
{
    (void)state;
    BAD("-o listen: listener 0.0.0.0:3128 is open to other machines: set client.allow, for example "
        "to {\"private\"}, or client.auth_file\n",
        .options = {"listen=0.0.0.0:3128"});
    BAD("-f 0.0.0.0:1=https://h: forward 0.0.0.0:1 is open to other machines and asks for no "
        "credentials: set client.allow, for example to {\"private\"}\n",
        .options = {"forward=0.0.0.0:1=https://h"});
    BAD("-o listen: listener transparent:0.0.0.0:1 is open to other machines and asks for no "
        "credentials: set client.allow, for example to {\"private\"}\n",
        .options = {"listen=transparent:0.0.0.0:1"});
    BAD("-o listen: listener 127.0.0.1:1 is written twice\n",
        .options = {"listen=127.0.0.1:1", "listen=127.0.0.1:1"});
    BAD("-o listen: listener 127.0.0.1:1 is written twice\n",
        .options = {"listen=transparent:127.0.0.1:1", "listen=127.0.0.1:1"});
    struct conf *c = GOOD(.options = {"listen=0.0.0.0:3128", "client.allow=private"});
    assert_true(c->client.allow_is_set);
    conf_unref(&c);
    c = GOOD(.options = {"listen=unix:/tmp/x", "listen=[::1]:0", "service=off"});
    assert_int_equal(c->n_listeners, 2);
    conf_unref(&c);
    BAD("-o service: service listener 0.0.0.0:1 is open to other machines: set client.allow, for "
        "example to {\"private\"}, or client.auth_file\n",
        .options = {"service=0.0.0.0:1"});
    BAD("-o service: \"unix:/tmp/x\" is no service listener: write ADDR:PORT or off\n",
        .options = {"service=unix:/tmp/x"});
    BAD("-o service: service listener 127.0.0.1:1 takes the port of the proxy listener "
        "127.0.0.1:1 (-o listen), too: choose another\n",
        .options = {"listen=127.0.0.1:1", "service=127.0.0.1:1"});
    BAD("-l 127.0.0.1:3129: listener 127.0.0.1:3129 is also the service listener (its default): "
        "choose another port, or set service\n",
        .options = {"listen=127.0.0.1:3129"}, .flags = {"-l"});
    BAD("-s 127.0.0.1:3128: service listener 127.0.0.1:3128 is also the proxy listener (its "
        "default): choose another port, or set listen\n",
        .options = {"service=127.0.0.1:3128"}, .flags = {"-s"});
    BAD("-o listen: listener 0.0.0.0:3129 takes the port of the service listener, too "
        "(127.0.0.1:3129, its default): choose another, or set service\n",
        .options = {"listen=0.0.0.0:3129", "client.allow=any"});
}

static void auth_file_opens_allow(void **state)
{
    (void)state;
    write_file(other_file, "u:$2y$05$abcdefghijklmnopqrstuuGw3yJqp3G0fGmVnXrQOQbQ1Yx0C5w2W\n");
    char *option = xasprintf("client.auth_file=%s", other_file);
    struct conf *c = GOOD(.options = {"listen=0.0.0.0:3128", option});
    struct addr a;
    assert_true(addr_parse_ip(&a, STR("8.8.8.8"), 0));
    assert_true(netset_has(&c->client.allow, &a));
    assert_false(c->client.allow_is_set);
    assert_non_null(c->htpasswd);
    conf_unref(&c);
    /* A forward listener never asks for credentials, nor does one for turned connections. */
    BAD("-f 0.0.0.0:1=https://h: forward 0.0.0.0:1 is open to other machines and asks for no "
        "credentials: set client.allow, for example to {\"private\"}\n",
        .options = {"forward=0.0.0.0:1=https://h", option});
    BAD("-o listen: listener transparent:[::]:1 is open to other machines and asks for no "
        "credentials: set client.allow, for example to {\"private\"}\n",
        .options = {"listen=transparent:[::]:1", option});
    free(option);
    BAD("-o client.auth_file: cannot read /nonexistent/x: No such file or directory\n",
        .options = {"client.auth_file=/nonexistent/x"});
}

static void access_log_must_be_writable(void **state)
{
    (void)state;
    BAD("^:2: log.access: /nonexistent/x cannot be written: No such file or directory\n",
        .file = "log {\n access = \"/nonexistent/x\"\n}\n");
    BAD("-o log.access: /tmp cannot be written: Is a directory\n", .options = {"log.access=/tmp"});
    BAD("-o log.access: did you mean stderr? A file of that name is ./sterr\n",
        .options = {"log.access=sterr"});
    BAD("-o log.access: did you mean off? A file of that name is ./none\n",
        .options = {"log.access=none"});
    BAD("TLSFAN_LOG_ACCESS: is empty: write off, stderr, stdout, syslog or a file\n",
        .environment = {"TLSFAN_LOG_ACCESS="});
    struct conf *c = GOOD(.options = {"log.access=/tmp/tlsfan-test-is-not-made"});
    assert_int_equal(access(c->log.access, F_OK), -1);
    conf_unref(&c);
}

static void keys_know_where_they_were_written(void **state)
{
    (void)state;
    struct conf *c =
        GOOD(.file = "tls {\n ciphers = HIGH\n crl_file = x }\n"
                     "rule a {\n upgrade = on\n client_cert = x\n ciphers = \"\" }\n",
             .environment = {"TLSFAN_TLS_CA_DIR=/etc"}, .options = {"rule[a].ca_file=/x"});
    const struct rule *r = &c->rules[1];
    assert_non_null(strstr(rule_where(c, &c->rules[0], "crl_file"), ":3"));
    assert_non_null(strstr(rule_where(c, r, "crl_file"), ":3"));
    assert_non_null(strstr(rule_where(c, r, "ciphers"), ":2"));
    assert_non_null(strstr(rule_where(c, r, "client_cert"), ":6"));
    assert_non_null(strstr(rule_where(c, r, "client_key"), ":6"));
    assert_string_equal(rule_where(c, r, "ca_dir"), "TLSFAN_TLS_CA_DIR");
    assert_string_equal(rule_where(c, r, "ca_file"), "-o rule[a].ca_file");
    assert_ptr_equal(rule_where(c, r, "ca_extra"), r->where);
    assert_string_equal(rule_where(c, &c->rules[0], "ca_extra"), "");
    conf_unref(&c);
}

/* COMMAND comes from loopback and has no password. */
static void run_lets_its_command_in(void **state)
{
    (void)state;
    static const char file[] = "client { allow = {\"10.0.0.0/8\"} auth_file = \"/nonexistent/x\" }";
    struct addr loopback;
    struct fault f;
    assert_true(addr_parse(&loopback, STR("127.0.0.1:1")));
    struct conf *c = GOOD(.file = file, .options = {"listen=127.0.0.1:0"}, .is_run = true);
    assert_true(policy_client(c, &loopback, &f));
    assert_null(c->htpasswd);
    conf_unref(&c);
    /* A further listener may be for others: its credentials stay. */
    BAD("^:1: client.auth_file: cannot read /nonexistent/x: No such file or directory\n",
        .file = file, .options = {"listen=127.0.0.1:0", "listen=10.0.0.1:1"}, .is_run = true);
}

static void run_has_its_own_listener(void **state)
{
    (void)state;
    struct conf *c = GOOD(.file = "listen = \"0.0.0.0:3128\" log { level = debug }\n"
                                  "forward \"0.0.0.0:1\" { to = \"https://h\" }",
                          .environment = {"TLSFAN_LISTEN=0.0.0.0:1"}, .is_run = true);
    assert_int_equal(c->n_listeners, 1);
    assert_int_equal(addr_port(&c->listeners[0].addr), 0);
    assert_string_equal(c->log.access, "off");
    assert_int_equal(c->log.level, LOG_LEVEL_DEBUG);
    conf_unref(&c);
    c = GOOD(.options = {"listen=127.0.0.1:5"}, .is_run = true);
    assert_int_equal(addr_port(&c->listeners[0].addr), 5);
    assert_int_equal(c->log.level, LOG_LEVEL_WARNING);
    conf_unref(&c);
}

/* Two families for each port; the service's listener is outside and may have the same one. */
static void captured_ports(void **state)
{
    (void)state;
    struct conf *c =
        GOOD(.options = {"service=127.0.0.1:80", "client.allow=any", "capture.host_loopback=5432"},
             .capture = true, .is_run = true);
    assert_int_equal(c->n_listeners, 7);
    assert_int_equal(c->listeners[0].kind, LISTENER_SERVICE);
    assert_int_equal(c->listeners[1].kind, LISTENER_CAPTURED_HTTP);
    assert_true(addr_is_any(&c->listeners[1].addr) && addr_is_any(&c->listeners[2].addr));
    assert_int_equal(addr_family(&c->listeners[2].addr), AF_INET6);
    assert_int_equal(c->listeners[3].kind, LISTENER_CAPTURED);
    assert_int_equal(addr_port(&c->listeners[3].addr), 443);
    assert_int_equal(c->listeners[6].kind, LISTENER_HOST);
    assert_true(addr_is_loopback(&c->listeners[6].addr));
    conf_unref(&c);
    c = GOOD(.options = {"capture.http=", "capture.tunnel=", "service=off"}, .capture = true,
             .is_run = true);
    assert_int_equal(c->n_listeners, 0);
    conf_unref(&c);
}

/* Said once and where it is written, with the flag or without. */
static void captured_ports_lead_to_one_place(void **state)
{
    (void)state;
    for (int capture = 0; capture < 2; capture++) {
        BAD("^:2: capture.tunnel: port 80 is in capture.http already\n",
            .file = "\ncapture { tunnel = {443, 80} }", .capture = capture, .is_run = true);
        BAD("-o capture.http: port 81 is in capture.http already\n",
            .options = {"capture.http=81", "capture.http=80", "capture.http=81"},
            .capture = capture, .is_run = true);
        BAD("-o capture.host_loopback: port 53 is where the command asks "
            "for names\n"
            "-o capture.host_loopback: port 443 is in capture.tunnel "
            "already\n",
            .options = {"capture.host_loopback=53", "capture.host_loopback=443"},
            .capture = capture, .is_run = true);
        BAD("-o capture.http: port 443 is in capture.tunnel already\n",
            .options = {"capture.http=443"}, .capture = capture, .is_run = true);
        BAD("-o capture.http: \"0\" is no port: 1 to 65535\n", .options = {"capture.http=0"},
            .capture = capture, .is_run = true);
    }
}

/* -T's text, read again, gives the same text. */
static void dump_can_be_read(void **state)
{
    (void)state;
    struct conf *c = GOOD(.file = "log { access = \"/tmp/\\\"q\\\\ $x\" }\n"
                                  "rule \"*.a\" { ca_file = \"/x y\" min_version = \"1.0\" }\n"
                                  "forward \"127.0.0.1:0\" { to = \"https://h/p\" host = client }",
                          .options = {"client.allow="});
    char *first = conf_dump(c);
    conf_unref(&c);
    c = GOOD(.file = first);
    assert_string_equal(c->log.access, "/tmp/\"q\\ $x");
    char *second = conf_dump(c);
    assert_string_equal(first, second);
    free(first);
    free(second);
    conf_unref(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(file_is_read),
        cmocka_unit_test(later_sources_win),
        cmocka_unit_test(faults_have_lines),
        cmocka_unit_test(many_faults_at_once),
        cmocka_unit_test(text_is_checked),
        cmocka_unit_test(texts_are_kept),
        cmocka_unit_test(includes),
        cmocka_unit_test(missing_file),
        cmocka_unit_test(option_faults_name_the_option),
        cmocka_unit_test(unknown_variables_are_no_fault),
        cmocka_unit_test(rules),
        cmocka_unit_test(rule_faults),
        cmocka_unit_test(secrets_are_masked),
        cmocka_unit_test(forwards),
        cmocka_unit_test(open_listeners_are_refused),
        cmocka_unit_test(auth_file_opens_allow),
        cmocka_unit_test(access_log_must_be_writable),
        cmocka_unit_test(keys_know_where_they_were_written),
        cmocka_unit_test(run_lets_its_command_in),
        cmocka_unit_test(run_has_its_own_listener),
        cmocka_unit_test(captured_ports),
        cmocka_unit_test(captured_ports_lead_to_one_place),
        cmocka_unit_test(dump_can_be_read),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
