# SPDX-License-Identifier: Apache-2.0
"""The invisible upgrade (contract section 4): one table row per sentence, through nginx; then a whole login."""
import html
import re
import secrets
from urllib.parse import parse_qs

import pytest
import requests

from testenv.nginx import Nginx
from testenv.scripted import answering, ok

RESPONSES = [  # field, value from the origin, value at the client (None: dropped)
    ("Location", "https://localhost/a?b#c", "http://localhost/a?b#c"),
    ("Location", "https://other.test/x", "http://other.test/x"),
    ("Location", "https://other.test:443/x", "http://other.test/x"),
    ("Location", "https://other.test:8443/x", "http://other.test:8443/x"),
    ("Location", "HTTPS://Other.Test/x", "http://Other.Test/x"),
    ("Location", "https://plain.test/x", "https://plain.test/x"),
    ("Location", "/relative?u=https://other.test/", "/relative?u=https://other.test/"),
    ("Location", "//other.test/x", "//other.test/x"),
    ("Location", "http://other.test/x", "http://other.test/x"),
    ("Location", "ftp://other.test/x", "ftp://other.test/x"),
    ("Content-Location", "https://other.test/x", "http://other.test/x"),
    ("Refresh", "5; url=https://other.test/x", "5; url=http://other.test/x"),
    ("Refresh", "0;URL='https://other.test:443/x'", "0;URL='http://other.test/x'"),
    ("Link", "<https://other.test/?page=2>; rel=next, <https://plain.test/>; rel=x",
     "<http://other.test/?page=2>; rel=next, <https://plain.test/>; rel=x"),
    ("Link", "</rel>; rel=prev; title=\\\"<https://other.test/>\\\"",
     "</rel>; rel=prev; title=\"<https://other.test/>\""),
    ("WWW-Authenticate", "Bearer realm=\\\"https://other.test/token\\\",service=\\\"registry\\\"",
     "Bearer realm=\"http://other.test/token\",service=\"registry\""),
    ("WWW-Authenticate", "Basic realm=\\\"plain text\\\"", "Basic realm=\"plain text\""),
    ("Set-Cookie", "a=1; Secure", "a=1"),
    ("Set-Cookie", "a=1; Path=/; secure; HttpOnly", "a=1; Path=/; HttpOnly"),
    ("Set-Cookie", "a=1; SameSite=None; Secure; Partitioned", "a=1"),
    ("Set-Cookie", "a=1; SameSite=Lax; Max-Age=5", "a=1; SameSite=Lax; Max-Age=5"),
    ("Set-Cookie", "a=Secure; Domain=x.test; secure", "a=Secure; Domain=x.test"),
    ("Set-Cookie", "__Host-a=1; Secure; Path=/", "__Host-a=1; Path=/"),
    ("Set-Cookie", "__Secure-a=1; Secure", "__Secure-a=1"),
    ("Set-Cookie", "a=1; Expires=Wed, 21 Oct 2099 07:28:00 GMT; Secure", "a=1; Expires=Wed, 21 Oct 2099 07:28:00 GMT"),
    ("Strict-Transport-Security", "max-age=1", None),
    ("Alt-Svc", "h3=\\\":443\\\"", None),
    ("Content-Security-Policy", "upgrade-insecure-requests", None),
    ("Content-Security-Policy", "default-src 'self'; upgrade-insecure-requests; img-src *",
     "default-src 'self'; img-src *"),
    ("Content-Security-Policy", "default-src https://upgrade-insecure-requests.test",
     "default-src https://upgrade-insecure-requests.test"),
    ("Access-Control-Allow-Origin", "https://other.test", "http://other.test"),
    ("Access-Control-Allow-Origin", "https://plain.test", "https://plain.test"),
    ("Access-Control-Allow-Origin", "*", "*"),
    ("X-Url", "https://other.test/", "https://other.test/"),
]

