# SPDX-License-Identifier: Apache-2.0
"""Access tokens that tlsfan fetches: oauth "NAME" { } and {oauth:NAME}, against a scripted token endpoint."""
import base64
import json
import signal
import threading
import time
import urllib.parse

import pytest

from test_19_resolv import may_unshare
from test_32_search import names  # noqa: F401, a fixture
from testenv.crowd import at_once
from testenv.intercept import to
from testenv.parents import Relay
from testenv.ports import free_port
from testenv.proxy import run
from testenv.scripted import answering, ok
from testenv.wait import wait_until

SECRET = "p+s: w/%rd-0123456789"
ONE_IS_ENOUGH = pytest.mark.h1_only("what a token is does not depend on the protocol")


def told(status, text, *fields):
    body = text.encode()
    return ("HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n" % (status, len(body), "".join(f + "\r\n" for f in fields))
            ).encode() + body


class Endpoint:
    """Gives token-1, token-2, ...; .answer, where it is set, makes the answer instead."""

    def __init__(self, serve):
        self.lock, self.n = threading.Lock(), 0
        self.more = {"token_type": "Bearer", "expires_in": 3600}
        self.answer = None
        self.gate = threading.Event()
        self.gate.set()
        self.server = serve(answering(self.handle))

    def handle(self, r, c):
        self.gate.wait(20)
        with self.lock:
            self.n += 1
            if self.answer is not None:
                return self.answer(self.n)
            return ok(json.dumps({"access_token": "token-%d" % self.n, **self.more}))

    @property
    def url(self):
        return self.server.url("/token", host="localhost").replace("http://", "https://")

    @property
    def requests(self):
        return self.server.requests


class Api:
    """Takes the tokens in .good, else is .refused by 401."""

    def __init__(self, serve):
        self.good = None
        self.server = serve(answering(self.handle))

    def handle(self, r, c):
        if self.good is not None and r.get("Authorization") not in self.good:
            return told(401, "no", "WWW-Authenticate: Bearer error=invalid_token")
        return ok((r.get("Authorization") or "none") + " " + r.body.decode())


@pytest.fixture
def endpoint(serve):
    return Endpoint(serve)


@pytest.fixture
def api(serve):
    return Api(serve)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def conf(endpoint, api, secret):
    def make(more="", url=None, api_more="", name="a"):
        return (to(api.server, "origin.test")
                + 'oauth "%s" { token_url = "%s" client_id = "me" client_secret = "{file:%s}" %s }\n'
                % (name, url or endpoint.url, secret, more)
                + 'rule "origin.test" { request_header = {"Authorization: Bearer {oauth:%s}"} %s }\n'
                % (name, api_more))
    return make


def ask(c, body=b""):
    return c.exchange("POST" if body else "GET", "http://origin.test/", "Authorization: mine", body=body)


def test_both_go_through_a_parent(one, conf, api, endpoint):
    """The token, too, and the parent sees neither: both are TLS inside its tunnels."""
    relay = Relay()
    try:
        c, _ = one(conf() + 'upstream { proxy = "%s" }\n' % relay.address())
        assert ask(c).text == "Bearer token-1 "
        assert [x.rpartition(":")[2] for x in relay.targets()] == [str(s.port) for s in (endpoint.server, api.server)]
        assert {r.method for r in relay.requests} == {"CONNECT"}
    finally:
        relay.stop()


def test_a_token_is_fetched_once_and_used(one, conf, endpoint):
    c, p = one(conf('scope = "read write" audience = "https://api/"'))
    for _ in range(3):
        assert ask(c).text == "Bearer token-1 "
    assert len(endpoint.requests) == 1
    r = endpoint.requests[0]
    assert (r.method, r.target, r.get("Accept")) == ("POST", "/token", "application/json")
    assert r.get("Content-Type") == "application/x-www-form-urlencoded"
    assert dict(urllib.parse.parse_qsl(r.body.decode())) == {
        "grant_type": "client_credentials", "scope": "read write", "audience": "https://api/"}
    scheme, pair = r.get("Authorization").split()
    assert scheme == "Basic"
    assert base64.b64decode(pair).decode() == "me:" + urllib.parse.quote_plus(SECRET)
    line, = p.wait_access(lambda x: "/token" in x["url"])
    assert (line["client"], line["method"], line["status"]) == ("tlsfan", "POST", 200)


