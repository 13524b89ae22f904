/* SPDX-License-Identifier: Apache-2.0 */
/* service/metrics.c: each family once with HELP and TYPE, each value what was counted, labels that
 * cannot break a line. What promtool says of it is an integration test. */
#include "view_fixture.h"

#include "exchange/stats.h"
#include "service/metrics.h"
#include "service/total.h"

static const char *metrics(void)
{
    struct evbuffer *out = evbuffer_new();
    metrics_print(out, &view);
    return view_text(out);
}

/* LINE is there, once, as a whole line. */
static void has(const char *text, const char *line)
{
    unsigned n = 0;
    size_t len = strlen(line);
    for (const char *at = strstr(text, line); at != NULL; at = strstr(at + 1, line))
        n += (at == text || at[-1] == '\n') && at[len] == '\n';
    if (n != 1)
        fail_msg("%u times: %s\n%s", n, line, text);
}

static void values(void **state)
{
    static const char *const options[] = {"rule[a.test].verify=off", "max_memory=2m", NULL};
    (void)state;
    view_open(options);
    view.draining = true;
    counter_add(&all_stats[0]->begun, 7);
    counter_add(&all_stats[0]->classes[2], 3);
    counter_add(&all_stats[1]->classes[2], 4);
    counter_add(&all_stats[1]->classes[0], 1);
    counter_add(&all_stats[0]->faults[FAULT_BAD_REQUEST], 2);
    counter_add(&all_stats[1]->faults[FAULT_TOO_LARGE], 1); /* the same word */
    counter_add(&all_stats[1]->faults[FAULT_DNS], 5);
    counter_add(&all_stats[0]->bytes_in, 11);
    counter_add(&all_stats[0]->bytes_out, 12);
    counter_add(&all_stats[0]->retries, 13);
    counter_add(&all_stats[0]->unverified, 14);
    counter_add(&all_stats[0]->plain, 15);
    counter_add(&all_stats[0]->tunnels, 16);
    counter_add(&all_stats[0]->turned_away, 17);
    counter_add(&all_stats[1]->over_limit, 20);
    counter_add(&all_stats[0]->tunnels_open, 2);
    counter_add(&all_stats[1]->tunnels_open, 3);
    counter_add(&all_stats[0]->tunnel_in, 21);
    counter_add(&all_stats[0]->tunnel_out, 22);
    counter_add(&all_stats[0]->tally.shaken, 23);
    counter_add(&all_stats[1]->tally.resumed, 24);
    counter_add(&all_stats[0]->listening.whole, 25);
    counter_add(&all_stats[0]->listening.resumed, 26);
    counter_add(&all_stats[0]->inside.whole, 27);
    counter_add(&all_stats[0]->inside.resumed, 28);
    counter_add(&all_stats[0]->insecure[TLS_FAILURE_UNKNOWN], 29);
    counter_add(&all_stats[0]->tokens, 30);
    counter_add(&all_stats[0]->tokens_lost, 31);
    reloads.failed = true;
    reloads.at = INT64_C(1764096000123456);
    counter_add(&all_stats[0]->dns_stale, 19);
    counter_add(&all_stats[1]->intercepted, 18);
    counter_add(&all_stats[1]->unshaken[TLS_FAILURE_TRUST], 19);
    counter_add(&all_stats[0]->phases[PHASE_TLS].in[0], 1);
    counter_add(&all_stats[1]->phases[PHASE_TLS].in[1], 2);
    counter_add(&all_stats[1]->phases[PHASE_TLS].in[STATS_BOUNDS], 4);
    counter_add(&all_stats[1]->phases[PHASE_TLS].sum, 1234567);
    const char *text = metrics();
    has(text, "tlsfan_build_info{version=\"" TLSFAN_VERSION "\"} 1");
    has(text, "tlsfan_workers 2");
    has(text, "tlsfan_draining 1");
    has(text, "tlsfan_client_connections 3");
    has(text, "tlsfan_exchanges_in_flight 4");
    has(text, "tlsfan_exchanges_total{code=\"2xx\"} 7");
    has(text, "tlsfan_exchanges_total{code=\"none\"} 1");
    has(text, "tlsfan_exchanges_total{code=\"5xx\"} 0");
    has(text, "tlsfan_errors_total{type=\"http_request_error\"} 3");
    has(text, "tlsfan_errors_total{type=\"dns_error\"} 5");
    has(text, "tlsfan_errors_total{type=\"client_gone\"} 0");
    has(text, "tlsfan_received_bytes_total 11");
    has(text, "tlsfan_sent_bytes_total 12");
    has(text, "tlsfan_retries_total 13");
    has(text, "tlsfan_unverified_requests_total 14");
    has(text, "tlsfan_plain_requests_total 15");
    has(text, "tlsfan_tunnels_total 16");
    has(text, "tlsfan_turned_away_clients_total 17");
    has(text, "tlsfan_over_limit_clients_total 20");
    has(text, "tlsfan_client_connections_limit 10");
    has(text, "tlsfan_tunnels_open 5");
    has(text, "tlsfan_tunnel_received_bytes_total 21");
    has(text, "tlsfan_tunnel_sent_bytes_total 22");
    has(text, "tlsfan_upstream_tls_handshakes_total{kind=\"full\"} 23");
    has(text, "tlsfan_upstream_tls_handshakes_total{kind=\"resumed\"} 24");
    has(text, "tlsfan_listener_tls_handshakes_total{kind=\"full\"} 25");
    has(text, "tlsfan_listener_tls_handshakes_total{kind=\"resumed\"} 26");
    has(text, "tlsfan_intercept_tls_handshakes_total{kind=\"full\"} 27");
    has(text, "tlsfan_intercept_tls_handshakes_total{kind=\"resumed\"} 28");
    has(text, "tlsfan_listener_tls_failures_total{cause=\"unknown\"} 29");
    has(text, "tlsfan_token_fetches_total{result=\"ok\"} 30");
    has(text, "tlsfan_token_fetches_total{result=\"failed\"} 31");
    has(text, "tlsfan_config_last_reload_successful 0");
    has(text, "tlsfan_config_last_reload_success_timestamp_seconds 1764096000.123456");
    has(text, "tlsfan_dns_stale_total 19");
    has(text, "tlsfan_intercepted_total 18");
    has(text, "tlsfan_intercept_failures_total{cause=\"trust\"} 19");
    has(text, "tlsfan_intercept_failures_total{cause=\"timeout\"} 0");
    has(text, "tlsfan_buffer_limit_bytes 2097152");
    has(text, "tlsfan_rules{kind=\"verify_off\"} 1");
    has(text, "tlsfan_rules{kind=\"upgrade_off\"} 1");
    has(text, "tlsfan_phase_duration_seconds_bucket{phase=\"tls\",le=\"0.001\"} 1");
    has(text, "tlsfan_phase_duration_seconds_bucket{phase=\"tls\",le=\"0.0025\"} 3");
    has(text, "tlsfan_phase_duration_seconds_bucket{phase=\"tls\",le=\"60\"} 3");
    has(text, "tlsfan_phase_duration_seconds_bucket{phase=\"tls\",le=\"+Inf\"} 7");
    has(text, "tlsfan_phase_duration_seconds_sum{phase=\"tls\"} 1.234567");
    has(text, "tlsfan_phase_duration_seconds_count{phase=\"tls\"} 7");
    reloads.failed = false;
    has(metrics(), "tlsfan_config_last_reload_successful 1");
    view_close();
}