REQUESTS = [  # field, as the client sends it, as the origin sees it
    ("Origin", "http://other.test", "https://other.test"),
    ("Origin", "http://plain.test", "http://plain.test"),
    ("Origin", "null", "null"),
    ("Referer", "http://other.test/page?u=http://other.test/", "https://other.test/page?u=http://other.test/"),
    ("Referer", "http://plain.test/page", "http://plain.test/page"),
    ("Referer", "https://other.test/page", "https://other.test/page"),
    ("Destination", "http://other.test/dav/b", "https://other.test/dav/b"),
    ("X-Forwarded-Proto", "http", "https"),
    ("X-Url", "http://other.test/", "http://other.test/"),
]


def normal(value):
    """Spelling that may differ without a difference in meaning."""
    return None if value is None else re.sub(r"\s*([;,])\s*", r"\1 ", value).strip().rstrip(";")


@pytest.fixture(scope="module")
def site(tmp, ca, protocol):
    locations = "".join('location = /r%d { add_header %s "%s" always; return 299 "x"; }\n' % (i, n, v.replace("$", ""))
                        for i, (n, v, _) in enumerate(RESPONSES))
    locations += ('location = /echo { return 200 '
                  '"$http_origin|$http_referer|$http_destination|$http_x_forwarded_proto|$http_x_url"; }\n'
                  'location = /none { return 200 '
                  '"[$http_origin$http_referer$http_x_forwarded_proto$http_x_forwarded_for$http_x_real_ip]"; }\n')
    server = Nginx(tmp / ("upgrade-" + protocol), ca.leaf(), locations, protocol=protocol)
    yield server
    server.stop()


@pytest.fixture
def upgraded(make_proxy, site):
    return make_proxy('rule "plain.test" { upgrade = off }\n')


def test_response_fields(upgraded, site):
    wrong = []
    with upgraded.client() as c:
        for i, (name, given, expected) in enumerate(RESPONSES):
            got = normal(c.get(site.url("/r%d" % i)).get(name))
            if got != normal(expected):
                wrong.append("%s: %s -> %r, expected %r" % (name, given, got, expected))
    assert not wrong, "\n".join(wrong)


def test_https_requests_get_no_rewriting(upgraded, site):
    wrong = []
    with upgraded.client() as c:
        for i, (name, given, _) in enumerate(RESPONSES):
            got = c.get("https://localhost:%d/r%d" % (site.port, i)).get(name)
            if got != given.replace("\\\"", '"'):
                wrong.append("%s: %r" % (name, got))
    assert not wrong, "\n".join(wrong)


def test_request_fields(upgraded, origin):
    wrong = []
    with upgraded.client() as c:
        for name, sent, expected in REQUESTS:
            c.get(origin.url(), "%s: %s" % (name, sent))
            got = origin.requests[-1].get(name)
            if got != expected:
                wrong.append("%s: %s -> %r, expected %r" % (name, sent, got, expected))
    assert not wrong, "\n".join(wrong)


def test_fields_the_client_did_not_send_are_not_added(upgraded, site):
    with upgraded.client() as c:
        assert c.get(site.url("/none")).text == "[]"


def test_request_fields_through_nginx(upgraded, site):
    with upgraded.client() as c:
        r = c.get(site.url("/echo"), "Origin: http://localhost:%d" % site.port,
                  "Referer: http://localhost:%d/f" % site.port, "X-Forwarded-Proto: http")
    assert r.text == "https://localhost:%d|https://localhost:%d/f||https|" % (site.port, site.port)


@pytest.mark.parametrize("switch, index", [("location", 1), ("links", 13), ("cookies", 17), ("hsts", 25), ("cors", 30)])
def test_each_switch_turns_its_part_off(make_proxy, site, switch, index):
    p = make_proxy("rewrite { %s = off }\n" % switch)
    name, given, _ = RESPONSES[index]
    with p.client() as c:
        assert c.get(site.url("/r%d" % index)).get(name) == given.replace("\\\"", '"')
        other = 1 if index != 1 else 17
        assert normal(c.get(site.url("/r%d" % other)).get(RESPONSES[other][0])) == normal(RESPONSES[other][2])