@ONE_IS_ENOUGH
def test_credentials_in_the_body(one, conf, endpoint):
    c, _ = one(conf("auth = body"))
    assert ask(c).text == "Bearer token-1 "
    r = endpoint.requests[0]
    assert r.get("Authorization") is None
    assert dict(urllib.parse.parse_qsl(r.body.decode())) == {
        "grant_type": "client_credentials", "client_id": "me", "client_secret": SECRET}


@ONE_IS_ENOUGH
def test_one_fetch_for_all_who_wait(make_proxy, conf, endpoint, api):
    p = make_proxy("workers = 4\n" + conf())
    endpoint.gate.clear()
    result = []
    t = threading.Thread(target=lambda: result.append(at_once(p, ["http://origin.test/%d" % i for i in range(40)])))
    t.start()
    wait_until(lambda: endpoint.requests, what="the fetch")
    wait_until(lambda: p.fds() > 40, what="all to wait")
    assert api.server.requests == []
    endpoint.gate.set()
    t.join()
    wait_until(lambda: len(api.server.requests) == 40, what="all requests")
    assert len(endpoint.requests) == 1
    assert {r.get("Authorization") for r in api.server.requests} == {"Bearer token-1"}


@ONE_IS_ENOUGH
def test_renewed_before_it_ends_while_the_old_one_serves(one, conf, endpoint):
    endpoint.more["expires_in"] = 5
    c, _ = one(conf())
    assert ask(c).text == "Bearer token-1 "
    endpoint.gate.clear()
    wait_until(lambda: ask(c).text and len(endpoint.requests) == 2, 8, "a renewal")
    assert ask(c).text == "Bearer token-1 "  # which is not waited for
    endpoint.gate.set()
    wait_until(lambda: ask(c).text == "Bearer token-2 ", what="the new one")


@pytest.mark.parametrize("body", [b"", b"x" * 30000], ids=["get", "post"])
def test_a_401_is_answered_by_a_renewal_and_a_repetition(one, conf, endpoint, api, body):
    api.good = {"Bearer token-2"}
    c, p = one(conf())
    assert ask(c, body).text == "Bearer token-2 " + body.decode()
    assert len(endpoint.requests) == 2 and len(api.server.requests) == 2
    assert ask(c, body).text == "Bearer token-2 " + body.decode()
    assert len(endpoint.requests) == 2 and len(api.server.requests) == 3


def test_a_401_to_what_cannot_be_repeated_is_a_renewal_for_the_next(one, conf, endpoint, api):
    """An upload that is larger than what is kept of it has its 401; who does nothing else is not refused for ever."""
    api.good = {"Bearer token-2"}
    c, _ = one("client { buffer = 64k }\n" + conf())
    body = b"x" * 1000000
    assert ask(c, body).status == 401
    assert len(endpoint.requests) == 1 and len(api.server.requests) == 1
    assert ask(c, body).text == "Bearer token-2 " + body.decode()
    assert len(endpoint.requests) == 2 and len(api.server.requests) == 2


@ONE_IS_ENOUGH
def test_several_401_share_one_renewal(make_proxy, conf, endpoint, api):
    p = make_proxy("workers = 2\n" + conf())
    with p.client() as c:
        assert ask(c).text == "Bearer token-1 "
    api.good = {"Bearer token-2"}
    at_once(p, ["http://origin.test/%d" % i for i in range(20)])
    assert len(endpoint.requests) == 2
    assert len([1 for r in api.server.requests if r.get("Authorization") == "Bearer token-2"]) == 20


@ONE_IS_ENOUGH
def test_who_refuses_it_holds_up_nobody_else(make_proxy, conf, endpoint, api, serve):
    """The token that one origin does not like goes to another one, while a new one is waited for."""
    other = serve(answering(lambda r, c: ok(r.get("Authorization"))))
    p = make_proxy(conf() + 'rule "other.test" { request_header = {"Authorization: Bearer {oauth:a}"} '
                   'connect_to = "127.0.0.1:%d" }\n' % other.port)
    api.good = {"Bearer token-2"}
    with p.client() as c, p.client() as another:
        assert another.get("http://other.test/").text == "Bearer token-1"
        endpoint.gate.clear()
        c.request("GET", "http://origin.test/")
        wait_until(lambda: len(endpoint.requests) == 2, what="the renewal")
        assert another.get("http://other.test/").text == "Bearer token-1"
        endpoint.gate.set()
        assert c.response().text == "Bearer token-2 "
        assert another.get("http://other.test/").text == "Bearer token-2"