static void the_process(void **state)
{
    unsigned long long resident, open_before, open_after;
    (void)state;
    view_open(NULL);
    const char *at = strstr(metrics(), "\nprocess_resident_memory_bytes ");
    assert_int_equal(sscanf(at, " process_resident_memory_bytes %llu", &resident), 1);
    assert_in_range(resident, 1 << 20, 1 << 30);
    at = strstr(metrics(), "\nprocess_open_fds ");
    assert_int_equal(sscanf(at, " process_open_fds %llu", &open_before), 1);
    int fd = dup(0);
    at = strstr(metrics(), "\nprocess_open_fds ");
    assert_int_equal(sscanf(at, " process_open_fds %llu", &open_after), 1);
    close(fd);
    assert_int_equal(open_after, open_before + 1);
    view_close();
}

/* It must never change: that is how a restart is noticed. */
static void start_time(void **state)
{
    (void)state;
    view_open(NULL);
    view.since_wall = INT64_C(1764096000123456);
    for (int i = 0; i < 2; i++) {
        has(metrics(), "process_start_time_seconds 1764096000.123456");
        view.since -= 1;
    }
    view_close();
}

/* No family twice, none without HELP and TYPE, and every line is one of the format. */
static void well_formed(void **state)
{
    (void)state;
    view_open(NULL);
    tally_register(STR("quoted\".test"), 443);
    struct str rest = str_from(metrics());
    struct str line;
    char family[128] = "";
    while (str_next_part(&rest, '\n', &line)) {
        char word[128];
        if (line.p[0] == '#') {
            assert_int_equal(sscanf(line.p, "# %*s %127s", word), 1);
            if (strncmp(line.p, "# HELP", 6) == 0)
                assert_string_not_equal(word, family);
            else
                assert_string_equal(word, family);
            memcpy(family, word, sizeof(family));
            continue;
        }
        assert_memory_equal(line.p, family, strlen(family));
        assert_true(line.p[line.len - 1] >= '0' && line.p[line.len - 1] <= '9');
    }
    assert_non_null(strstr(metrics(), "{origin=\"quoted\\\".test:443\"} 0\n"));
    tally_register(STR("b\303\244r.test"), 443);
    tally_register(STR("b\344r.test"), 443);
    tally_register(STR("br\303"), 443);
    const char *text = metrics();
    assert_non_null(strstr(text, "{origin=\"b\303\244r.test:443\"} 0\n"));
    assert_non_null(strstr(text, "{origin=\"b?r.test:443\"} 0\n"));
    assert_non_null(strstr(text, "{origin=\"br?:443\"} 0\n"));
    view_close();
}

