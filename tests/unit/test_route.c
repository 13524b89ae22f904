/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/route.c: a request head, and where it goes or why it is refused. */
#include "exchange_fixture.h"

#include "conf/bound.h"
#include "exchange/performer.h"
#include "exchange/route.h"

static struct rig rig;

static const char *const options[] = {
    "rule[plain.test].upgrade=off",
    "rule[moved.test].port=8443",
    "destination.deny_hosts=no.test",
    "forward=127.0.0.1:9001=https://api.test/v2",
    "destination.ports=80",
    "destination.ports=443",
    "destination.ports=8080",
    "destination.ports=8443",
    "rule[tls.test].intercept=on",
    "intercept.ca_cert=x",
    "intercept.ca_key=x",
    NULL,
};

#define PROXY   SOURCE_PROXY
#define INSIDE  SOURCE_INSIDE
#define TLS     SOURCE_INTERCEPTED
#define FORWARD SOURCE_FORWARD
#define TURNED  SOURCE_TURNED
#define TRANSP  SOURCE_TRANSPARENT
#define HOST    SOURCE_HOST

/* What a refused request's text must hold, or "tls host:port target Host" of the one that goes up,
 * "-" without TLS; NULL for a tunnel. */
static const struct route_case {
    enum source_kind kind;
    const char *head; /* lines ended by "\r\n" */
    enum route route;
    enum fault_code fault;
    const char *expected;
} cases[] = {
    {PROXY, "GET http://a.test/x?y#z HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:443 /x?y a.test"},
    {PROXY, "GET http://A.Test.:80 HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test.:443 / a.test"},
    {PROXY, "GET http://a.test:8080/ HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:8080 / a.test:8080"},
    {PROXY, "GET https://a.test/ HTTP/1.0\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:443 / a.test"},
    {PROXY, "GET https://a.test:80/ HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:80 / a.test:80"},
    {PROXY, "GET http://plain.test/ HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "- plain.test:80 / plain.test"},
    {PROXY, "GET http://moved.test/ HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls moved.test:8443 / moved.test"},
    {PROXY, "GET http://[::1]:443/ HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls ::1:443 / [::1]:443"},
    {PROXY, "OPTIONS http://a.test HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:443 * a.test"},
    {PROXY, "OPTIONS http://a.test/ HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:443 / a.test"},
    {PROXY, "OPTIONS http://a.test?q HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:443 /?q a.test"},
    {PROXY, "OPTIONS * HTTP/1.1\r\nHost: b\r\n", ROUTE_OPTIONS, FAULT_NONE, NULL},
    {PROXY, "GET * HTTP/1.1\r\nHost: b\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST, "OPTIONS alone"},
    {PROXY, "OPTIONS http://a.test/ HTTP/1.1\r\nHost: b\r\nMax-Forwards: 0\r\n", ROUTE_OPTIONS,
     FAULT_NONE, NULL},
    {PROXY, "TRACE http://a.test/ HTTP/1.1\r\nHost: b\r\nMax-Forwards: 0\r\n", ROUTE_TRACE,
     FAULT_NONE, NULL},
    {PROXY, "TRACE http://a.test/ HTTP/1.1\r\nHost: b\r\nMax-Forwards: -1\r\n", ROUTE_REFUSE,
     FAULT_BAD_REQUEST, "Max-Forwards"},
    {PROXY, "GET http://a.test/ HTTP/1.1\r\nHost: b\r\nMax-Forwards: 0\r\n", ROUTE_UPSTREAM,
     FAULT_NONE, "tls a.test:443 / a.test"},
    {PROXY, "GET /x HTTP/1.1\r\nHost: a.test\r\n", ROUTE_REFUSE, FAULT_NO_URL, "this is a proxy"},
    {PROXY, "GET http://a.test/ HTTP/1.1\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST, "Host"},
    {PROXY, "GET http://a.test/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n", ROUTE_REFUSE,
     FAULT_BAD_REQUEST, "more than one Host"},
    {PROXY, "GET http://a.test/ HTTP/1.0\r\nHost: a b\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
     "malformed"},
    {PROXY, "GET http://u:p@a.test:8080/x HTTP/1.1\r\nHost: a\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:8080 /x a.test:8080"},
    {PROXY, "OPTIONS https://u:p@a.test HTTP/1.1\r\nHost: a\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:443 * a.test"},
    {PROXY, "GET http://u:p@a.test/ HTTP/1.1\r\nHost: u:q@a.test\r\n", ROUTE_REFUSE,
     FAULT_BAD_REQUEST, "Host"},
    {PROXY, "GET http://a.test/ HTTP/1.1\r\nHost: u:p@a.test\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
     "Host"},
    {PROXY, "CONNECT u:p@a.test:443 HTTP/1.1\r\nHost: u:p@a.test\r\n", ROUTE_REFUSE,
     FAULT_BAD_REQUEST, "user information"},
    {PROXY, "GET ws://a.test/ HTTP/1.1\r\nHost: a\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:443 / a.test"},
    {PROXY, "GET wss://a.test:80/ HTTP/1.1\r\nHost: a\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:80 / a.test:80"},
    {PROXY, "DELETE http://a.test/c/#x HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
     "fragment"},
    {PROXY, "POST http://a.test# HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
     "fragment"},
    {PROXY, "FROB http://a.test/#x HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
     "fragment"},
    {PROXY, "PROPFIND http://a.test/c#x HTTP/1.1\r\nHost: a\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls a.test:443 /c a.test"},
    {INSIDE, "DELETE /c/#x HTTP/1.1\r\nHost: b\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST, "fragment"},
    {INSIDE, "GET http://u:p@in.test/x HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls in.test:443 /x in.test"},
    {FORWARD, "DELETE /c/#x HTTP/1.1\r\nHost: localhost\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
     "fragment"},
    {FORWARD, "GET http://u:p@localhost/x HTTP/1.1\r\nHost: evil\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls api.test:443 /v2/x api.test"},
    {FORWARD, "GET /x HTTP/1.1\r\nHost: u:p@localhost\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
     "Host"},
    {PROXY, "GET ftp://a.test/ HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_NOT_IMPLEMENTED,
     "ftp://"},
    {PROXY, "GET http://no.test/ HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_DENIED,
     "deny_hosts"},
    {PROXY, "GET http://a.test:25/ HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_DENIED, "port 25"},
    {PROXY, "CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n", ROUTE_UPSTREAM, FAULT_NONE, NULL},
    {PROXY, "CONNECT a.test:80 HTTP/1.1\r\nHost: a\r\n", ROUTE_PLAIN, FAULT_NONE, NULL},
    {PROXY, "CONNECT TLS.test.:443 HTTP/1.1\r\nHost: a\r\n", ROUTE_TLS, FAULT_NONE, NULL},
    {PROXY, "CONNECT tls.test:80 HTTP/1.1\r\nHost: a\r\n", ROUTE_PLAIN, FAULT_NONE, NULL},
    {PROXY, "CONNECT tls.test:22 HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_DENIED, ""},
    {PROXY, "CONNECT tls.test:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n", ROUTE_REFUSE,
     FAULT_BAD_REQUEST, "has no body"},
    {TLS, "GET /x HTTP/1.0\r\n", ROUTE_UPSTREAM, FAULT_NONE, "tls in.test:8443 /x in.test:8443"},
    {TLS, "GET /x HTTP/1.1\r\nHost: In.Test.:8443\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls in.test:8443 /x in.test:8443"},
    {TLS, "GET /x HTTP/1.1\r\nHost: in.test\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls in.test:8443 /x in.test:8443"},
    {TLS, "GET https://in.test:8443/x HTTP/1.1\r\nHost: in.test\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls in.test:8443 /x in.test:8443"},
    {TLS, "GET wss://in.test:8443/x HTTP/1.1\r\nHost: in.test\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls in.test:8443 /x in.test:8443"},
    {TLS, "OPTIONS * HTTP/1.1\r\nHost: in.test:8443\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls in.test:8443 * in.test:8443"},
    {TLS, "GET /x HTTP/1.1\r\nHost: in.test:443\r\n", ROUTE_REFUSE, FAULT_MISDIRECTED,
     "was for in.test:8443"},
    {TLS, "GET /x HTTP/1.1\r\nHost: b.in.test\r\n", ROUTE_REFUSE, FAULT_MISDIRECTED,
     "another host"},
    {TLS, "GET https://in.test:8443/x HTTP/1.1\r\nHost: b\r\n", ROUTE_REFUSE, FAULT_MISDIRECTED,
     "another host"},
    {TLS, "GET https://b/x HTTP/1.1\r\nHost: in.test\r\n", ROUTE_REFUSE, FAULT_MISDIRECTED,
     "another host"},
    {TLS, "GET http://in.test/x HTTP/1.1\r\nHost: in.test\r\n", ROUTE_REFUSE, FAULT_MISDIRECTED,
     "another scheme"},
    {TLS, "GET ftp://in.test/x HTTP/1.1\r\nHost: in.test\r\n", ROUTE_REFUSE, FAULT_MISDIRECTED,
     "another scheme"},
    {TLS, "GET http://tlsfan.localhost/batch HTTP/1.1\r\nHost: tlsfan.localhost\r\n", ROUTE_REFUSE,
     FAULT_MISDIRECTED, ""},
    {TLS, "CONNECT in.test:8443 HTTP/1.1\r\nHost: in.test:8443\r\n", ROUTE_REFUSE,
     FAULT_BAD_REQUEST, "inside CONNECT"},
    {PROXY, "CONNECT plain.test:80 HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_DENIED,
     "connect_ports"},
    {PROXY, "CONNECT a.test:22 HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_DENIED,
     "connect_ports"},
    {PROXY, "CONNECT a.test HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST, ""},
    {PROXY, "CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n", ROUTE_REFUSE,
     FAULT_BAD_REQUEST, "no body"},
    {PROXY, "CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n", ROUTE_UPSTREAM,
     FAULT_NONE, NULL},
    {PROXY, "CONNECT no.test:443 HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_DENIED,
     "deny_hosts"},
    {INSIDE, "GET /x HTTP/1.1\r\nHost: other\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls in.test:443 /x in.test"},
    {INSIDE, "GET http://in.test/x HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls in.test:443 /x in.test"},
    {INSIDE, "GET http://b.test/x HTTP/1.1\r\nHost: b\r\n", ROUTE_REFUSE, FAULT_MISDIRECTED,
     "another"},
    {INSIDE, "CONNECT in.test:80 HTTP/1.1\r\nHost: b\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
     "inside"},
    {INSIDE, "OPTIONS * HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls in.test:443 * in.test"},
    {FORWARD, "GET /x HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls api.test:443 /v2/x api.test"},
    {FORWARD, "GET /x HTTP/1.0\r\n", ROUTE_UPSTREAM, FAULT_NONE, "tls api.test:443 /v2/x api.test"},
    {FORWARD, "GET http://localhost/x HTTP/1.1\r\nHost: evil\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls api.test:443 /v2/x api.test"},
    {FORWARD, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n", ROUTE_UPSTREAM, FAULT_NONE,
     "tls api.test:443 * api.test"},
    {FORWARD, "GET * HTTP/1.1\r\nHost: localhost\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST, "OPTIONS"},
    {FORWARD, "GET /x HTTP/1.1\r\nHost: evil.test\r\n", ROUTE_REFUSE, FAULT_MISDIRECTED, "`hosts`"},
    {FORWARD, "GET /../x HTTP/1.1\r\nHost: localhost\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
     "climbs"},
    {FORWARD, "GET /%2e%2E/x HTTP/1.1\r\nHost: localhost\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
     "climbs"},
    {FORWARD, "CONNECT a.test:443 HTTP/1.1\r\nHost: localhost\r\n", ROUTE_REFUSE, FAULT_METHOD, ""},
    {FORWARD, "POST /x HTTP/1.1\r\nHost: localhost:9001\r\nOrigin: http://evil.test\r\n",
     ROUTE_REFUSE, FAULT_DENIED, "`origins`"},
    {FORWARD, "POST /x HTTP/1.1\r\nHost: localhost:9001\r\nOrigin: http://localhost:9001\r\n",
     ROUTE_UPSTREAM, FAULT_NONE, "tls api.test:443 /v2/x api.test"},
    {FORWARD, "GET /x HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n", ROUTE_REFUSE,
     FAULT_DENIED, "`origins`"},
};

/* Requests and CONNECTs of connections that were turned here. */
static const struct turned_case {
    struct source_turned turned; /* .to.name: "to.test" where NULL */
    struct route_case c;
} turned_cases[] = {
    {{.to.port = 80},
     {TRANSP, "GET /x?y HTTP/1.1\r\nHost: A.test\r\n", ROUTE_UPSTREAM, FAULT_NONE,
      "tls a.test:443 /x?y a.test"}},
    {{.to.port = 80},
     {TRANSP, "GET /x HTTP/1.1\r\nHost: a.test.:8443\r\n", ROUTE_UPSTREAM, FAULT_NONE,
      "tls a.test.:443 /x a.test"}},
    {{.to.port = 8080},
     {TRANSP, "GET /x HTTP/1.1\r\nHost: a.test:8443\r\n", ROUTE_UPSTREAM, FAULT_NONE,
      "tls a.test:8080 /x a.test:8080"}},
    {{.to.port = 8080},
     {TRANSP, "GET /x HTTP/1.1\r\nHost: plain.test\r\n", ROUTE_UPSTREAM, FAULT_NONE,
      "- plain.test:8080 /x plain.test:8080"}},
    {{.to = {.name = STR_INIT("192.0.2.1"), .port = 80, .is_ip = true}},
     {TRANSP, "GET /x HTTP/1.0\r\n", ROUTE_UPSTREAM, FAULT_NONE, "tls 192.0.2.1:443 /x 192.0.2.1"}},
    {{.to = {.name = STR_INIT("2001:db8::1"), .port = 8080, .is_ip = true, .is_ip6 = true}},
     {TRANSP, "GET /x HTTP/1.0\r\n", ROUTE_UPSTREAM, FAULT_NONE,
      "tls 2001:db8::1:8080 /x [2001:db8::1]:8080"}},
    {{.to.port = 80},
     {TRANSP, "GET / HTTP/1.0\r\n", ROUTE_UPSTREAM, FAULT_NONE, "tls to.test:443 / to.test"}},
    {{.to.port = 80, .is_captured = true, .address = STR_INIT("198.18.0.1")},
     {TRANSP, "GET /x HTTP/1.1\r\nHost: 198.18.0.1:80\r\n", ROUTE_UPSTREAM, FAULT_NONE,
      "tls to.test:443 /x to.test"}},
    {{.to.port = 80, .is_captured = true, .address = STR_INIT("198.18.0.1")},
     {TRANSP, "GET /x HTTP/1.1\r\nHost: [::FFFF:198.18.0.1]\r\n", ROUTE_UPSTREAM, FAULT_NONE,
      "tls to.test:443 /x to.test"}},
    {{.to = {.name = STR_INIT("192.0.2.1"), .port = 80, .is_ip = true}},
     {TRANSP, "GET /x HTTP/1.1\r\nHost: [::ffff:c000:201]\r\n", ROUTE_UPSTREAM, FAULT_NONE,
      "tls 192.0.2.1:443 /x 192.0.2.1"}},
    {{.to = {.name = STR_INIT("to"), .port = 80, .is_rooted = true},
      .is_captured = true,
      .address = STR_INIT("198.18.0.1")},
     {TRANSP, "GET /x HTTP/1.1\r\nHost: TO\r\n", ROUTE_UPSTREAM, FAULT_NONE, "tls to.:443 /x to"}},
    {{.to = {.name = STR_INIT("to.a.test"), .port = 80, .is_rooted = true},
      .is_captured = true,
      .address = STR_INIT("198.18.0.1")},
     {TRANSP, "GET /x HTTP/1.1\r\nHost: to\r\n", ROUTE_UPSTREAM, FAULT_NONE, "tls to:443 /x to"}},
    {{.to.port = 80, .is_captured = true, .address = STR_INIT("198.18.0.1")},
     {TRANSP, "GET /x HTTP/1.1\r\nHost: 198.18.0.2\r\n", ROUTE_UPSTREAM, FAULT_NONE,
      "tls 198.18.0.2:443 /x 198.18.0.2"}},
    {{.to.port = 80},
     {TRANSP, "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n", ROUTE_UPSTREAM, FAULT_NONE,
      "tls a.test:443 * a.test"}},
    {{.to.port = 3128},
     {TRANSP, "GET http://a.test/x HTTP/1.1\r\nHost: b\r\n", ROUTE_UPSTREAM, FAULT_NONE,
      "tls a.test:443 /x a.test"}},
    {{.to.port = 80},
     {TRANSP, "GET ftp://a.test/x HTTP/1.1\r\nHost: b\r\n", ROUTE_REFUSE, FAULT_NOT_IMPLEMENTED,
      "ftp://"}},
    {{.to.port = 80},
     {TRANSP, "GET / HTTP/1.1\r\nHost: no.test\r\n", ROUTE_REFUSE, FAULT_DENIED, "deny_hosts"}},
    {{.to.port = 25},
     {TRANSP, "GET / HTTP/1.1\r\nHost: a.test\r\n", ROUTE_REFUSE, FAULT_DENIED, "port 25"}},
    {{.to.port = 80},
     {TRANSP, "GET / HTTP/1.1\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST, "must have a Host"}},
    {{.to.port = 80},
     {TRANSP, "DELETE /#x HTTP/1.1\r\nHost: a.test\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
      "fragment"}},
    {{.to.port = 80},
     {TRANSP, "CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST,
      "CONNECT is for proxies"}},
    {{.to.port = 80, .where = TURNED_HERE},
     {TRANSP, "GET / HTTP/1.1\r\nHost: a.test\r\n", ROUTE_REFUSE, FAULT_BAD_REQUEST, "nftables"}},
    {{.to.port = 80, .where = TURNED_LOOP},
     {TRANSP, "GET http://a/ HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_LOOP, "skuid"}},
    {{.to.port = 80, .where = TURNED_LOOPBACK, .is_captured = true},
     {TRANSP, "GET / HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_REFUSED, "capture.http"}},
    {{.to.port = 80, .where = TURNED_LOOPBACK, .is_captured = true},
     {TRANSP, "GET / HTTP/1.1\r\nHost: tlsfan.localhost\r\n", ROUTE_REFUSE, FAULT_NOT_FOUND,
      "nothing but /batch"}},
    {{.to.port = 8080, .where = TURNED_LOOPBACK, .is_captured = true},
     {TRANSP, "GET / HTTP/1.1\r\nHost: tlsfan.localhost:8080\r\n", ROUTE_REFUSE, FAULT_REFUSED,
      "capture.http"}},
    {{.to.port = 80, .where = TURNED_UNKNOWN, .is_captured = true},
     {TRANSP, "GET / HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_DNS, "no name"}},
    {{.to.port = 443},
     {TURNED, "CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n", ROUTE_UPSTREAM, FAULT_NONE, NULL}},
    {{.to.port = 443},
     {TURNED, "CONNECT tls.test:443 HTTP/1.1\r\nHost: a\r\n", ROUTE_TLS, FAULT_NONE, NULL}},
    {{.to.port = 443, .is_blind = true},
     {TURNED, "CONNECT tls.test:443 HTTP/1.1\r\nHost: a\r\n", ROUTE_UPSTREAM, FAULT_NONE, NULL}},
    {{.to.port = 22},
     {TURNED, "CONNECT a.test:22 HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_DENIED,
      "connect_ports"}},
    {{.to.port = 80},
     {TURNED, "CONNECT a.test:80 HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_DENIED,
      "connect_ports"}},
    {{.to.port = 443},
     {TURNED, "CONNECT no.test:443 HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_DENIED,
      "deny_hosts"}},
    {{.to.port = 22, .is_captured = true},
     {TURNED, "CONNECT a.test:22 HTTP/1.1\r\nHost: a\r\n", ROUTE_UPSTREAM, FAULT_NONE, NULL}},
    {{.to.port = 22, .is_captured = true},
     {TURNED, "CONNECT no.test:22 HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_DENIED,
      "deny_hosts"}},
    {{.to.port = 443, .where = TURNED_LOOP},
     {TURNED, "CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_LOOP, "skuid"}},
    {{.to.port = 443, .where = TURNED_LOOPBACK, .is_captured = true},
     {TURNED, "CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: a\r\n", ROUTE_REFUSE, FAULT_REFUSED,
      "take it out of capture.tunnel where a program of the command itself listens there, or move "
      "it to capture.host_loopback"}},
    {{.to.port = 5432, .is_captured = true},
     {HOST, "CONNECT 127.0.0.1:5432 HTTP/1.1\r\nHost: a\r\n", ROUTE_UPSTREAM, FAULT_NONE, NULL}},
};

static const struct source_turned *turned; /* of the next case; NULL: none is */

static void describe(char *dst, size_t cap, const struct exchange *x)
{
    snprintf(dst, cap, "%s %.*s%s:%u %.*s %.*s", x->where.tls ? "tls" : "-", STR_ARG(x->where.host),
             x->where.is_rooted ? "." : "", x->where.port, STR_ARG(x->rq.target),
             STR_ARG(x->rq.host));
}

static void check(const struct route_case *c)
{
    static struct probe p;
    struct fault f;
    char shown[512];
    probe_open(&p, &rig, c->head);
    p.side.kind = c->kind;
    p.side.turned = turned;
    if (c->kind == SOURCE_INSIDE)
        p.side.fixed = (struct uri_host){.name = STR("in.test"), .port = 80};
    if (c->kind == SOURCE_INTERCEPTED)
        p.side.fixed = (struct uri_host){.name = STR("in.test"), .port = 8443};
    if (c->kind == SOURCE_FORWARD) {
        p.side.forward = &rig.conf->forwards[0];
        p.side.fixed = (struct uri_host){.name = STR("api.test"), .port = 443};
    }
    enum route route = route_request(&p.x, &f);
    if (route != c->route)
        fail_msg("%s: route %d, not %d (%s)", c->head, (int)route, (int)c->route,
                 route == ROUTE_REFUSE ? f.text : "");
    if (route == ROUTE_REFUSE && (f.code != c->fault || strstr(f.text, c->expected) == NULL))
        fail_msg("%s: fault %d: %s", c->head, (int)f.code, f.text);
    describe(shown, sizeof(shown), &p.x);
    const struct performer *by = p.x.performer;
    assert_true(by == (route != ROUTE_UPSTREAM ? NULL
                       : c->expected != NULL   ? &performer_pool
                                               : &performer_dial));
    if (by == &performer_pool && strcmp(shown, c->expected) != 0)
        fail_msg("%s: %s, not %s", c->head, shown, c->expected);
    if (by == &performer_dial)
        assert_true(!p.x.where.tls && p.x.where.rule != NULL);
    probe_close(&p, &rig);
}

static void targets(void **state)
{
    (void)state;
    rig_open(&rig, options);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(&cases[i]);
    rig_close(&rig);
}

static void turned_here(void **state)
{
    (void)state;
    rig_open(&rig, options);
    for (size_t i = 0; i < sizeof(turned_cases) / sizeof(turned_cases[0]); i++) {
        struct source_turned t = turned_cases[i].turned;
        if (t.to.name.p == NULL)
            t.to.name = STR("to.test");
        turned = &t;
        check(&turned_cases[i].c);
    }
    turned = NULL;
    rig_close(&rig);
}

/* Own listeners, and the names that tlsfan answers itself. */
static void own_listeners(void **state)
{
    static const char *const with_rules[] = {
        "rule[localhost:3129].port=99", "rule[localhost:3129].connect_to=192.0.2.1:1",
        "upstream.proxy=http://parent.test:3128", "destination.deny_hosts=127.0.0.2", NULL};
    static const struct route_case wants[] = {
        {PROXY, "GET http://127.0.0.1:3129/x HTTP/1.1\r\nHost: h\r\n", ROUTE_UPSTREAM, FAULT_NONE,
         "- 127.0.0.1:3129 /x 127.0.0.1:3129"},
        {PROXY, "GET http://LocalHost:3129/x HTTP/1.1\r\nHost: h\r\n", ROUTE_UPSTREAM, FAULT_NONE,
         "- localhost:3129 /x localhost:3129"},
        {PROXY, "GET http://a.localhost.:3129/ HTTP/1.1\r\nHost: h\r\n", ROUTE_UPSTREAM, FAULT_NONE,
         "- a.localhost.:3129 / a.localhost:3129"},
        {PROXY, "GET http://[::ffff:127.0.0.1]:3129/ HTTP/1.1\r\nHost: h\r\n", ROUTE_UPSTREAM,
         FAULT_NONE, "- ::ffff:127.0.0.1:3129 / [::ffff:127.0.0.1]:3129"},
        {PROXY, "GET http://localhost/ HTTP/1.1\r\nHost: h\r\n", ROUTE_UPSTREAM, FAULT_NONE,
         "- localhost:80 / localhost"},
        {PROXY, "GET http://[::1]:9001/ HTTP/1.1\r\nHost: h\r\n", ROUTE_UPSTREAM, FAULT_NONE,
         "tls ::1:9001 / [::1]:9001"},
        {PROXY, "GET https://localhost:9001/ HTTP/1.1\r\nHost: h\r\n", ROUTE_UPSTREAM, FAULT_NONE,
         "tls localhost:9001 / localhost:9001"},
        /* It speaks no TLS, and the address is refused when it is dialled. */
        {PROXY, "GET https://127.0.0.1:3129/ HTTP/1.1\r\nHost: h\r\n", ROUTE_UPSTREAM, FAULT_NONE,
         "tls 127.0.0.1:3129 / 127.0.0.1:3129"},
        {PROXY, "GET http://127.0.0.3:3128/ HTTP/1.1\r\nHost: h\r\n", ROUTE_UPSTREAM, FAULT_NONE,
         "tls 127.0.0.3:3128 / 127.0.0.3:3128"},
        {PROXY, "GET http://127.0.0.2:9002/ HTTP/1.1\r\nHost: h\r\n", ROUTE_REFUSE, FAULT_DENIED,
         "deny_hosts"},
        {PROXY, "CONNECT localhost:3129 HTTP/1.1\r\nHost: h\r\n", ROUTE_PLAIN, FAULT_NONE, ""},
        {PROXY, "CONNECT 127.0.0.2:9002 HTTP/1.1\r\nHost: h\r\n", ROUTE_REFUSE, FAULT_DENIED,
         "deny_hosts"},
        {PROXY, "CONNECT [::1]:9001 HTTP/1.1\r\nHost: h\r\n", ROUTE_UPSTREAM, FAULT_NONE, NULL},
        {SOURCE_BATCH, "GET http://localhost:3129/ HTTP/1.1\r\nHost: h\r\n", ROUTE_UPSTREAM,
         FAULT_NONE, "tls localhost:99 / localhost:3129"},
        {PROXY, "GET http://tlsfan.internal/ HTTP/1.1\r\nHost: h\r\n", ROUTE_REFUSE,
         FAULT_NOT_FOUND, "nothing but /batch at http://tlsfan.internal/"},
        {PROXY, "GET http://tlsfan.localhost/ HTTP/1.1\r\nHost: h\r\n", ROUTE_REFUSE,
         FAULT_NOT_FOUND, "nothing but /batch at http://tlsfan.localhost/"},
        {PROXY, "GET https://TLSfan.internal./batch HTTP/1.1\r\nHost: h\r\n", ROUTE_REFUSE,
         FAULT_NOT_FOUND, "with http:// and without a port"},
        {PROXY, "GET http://tlsfan.internal:81/batch HTTP/1.1\r\nHost: h\r\n", ROUTE_REFUSE,
         FAULT_NOT_FOUND, "with http:// and without a port"},
        {PROXY, "CONNECT tlsfan.internal:80 HTTP/1.1\r\nHost: h\r\n", ROUTE_PLAIN, FAULT_NONE, ""},
        {PROXY, "CONNECT tlsfan.internal:443 HTTP/1.1\r\nHost: h\r\n", ROUTE_REFUSE,
         FAULT_NOT_FOUND, "with http://"},
        {TRANSP, "GET /x HTTP/1.1\r\nHost: tlsfan.internal\r\n", ROUTE_REFUSE, FAULT_NOT_FOUND,
         "nothing but /batch"},
        {TURNED, "CONNECT tlsfan.internal:443 HTTP/1.1\r\nHost: h\r\n", ROUTE_REFUSE,
         FAULT_NOT_FOUND, ""},
    };
    static const struct source_turned to = {.to = {.name = STR_INIT("to.test"), .port = 80}};
    struct bound v[] = {{.kind = LISTENER_SERVICE},
                        {.kind = LISTENER_FORWARD, .tls = true},
                        {.kind = LISTENER_PROXY},
                        {.kind = LISTENER_FORWARD},
                        {.kind = LISTENER_SERVICE}};
    static const char *const where[] = {"127.0.0.1:3129", "[::1]:9001", "127.0.0.3:3128",
                                        "127.0.0.2:9002", "127.0.0.1:80"};
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_true(addr_parse(&v[i].addr, str_from(where[i])));
    bound_set(v, 5);
    rig_open(&rig, with_rules);
    for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
        turned = source_rules[wants[i].kind].is_silent || wants[i].kind == TRANSP ? &to : NULL;
        check(&wants[i]);
    }
    turned = NULL;
    rig_close(&rig);
    bound_set(NULL, 0);
}

/* An own listener is asked without our name in Via, and by nobody of another machine. */
static void who_is_led_here(void **state)
{
    static struct probe p;
    struct bound b = {.kind = LISTENER_FORWARD};
    struct fault f;
    (void)state;
    assert_true(addr_parse(&b.addr, STR("127.0.0.1:9001")));
    bound_set(&b, 1);
    rig_open(&rig, NULL);
    for (int i = 0; i < 2; i++) {
        probe_open(&p, &rig, "GET http://127.0.0.1:9001/ HTTP/1.1\r\nHost: h\r\n");
        p.side.is_local = i == 0;
        assert_int_equal(route_request(&p.x, &f), ROUTE_UPSTREAM);
        assert_int_equal(p.x.where.is_bound, i == 0);
        assert_int_equal(fields_has(&p.x.head.fields, FIELD_VIA), i == 1);
        probe_close(&p, &rig);
    }
    rig_close(&rig);
    bound_set(NULL, 0);
}

/* What the rule's secrets go with: the Authorization that goes up. */
static void secrets(void **state)
{
    static const char *const with_secrets[] = {
        "rule[a.test].request_header=Authorization: {env:TEST_SECRET}",
        "rule[*.wild.test].request_header=Authorization: {env:TEST_SECRET}",
        "rule[p.test:8443].request_header=Authorization: {env:TEST_SECRET}",
        "rule[m.test].request_header=Authorization: {env:TEST_SECRET}",
        "rule[m.test].port=9443",
        NULL};
    static const struct {
        enum source_kind kind;
        const char *head, *sent; /* NULL: none */
    } wants[] = {
        {PROXY, "GET http://a.test/ HTTP/1.1\r\nHost: x\r\n", "s3cret"},
        {PROXY, "GET http://a.test/ HTTP/1.1\r\nHost: x\r\nAuthorization: own\r\n", "s3cret"},
        {PROXY, "GET https://A.test.:443/ HTTP/1.1\r\nHost: x\r\n", "s3cret"},
        {PROXY, "GET http://b.wild.test/ HTTP/1.1\r\nHost: x\r\n", "s3cret"},
        {PROXY, "GET http://wild.test/ HTTP/1.1\r\nHost: a.test\r\n", NULL},
        {PROXY, "GET http://a.test:8080/ HTTP/1.1\r\nHost: x\r\nAuthorization: own\r\n", NULL},
        {PROXY, "GET https://a.test:80/ HTTP/1.1\r\nHost: x\r\n", NULL},
        {PROXY, "GET https://p.test:8443/ HTTP/1.1\r\nHost: x\r\n", "s3cret"},
        {PROXY, "GET https://p.test/ HTTP/1.1\r\nHost: x\r\nAuthorization: own\r\n", "own"},
        {PROXY, "GET http://m.test/ HTTP/1.1\r\nHost: x\r\n", "s3cret"},
        {PROXY, "GET http://m.test:9443/ HTTP/1.1\r\nHost: x\r\n", NULL},
        {PROXY, "TRACE http://a.test/ HTTP/1.1\r\nHost: x\r\nAuthorization: own\r\n", NULL},
        {SOURCE_BATCH, "GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n", "s3cret"},
        {SOURCE_BATCH, "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n", NULL},
        {TRANSP, "GET / HTTP/1.1\r\nHost: a.test\r\n", "s3cret"},
        {TRANSP, "GET / HTTP/1.1\r\nHost: b.test\r\n", NULL},
        {SOURCE_OWN, "GET https://a.test/ HTTP/1.1\r\nHost: x\r\nAuthorization: own\r\n", "own"},
    };
    static struct probe p;
    struct source_turned to = {.to = {.name = STR("a.test"), .port = 80}};
    struct fault f;
    (void)state;
    setenv("TEST_SECRET", "s3cret", 1);
    rig_open(&rig, with_secrets);
    for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
        probe_open(&p, &rig, wants[i].head);
        p.side.kind = wants[i].kind;
        p.side.turned = wants[i].kind == TRANSP ? &to : NULL;
        assert_int_equal(route_request(&p.x, &f), ROUTE_UPSTREAM);
        const struct field *sent = fields_find(&p.x.head.fields, FIELD_AUTHORIZATION, NULL);
        assert_int_equal(sent != NULL, wants[i].sent != NULL);
        if (sent != NULL)
            assert_true(str_eq(sent->value, str_from(wants[i].sent)));
        probe_close(&p, &rig);
    }
    rig_close(&rig);
}

/* client.allow of a newer snapshot is asked again, as far as it was asked before. */
static void who_may_come(void **state)
{
    static const char *const strict[] = {"client.allow=192.0.2.0/24", NULL};
    static const char *const loopback[] = {"client.allow=loopback", NULL};
    static struct probe p;
    struct source_turned t = {.to = {.name = STR("to.test"), .port = 80}};
    struct fault f;
    (void)state;
    for (int i = 0; i < 4; i++) {
        bool is_local = i % 2 == 0;
        t.is_captured = i == 3;
        rig_open(&rig, i < 2 ? loopback : strict);
        probe_open(&p, &rig, "GET / HTTP/1.1\r\nHost: a.test\r\n");
        p.side.kind = SOURCE_TRANSPARENT;
        p.side.turned = &t;
        p.side.is_local = is_local;
        assert_true(addr_parse_ip(&p.side.peer, STR("10.0.0.1"), 1));
        assert_int_equal(route_request(&p.x, &f), i == 0 || i == 3 ? ROUTE_UPSTREAM : ROUTE_REFUSE);
        probe_close(&p, &rig);
        rig_close(&rig);
    }
}

/* A request that has come through this very process goes no further. */
static void loops(void **state)
{
    static struct probe p;
    struct fault f;
    char head[256];
    (void)state;
    rig_open(&rig, NULL);
    snprintf(head, sizeof(head), "GET http://a.test/ HTTP/1.1\r\nHost: a\r\nVia: 1.0 x, %s\r\n",
             rig.id.via);
    probe_open(&p, &rig, head);
    assert_int_equal(route_request(&p.x, &f), ROUTE_REFUSE);
    assert_int_equal(f.code, FAULT_LOOP);
    probe_close(&p, &rig);
    rig_close(&rig);
}

/* What became of the target and of the fields that matter when route_request() has decided. */
static void credentials(void **state)
{
    static const struct {
        const char *head;
        const char *target, *host, *authorization; /* NULL: none */
    } wants[] = {
        {"GET http://u:p@a.test:80/x HTTP/1.1\r\nHost: u:p@a.test:80\r\n", "http://a.test:80/x",
         "a.test:80", "Basic dTpw"},
        {"GET http://u@a.test HTTP/1.1\r\nHost: a.test\r\n", "http://a.test", "a.test",
         "Basic dTo="},
        {"GET http://@a.test/ HTTP/1.1\r\nHost: @a.test\r\n", "http://a.test/", "a.test", NULL},
        {"GET http://u:p%40w@a.test/ HTTP/1.1\r\nHost: u:p@w@a.test\r\n", "http://a.test/",
         "a.test", "Basic dTpwQHc="},
        {"GET http://u:p@a.test/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n",
         "http://a.test/", "a", "Bearer x"},
        {"GET http://u:p@a.test/ HTTP/1.1\r\nHost: a\r\nAuthorization:\r\n", "http://a.test/", "a",
         ""},
        {"TRACE http://u:p@a.test/ HTTP/1.1\r\nHost: u:p@a.test\r\n", "http://a.test/", "a.test",
         NULL},
    };
    static struct probe p;
    struct fault f;
    (void)state;
    rig_open(&rig, NULL);
    for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
        probe_open(&p, &rig, wants[i].head);
        struct fields *fields = &p.x.head.fields;
        assert_int_equal(route_request(&p.x, &f), ROUTE_UPSTREAM);
        assert_true(str_eq(p.x.head.target, str_from(wants[i].target)));
        const struct field *host = fields_find(fields, FIELD_HOST, NULL);
        assert_true(str_eq(host->value, str_from(wants[i].host)));
        assert_null(fields_find(fields, FIELD_HOST, host));
        const struct field *authorization = fields_find(fields, FIELD_AUTHORIZATION, NULL);
        assert_int_equal(authorization != NULL, wants[i].authorization != NULL);
        if (authorization != NULL)
            assert_true(str_eq(authorization->value, str_from(wants[i].authorization)));
        probe_close(&p, &rig);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets),       cmocka_unit_test(secrets),
        cmocka_unit_test(turned_here),   cmocka_unit_test(who_may_come),
        cmocka_unit_test(loops),         cmocka_unit_test(credentials),
        cmocka_unit_test(own_listeners), cmocka_unit_test(who_is_led_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