@ONE_IS_ENOUGH
def test_who_refuses_every_token_is_believed(one, conf, endpoint, api):
    api.good = {"none"}
    c, _ = one(conf())
    for _ in range(20):
        assert ask(c).status == 401
    assert len(endpoint.requests) <= 4  # the first, one for the 401, and as seconds pass
    assert len(api.server.requests) <= 24


FAILURES = {
    "refused": (lambda n: told(401, '{"error":"invalid_client","error_description":"Bad \\u00e4 client\\r\\n"}'),
                "localhost answered 401 invalid_client: Bad \\xc3\\xa4 client\\x0d\\x0a"),
    "repeats": (lambda n: told(400, json.dumps({"error": "invalid_request", "error_description": "what is " + SECRET})),
                "localhost answered 400 invalid_request: (it repeats the secret)"),
    "plain": (lambda n: told(503, "busy"), "localhost answered 503"),
    "redirect": (lambda n: told(302, "", "Location: https://elsewhere.test/"), "localhost answered 302"),
    "empty": (lambda n: told(200, ""), "localhost answered 200 with something that is no JSON object"),
    "told as a success": (lambda n: told(200, '{"error":"invalid_client","error_description":"who?"}'),
                          "localhost answered 200 invalid_client: who?"),
    "array": (lambda n: told(200, "[]"), "localhost answered 200 with something that is no JSON object"),
    "no token": (lambda n: told(200, "{}"), "localhost answered 200 without an access_token"),
    "mac": (lambda n: told(200, '{"access_token":"a","token_type":"mac"}'), "gave a token of type mac, which is"),
    "field": (lambda n: told(200, '{"access_token":"a\\r\\nX: b"}'), "gave a token with bytes that no token has"),
    "nul": (lambda n: told(200, '{"access_token":"a\\u0000b"}'), "answered 200 with something that is no JSON"),
    "large": (lambda n: told(200, '{"access_token":"%s"}' % ("a" * 70000)), "its answer is larger than 64 KiB"),
    "long": (lambda n: told(200, '{"access_token":"%s"}' % ("a" * 20000)), "of more than 16 KiB"),
    "deep": (lambda n: told(200, "[" * 5000), "localhost answered 200 with something that is no JSON object"),
}


@ONE_IS_ENOUGH
@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_is_told_and_not_hammered(one, conf, endpoint, api, how):
    endpoint.answer, expected = FAILURES[how]
    c, p = one(conf())
    for _ in range(5):
        r = ask(c)
        assert r.status == 502 and 'oauth "a"' in r.text and expected in r.text, r.text
        assert r.error == "destination_unavailable"
    assert len(endpoint.requests) == 1 and api.server.requests == []
    endpoint.answer = None
    wait_until(lambda: ask(c).status == 200, 10, "another try")
    assert len(endpoint.requests) <= 3
    assert SECRET not in p.log() and expected.split("\\")[0] in p.log()


@ONE_IS_ENOUGH
def test_an_endpoint_that_is_not_there(one, conf):
    c, _ = one(conf(url="https://localhost:%d/token" % free_port()))
    r = ask(c)
    assert r.status == 502 and 'no access token for oauth "a" from localhost: ' in r.text and "refused" in r.text


@ONE_IS_ENOUGH
def test_an_endpoint_with_another_name(one, conf, serve, api):
    wrong = serve(answering(lambda r, c: ok("{}")), kind="wrong_host")
    c, _ = one(conf(url="https://localhost:%d/token" % wrong.port))
    r = ask(c)
    assert r.status == 502 and "certificate" in r.text and wrong.requests == [] and api.server.requests == []