static void origins(void **state)
{
    char line[200];
    (void)state;
    view_open(NULL);
    view_exchange(-1, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n",
                  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    unsigned place = tally_find(STR("127.0.0.1"), rig.port);
    const char *text = metrics();
    assert_null(strstr(text, "origin=\"other\""));
    snprintf(line, sizeof(line), "tlsfan_origin_requests_total{origin=\"%s\"} 1",
             tally_name(place));
    has(text, line);
    snprintf(line, sizeof(line), "tlsfan_origin_connections{origin=\"%s\",state=\"idle\"} 1",
             tally_name(place));
    has(text, line);
    snprintf(line, sizeof(line), "tlsfan_origin_connections_opened_total{origin=\"%s\"} 1",
             tally_name(place));
    has(text, line);
    counter_add(&all_stats[1]->tally.places[place].waiting, 3);
    snprintf(line, sizeof(line), "tlsfan_origin_requests_waiting{origin=\"%s\"} 3",
             tally_name(place));
    has(metrics(), line);
    text = metrics();
    assert_null(strstr(text, "tlsfan_upstream_certificate_expiry_timestamp_seconds{"));
    tally_set_expiry(place, 1893456000);
    counter_add(&all_stats[1]->tally.places[TALLY_OTHER].requests, 9);
    text = metrics();
    snprintf(line, sizeof(line),
             "tlsfan_upstream_certificate_expiry_timestamp_seconds{origin=\"%s\"} 1893456000",
             tally_name(place));
    has(text, line);
    has(text, "tlsfan_origin_requests_total{origin=\"other\"} 9");
    view_close();
}

/* All places taken: all are told, and the rest as one. */
static void most_origins(void **state)
{
    unsigned n = 0;
    (void)state;
    view_open(NULL);
    for (unsigned i = 0; i < TALLY_NAMES + 50; i++) {
        char host[32];
        int len = snprintf(host, sizeof(host), "h%u.test", i);
        unsigned place = tally_register(str_make(host, (size_t)len), 443);
        counter_add(&all_stats[i % 2]->tally.places[place].requests, 1);
    }
    const char *name = "\ntlsfan_origin_requests_total{";
    for (const char *at = metrics(); (at = strstr(at, name)) != NULL; at++)
        n++;
    assert_int_equal(n, TALLY_NAMES + 1);
    view_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),     cmocka_unit_test(the_process),
        cmocka_unit_test(start_time), cmocka_unit_test(well_formed),
        cmocka_unit_test(origins),    cmocka_unit_test(most_origins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