def test_origin_switch(make_proxy, origin):
    p = make_proxy("rewrite { origin = off }\n")
    with p.client() as c:
        c.get(origin.url(), "Origin: http://other.test", "Referer: http://other.test/")
    assert origin.requests[-1].get("Origin") == "http://other.test"
    assert origin.requests[-1].get("Referer") == "http://other.test/"


def test_several_cookies_and_policies(upgraded, serve):
    server = serve(answering(lambda r,
                             c: ok("", "Set-Cookie: a=1; Secure", "Set-Cookie: b=2; SameSite=None",
                                   "Content-Security-Policy: upgrade-insecure-requests",
                                             "Content-Security-Policy: img-src 'self'", "set-cookie: c=3")))
    with upgraded.client() as c:
        r = c.get(server.url())
    assert [normal(v) for v in r.all("Set-Cookie")] == ["a=1", "b=2", "c=3"]
    assert r.all("Content-Security-Policy") == ["img-src 'self'"]


def test_bodies_are_never_touched(upgraded, serve):
    body = b'<a href="https://other.test/">Strict-Transport-Security: Secure</a>'
    server = serve(answering(lambda r, c: ok(body, "Content-Type: text/html")))
    with upgraded.client() as c:
        assert c.get(server.url()).body == body


# --- a login form: cookie, redirect, CSRF

def login_app():
    sessions, tokens = {}, {}

    def app(request, conn):
        cookies = dict(p.strip().split("=", 1) for p in "; ".join(request.all("Cookie")).split(";") if "=" in p)
        base = "https://" + request.get("Host")
        if request.target == "/login" and request.method == "GET":
            sid, token = secrets.token_hex(8), secrets.token_hex(8)
            tokens[sid] = token
            return ok('<form method="post" action="/login"><input name="csrf" value="%s"></form>' % token,
                      "Content-Type: text/html",
                      "Set-Cookie: sid=%s; Secure; HttpOnly; SameSite=None; Path=/" % sid,
                      "Strict-Transport-Security: max-age=31536000")
        if request.target == "/login" and request.method == "POST":
            form = parse_qs(request.body.decode())
            if request.get("Origin") != base or not request.get("Referer", "").startswith(base + "/"):
                return ok("CSRF: bad origin %r" % request.get("Origin"), status="403 Forbidden")
            if not cookies.get("sid") or form.get("csrf") != [tokens.get(cookies["sid"])]:
                return ok("CSRF: bad token", status="403 Forbidden")
            if form.get("user") != ["alice"] or form.get("password") != ["wonder"]:
                return ok("no", status="401 Unauthorized")
            sessions[cookies["sid"]] = "alice"
            return ok("", "Location: %s/home?from=login" % base, "Set-Cookie: seen=1; Secure; Path=/",
                      status="302 Found")
        user = sessions.get(cookies.get("sid"))
        if user is None:
            return ok("", "Location: %s/login" % base, status="302 Found")
        return ok("Welcome, %s (%s)" % (user, cookies.get("seen")))
    return app


@pytest.mark.parametrize("with_port", [True, False])
def test_login_form(make_proxy, serve, with_port):
    server = serve(answering(login_app()))
    p = make_proxy('connect_to = {"www.example.test:443:127.0.0.1:%d"}\n' % server.port)
    base = "http://localhost:%d" % server.port if with_port else "http://www.example.test"
    session = requests.Session()
    session.trust_env = False
    session.proxies = {"http": p.url}
    page = session.get(base + "/home", timeout=20)
    assert page.status_code == 200 and page.url == base + "/login" and [r.status_code for r in page.history] == [302]
    token = html.unescape(re.search(r'name="csrf" value="([^"]+)"', page.text).group(1))
    fields = {"Origin": base, "Referer": base + "/login"}
    bad = session.post(base + "/login", data={"csrf": "no", "user": "alice", "password": "wonder"}, headers=fields,
                       timeout=20)
    assert bad.status_code == 403 and "token" in bad.text
    done = session.post(base + "/login", data={"csrf": token, "user": "alice", "password": "wonder"}, headers=fields,
                        timeout=20)
    assert done.text == "Welcome, alice (1)" and done.url == base + "/home?from=login", done.text
    assert "Strict-Transport-Security" not in page.headers
    session.close()