@ONE_IS_ENOUGH
@pytest.mark.skipif(not may_unshare(), reason="a mount namespace and port 53 need root")
def test_an_endpoint_found_by_a_name_that_is_not_verified(names, make_proxy, conf, serve, api):
    """The answers of the DNS choose the rule; none of them has the secret sent to just anybody."""
    wrong = serve(answering(lambda r, c: ok("{}")), kind="wrong_host", host="0.0.0.0")
    _, prefix = names("search corp.test", {"auth.corp.test": [("A", "127.1.0.1", 60)]})
    p = make_proxy(conf(url="https://auth:%d/token" % wrong.port) + 'rule "*.corp.test" { verify = off }\n',
                   prefix=prefix)
    with p.client() as c:
        r = ask(c)
    assert r.status == 502 and 'verify is off in rule "*.corp.test"' in r.text, r.text
    assert wrong.requests == [] and api.server.requests == []


@ONE_IS_ENOUGH
def test_who_waits_too_long(one, conf, endpoint):
    endpoint.gate.clear()
    c, _ = one("upstream { queue_timeout = 300ms }\n" + conf())
    r = ask(c)
    endpoint.gate.set()
    assert r.status == 502 and "localhost has not answered within 300 ms (upstream.queue_timeout)" in r.text


@ONE_IS_ENOUGH
def test_an_ended_token_is_not_sent(one, conf, endpoint, api):
    endpoint.more["expires_in"] = "1"
    c, _ = one(conf())
    assert ask(c).text == "Bearer token-1 "
    endpoint.answer = lambda n: told(500, "")
    wait_until(lambda: ask(c).status == 502, what="its end")
    count = len(api.server.requests)
    assert ask(c).status == 502 and len(api.server.requests) == count


@ONE_IS_ENOUGH
def test_no_lifetime_and_other_cases_of_the_type(one, conf, endpoint):
    endpoint.more = {"token_type": "bEARER"}
    c, _ = one(conf())
    assert ask(c).text == "Bearer token-1 " and ask(c).text == "Bearer token-1 "


@ONE_IS_ENOUGH
def test_rules_of_the_endpoint_hold_but_for_its_credentials(one, conf, endpoint, tmp_path):
    """A token of the same section, or a credential of the rule, is nothing for the endpoint itself."""
    more = 'rule "localhost:%d" { request_header = {"X-Gateway: {file:%s}", "Authorization: Bearer {oauth:a}"} }\n' % (
        endpoint.server.port, tmp_path / "secret")
    c, _ = one(conf() + more)
    assert ask(c).text == "Bearer token-1 "
    r = endpoint.requests[0]
    assert r.all("X-Gateway") == [SECRET] and r.get("Authorization").startswith("Basic ")


@ONE_IS_ENOUGH
def test_nothing_of_it_is_denied_or_intercepted(one, conf, endpoint):
    c, _ = one('destination { deny = {"any"} allow_hosts = {"origin.test"} }\n' + conf())
    assert ask(c).text == "Bearer token-1 " and len(endpoint.requests) == 1  # origin.test is by connect_to


@ONE_IS_ENOUGH
def test_a_reload_keeps_what_is_the_same(one, conf, endpoint, secret):
    c, p = one(conf())
    assert ask(c).text == "Bearer token-1 "
    p.signal(signal.SIGHUP)
    p.wait_log("configuration reloaded")
    assert ask(c).text == "Bearer token-1 "
    p.write(conf('scope = "other"'))
    p.signal(signal.SIGHUP)
    wait_until(lambda: p.log().count("configuration reloaded") == 2, what="the second reload")
    assert ask(c).text == "Bearer token-2 "
    with open(secret, "w") as f:
        f.write("another")
    p.signal(signal.SIGHUP)
    wait_until(lambda: p.log().count("configuration reloaded") == 3, what="the third reload")
    assert ask(c).text == "Bearer token-3 "
    assert base64.b64decode(endpoint.requests[-1].get("Authorization").split()[1]) == b"me:another"


@ONE_IS_ENOUGH
def test_a_drain_does_not_wait_for_who_never_answers(one, conf, endpoint):
    endpoint.gate.clear()
    c, p = one("drain_timeout = 500ms\n" + conf())
    c.request("GET", "http://origin.test/")
    wait_until(lambda: endpoint.requests, what="the fetch")
    began = time.monotonic()
    p.stop()
    endpoint.gate.set()
    assert time.monotonic() - began < 10


