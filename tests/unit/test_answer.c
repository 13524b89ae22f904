/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/answer.c: every fault as the bytes that a client gets, and what tlsfan answers to
 * OPTIONS and TRACE. */
#include "rig_fixture.h"

#include "exchange/answer.h"

static const struct {
    enum fault_code code;
    const char *status, *type, *more; /* fields behind Proxy-Status */
} faults[] = {
    {FAULT_DNS, "502 DNS lookup of the host failed", "dns_error", ""},
    {FAULT_TOKEN, "502 No access token for the host", "destination_unavailable", ""},
    {FAULT_DNS_TIMEOUT, "504 DNS lookup of the host timed out", "dns_timeout", ""},
    {FAULT_REFUSED, "502 Connection to the host refused", "connection_refused", ""},
    {FAULT_PARENT, "502 Parent proxy refused to connect to the host", "destination_unavailable",
     ""},
    {FAULT_UNROUTABLE, "502 No route to the host", "destination_ip_unroutable", ""},
    {FAULT_CONNECT_TIMEOUT, "504 Connection to the host timed out", "connection_timeout", ""},
    {FAULT_TLS_CERTIFICATE, "502 Certificate of the host does not verify", "tls_certificate_error",
     ""},
    {FAULT_TLS_PROTOCOL, "502 TLS with the host failed", "tls_protocol_error", ""},
    {FAULT_TLS_ALERT, "502 TLS handshake refused by the host", "tls_alert_received", ""},
    {FAULT_UP_CLOSED, "502 Connection closed by the host", "connection_terminated", ""},
    {FAULT_UP_PROTOCOL, "502 Invalid response from the host", "http_protocol_error", ""},
    {FAULT_RESPONSE_TIMEOUT, "504 Response from the host timed out", "http_response_timeout", ""},
    {FAULT_RESPONSE_SIZE, "502 Response from the host is too large", "http_response_body_size", ""},
    {FAULT_UP_REFUSED, "502 Request refused by the host", "connection_terminated", ""},
    {FAULT_UP_WANTS_H1, "502 HTTP/1.1 wanted by the host", "http_protocol_error", ""},
    {FAULT_ADDRESS_DENIED, "403 Address of the host is not allowed by the proxy",
     "destination_ip_prohibited", ""},
    {FAULT_DENIED, "403 Not allowed by the proxy", "http_request_denied", ""},
    {FAULT_CREDENTIALS, "407 Proxy Authentication Required", "http_request_denied",
     "Proxy-Authenticate: Basic realm=\"tlsfan\", charset=\"UTF-8\"\r\n"},
    {FAULT_UNAUTHORIZED, "401 Unauthorized", "http_request_denied",
     "WWW-Authenticate: Basic realm=\"tlsfan\", charset=\"UTF-8\"\r\n"},
    {FAULT_BAD_REQUEST, "400 Bad Request", "http_request_error", ""},
    {FAULT_NO_URL, "400 Bad Request", "http_request_error", ""},
    {FAULT_METHOD, "405 Method Not Allowed", "http_request_error",
     "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH\r\n"},
    {FAULT_NOT_FOUND, "404 Not Found", "http_request_error", ""},
    {FAULT_NOT_GET, "405 Method Not Allowed", "http_request_error", "Allow: GET, HEAD\r\n"},
    {FAULT_NOT_POST, "405 Method Not Allowed", "http_request_error", "Allow: POST\r\n"},
    {FAULT_NO_LENGTH, "411 Length Required", "http_request_error", ""},
    {FAULT_TOO_LARGE, "413 Content Too Large", "http_request_error", ""},
    {FAULT_MEDIA_TYPE, "415 Unsupported Media Type", "http_request_error", ""},
    {FAULT_MISDIRECTED, "421 Misdirected Request", "http_request_error", ""},
    {FAULT_NOT_IMPLEMENTED, "501 Not Implemented", "http_request_error", ""},
    {FAULT_HEAD_TOO_LARGE, "431 Request Header Fields Too Large", "http_request_error", ""},
    {FAULT_VERSION, "505 HTTP Version Not Supported", "http_request_error", ""},
    {FAULT_REQUEST_TIMEOUT, "408 Request Timeout", "http_request_error", ""},
    {FAULT_LIMIT, "503 Limit of the proxy reached, try again", "connection_limit_reached",
     "Retry-After: 1\r\n"},
    {FAULT_DESCRIPTORS, "503 Proxy has no descriptors left, try again", "connection_limit_reached",
     "Retry-After: 1\r\n"},
    {FAULT_LOOP, "508 Loop through this proxy detected", "proxy_loop_detected", ""},
    {FAULT_INTERNAL, "500 Internal error of the proxy", "proxy_internal_error", ""},
};