FAULTS = {
    'oauth "a" { token_url = "http://h/" ID }': "2: token_url: is not https://",
    'oauth "a" { token_url = "https://u:hidden@h/" ID }': "2: token_url: is not https://",
    'oauth "a" { token_url = "https://h/#x" ID }': "2: token_url: is not https://",
    'oauth "a" { URL client_secret = "b" }': '2: oauth "a": client_id is not set',
    'oauth "a" { URL client_id = "b" }': '2: oauth "a": client_secret is not set',
    'oauth "a" { ID }': '2: oauth "a": token_url is not set',
    'oauth "a" { URL client_id = "a" client_secret = "{file:/gone}" }': "2: client_secret: {file:/gone}: No",
    'oauth "a" { URL client_id = "a" client_secret = "{oauth:a}" }': "2: client_secret: is no place",
    'oauth "a" { WHOLE auth = both }': '2: auth: "both" is none of',
    'oauth "a" { WHOLE }\nrule "h" { verify = off }':
        '2: oauth "a": a secret goes nowhere without verification: verify is off in the rule for h',
    'oauth "a" { WHOLE }\n'
    'oauth "b" { WHOLE }\n'
    'rule "x" { request_header = {"A: {oauth:a}", "B: {oauth:b}"} }': "4: request_header: {oauth:b} is a second token",
    'oauth "a" { WHOLE }\noauth "a" { }': "3: found duplicate title",
    'rule "*" { request_header = {"A: {oauth:a}"} }': "2: request_header: a secret is for hosts that are named",
}


@ONE_IS_ENOUGH
@pytest.mark.parametrize("text, expected", FAULTS.items())
def test_what_is_refused_names_its_line(tmp_path, text, expected):
    conf = tmp_path / "conf"
    for short, long in (("WHOLE", "URL ID"), ("URL", 'token_url = "https://h/"'),
                        ("ID", 'client_id = "a" client_secret = "b"')):
        text = text.replace(short, long)
    conf.write_text("via = on\n" + text + "\n")
    done = run("-c", str(conf), "-t")
    assert done.returncode == 1 and "%s:%s" % (conf, expected) in done.stderr, done.stderr
    assert "hidden" not in done.stderr and done.stderr.count("\n") == 1


@ONE_IS_ENOUGH
def test_a_literal_secret_is_masked(tmp_path):
    conf = tmp_path / "conf"
    conf.write_text('oauth "a" { token_url = "https://h/" client_id = "me" client_secret = "a:hidden" }\n')
    done = run("-c", str(conf), "-T")
    assert done.returncode == 0 and 'client_secret = "********"' in done.stdout and "hidden" not in done.stdout
    conf.write_text(done.stdout)
    assert run("-c", str(conf), "-t").returncode == 0


@pytest.mark.parametrize("style", ["json", "common"])
def test_neither_token_nor_secret_is_seen(one, conf, endpoint, api, tmp_path, style):
    token = "T0ken-0123456789-abcdef"
    endpoint.answer = lambda n: told(200, json.dumps({"access_token": token + str(n), "expires_in": 60, "x": SECRET}))
    api.good = {"Bearer %s2" % token}
    access = str(tmp_path / "access")
    c, p = one('log { level = debug access = "%s" format = %s query = on }\n' % (access, style) + conf(), service=True)
    seen = []
    for method in ("GET", "POST", "TRACE", "GET"):
        r = c.exchange(method, "http://origin.test/")
        seen.append(repr(vars(r)) if method == "TRACE" else "")
    assert api.server.requests[-1].get("Authorization") == "Bearer %s2" % token
    endpoint.answer = lambda n: told(400, json.dumps({"error": SECRET, "error_description": SECRET}))
    api.good = {"none"}
    seen += [repr(vars(c.exchange("GET", "http://origin.test/"))) for _ in range(3)]
    seen += [p.fetch(page) for page in ("/status", "/metrics", "/exchanges", "/")]
    seen += [run("-c", p.conf_path, "-T").stdout]
    wait_until(lambda: "TRACE" in open(access).read(), what="the access log")
    p.stop()
    seen += [p.log(), open(access).read()]
    hidden = [SECRET, token, urllib.parse.quote_plus(SECRET),
              base64.b64encode(("me:" + urllib.parse.quote_plus(SECRET)).encode()).decode()]
    for text in seen:
        for h in hidden:
            assert h not in text and json.dumps(h)[1:-1] not in text