static void every_fault(void **state)
{
    (void)state;
    size_t n = sizeof(faults) / sizeof(faults[0]);
    unsigned answered = 0;
    for (int code = FAULT_NONE + 1; code < FAULT_COUNT; code++)
        answered += fault_info((enum fault_code)code)->status != 0;
    assert_int_equal(answered, n);
    for (size_t i = 0; i < n; i++) {
        char expected[1024];
        struct fault f;
        fault_set(&f, faults[i].code, "it said \"no\\\"");
        probe_open(&p, &rig, "GET http://h/ HTTP/1.1\r\nHost: h\r\n");
        exchange_refuse(&p.x, &f);
        snprintf(expected, sizeof(expected),
                 "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nX-Content-Type-Options: nosniff\r\n"
                 "Proxy-Status: tlsfan; error=%s; details=\"it said "
                 "\\\"no\\\\\\\"\"\r\n%sContent-Length: 14"
                 "\r\n\r\nit said \"no\\\"\n|end",
                 faults[i].status, faults[i].type, faults[i].more);
        assert_string_equal(p.told, expected);
        assert_int_equal(p.x.fault, faults[i].code);
        assert_true(p.x.must_close);
        probe_close(&p, &rig);
    }
    assert_int_equal(rig_lines(&rig), n);
}

/* The length of what a GET would get, and no body. */
static void head_request(void **state)
{
    struct fault f;
    (void)state;
    fault_set(&f, FAULT_BAD_REQUEST, "abc");
    probe_open(&p, &rig, "HEAD http://h/ HTTP/1.1\r\nHost: h\r\n");
    exchange_refuse(&p.x, &f);
    assert_non_null(strstr(p.told, "\r\nContent-Length: 4\r\n\r\n|end"));
    probe_close(&p, &rig);
}

/* What a request asks of tlsfan itself. */
static void options_and_trace(void **state)
{
    (void)state;
    probe_open(&p, &rig, "OPTIONS * HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    assert_string_equal(p.told, "HTTP/1.1 200 OK\r\nAllow: GET, HEAD, POST, PUT, DELETE, CONNECT, "
                                "OPTIONS, TRACE, PATCH\r\nContent-Length: 0\r\n\r\n|end");
    probe_close(&p, &rig);
    probe_open(&p, &rig,
               "TRACE http://h/x HTTP/1.1\r\nHost: h\r\nCookie: a=b\r\nmax-forwards: 0\r\n"
               "Authorization: Basic eA==\r\nProxy-Authorization: Basic eA==\r\nX-A: b\r\n");
    p.close_at_end = true;
    exchange_start(&p.x, STR(""), true);
    assert_non_null(strstr(p.told, "Content-Type: message/http\r\n"));
    assert_non_null(strstr(p.told, "\r\n\r\nTRACE http://h/x HTTP/1.1\r\nHost: h\r\nmax-forwards: "
                                   "0\r\nX-A: b\r\n\r\n|end"));
    probe_close(&p, &rig);
}

/* The budget decides before anything else does. */
static void no_memory_left(void **state)
{
    (void)state;
    rig.budget.used = rig.budget.max;
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    assert_non_null(strstr(p.told, "HTTP/1.1 503 "));
    assert_non_null(strstr(p.told, "max_memory"));
    probe_close(&p, &rig);
    rig.budget.used = 0;
}

static void without_an_exchange(void **state)
{
    char text[ANSWER_RAW], longest[600];
    struct fault f;
    (void)state;
    fault_set(&f, FAULT_LIMIT, "too many");
    size_t n = answer_raw(text, &f, false);
    text[n] = '\0';
    assert_string_equal(text, "HTTP/1.1 503 Limit of the proxy reached, try again\r\n"
                              "Content-Type: text/plain\r\n"
                              "X-Content-Type-Options: nosniff\r\nProxy-Status: tlsfan; "
                              "error=connection_limit_reached; details=\"too many\"\r\n"
                              "Retry-After: 1\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
                              "too many\n");
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    fault_set(&f, FAULT_LIMIT, "%s", longest);
    assert_int_equal(answer_raw(text, &f, true) + strlen(f.text) + 1, answer_raw(text, &f, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(head_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(options_and_trace, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_memory_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_an_exchange, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
