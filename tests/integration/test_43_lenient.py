# SPDX-License-Identifier: Apache-2.0
"""A rule's lenient = on: old origins are understood, what goes on is strict; and the grammar of chunk extensions."""
import json
import signal

import pytest

from testenv.client import Broken, Client
from testenv.ports import free_port
from testenv.wait import wait_until

pytestmark = pytest.mark.h1_only("framing that only HTTP/1 has")

GOOD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = GOOD + b"Transfer-Encoding: chunked\r\n\r\n"
HINT = "; a rule for %s with lenient = on takes it"

# What the origin sends, the body, and fields that must come out of it.
OLD = {
    "bare LF": (b"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 5\n\nhello", b"hello", {"X-A": "b"}),
    "some bare LF": (GOOD + b"X-A: b\nContent-Length: 5\r\n\r\nhello", b"hello", {"X-A": "b"}),
    "empty line of LF": (GOOD + b"Content-Length: 5\r\n\nhello", b"hello", {}),
    "length twice": (GOOD + b"Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello", b"hello", {}),
    "length list": (GOOD + b"Content-Length: 5, 5\r\n\r\nhello", b"hello", {}),
    "fold": (GOOD + b"X-A: b\r\n   c \r\n\td\r\nContent-Length: 5\r\n\r\nhello", b"hello", {"X-A": "b c d"}),
    "empty fold": (GOOD + b"X-A: b\r\n \r\nContent-Length: 5\r\n\r\nhello", b"hello", {"X-A": "b"}),
    "fold to a field": (GOOD + b"X-A: b\r\n Content-Length: 9\r\nContent-Length: 5\r\n\r\nhello", b"hello",
                        {"X-A": "b Content-Length: 9"}),
    "blank before colon": (GOOD + b"X-A : b\r\nContent-Length\t: 5\r\n\r\nhello", b"hello", {"X-A": "b"}),
    "coding before colon": (GOOD + b"Transfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello", {}),
    "identity and length": (GOOD + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", b"hello", {}),
    "identity": (GOOD + b"Transfer-Encoding: identity\r\n\r\nhello", b"hello", {}),
    "identity of 1.0": (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: Identity\r\n\r\nhello", b"hello", {}),
    "all": (b"HTTP/1.1 200 OK\nX-A : b\n c\nTransfer-Encoding : identity\nContent-Length : 5, 5\n"
            b"Content-Length: 5\n\nhello", b"hello", {"X-A": "b c"}),
}
OLD_CHUNKS = {
    "padded size": (CHUNKED + b"5   \r\nhello\r\n0 \t\r\n\r\n", b"hello", {}),
    "LF behind size": (CHUNKED + b"5\nhello\r\n0\n\r\n", b"hello", {}),
    "LF behind data": (CHUNKED + b"5\r\nhello\n0\r\n\r\n", b"hello", {}),
    "LF at the end": (CHUNKED + b"5\r\nhello\r\n0\r\n\n", b"hello", {}),
    "LF behind extension": (CHUNKED + b"5;a=\"b\"\nhello\n0\n\n", b"hello", {}),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX-T : a\n b\nContent-Length: 9\n\n", b"hello", {}),
}
TRAILERS = {"trailers": [("X-T", "a b")]}
CLOSES = ("identity", "identity of 1.0")

# Refused whatever the rule says.
BAD = {
    "lengths differ": GOOD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "list differs": GOOD + b"Content-Length: 5, 6\r\n\r\nhello",
    "list with a hole": GOOD + b"Content-Length: 5,\r\n\r\nhello",
    "length and chunked": GOOD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "codings": GOOD + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "codings turned": GOOD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "codings twice": GOOD + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded length": GOOD + b"Content-Length: 5\r\n 5\r\n\r\nhello",
    "folded coding": GOOD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "fold first": GOOD + b" X-A: b\r\nContent-Length: 5\r\n\r\nhello",
    "blank in name": GOOD + b"X A: b\r\nContent-Length: 5\r\n\r\nhello",
    "bare CR": GOOD + b"X-A: b\rc\r\nContent-Length: 5\r\n\r\nhello",
    "bare CR before LF": GOOD + b"X-A: b\r\r\nContent-Length: 5\r\n\r\nhello",
    "NUL": GOOD + b"X-A: b\0\r\nContent-Length: 5\r\n\r\nhello",
}
# The strict reader meets something else first.
BAD_LENIENT = {
    "coding with blank": GOOD + b"Content-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "length with blank": GOOD + b"Content-Length : 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare CR among LF": b"HTTP/1.1 200 OK\nX-A: b\rc\nContent-Length: 5\n\nhello",
}

EXTENSIONS_BAD = ["5;", "5;a b", "5; ", "5;a ", "5;;a", "5;a=", "5;=b", "5;a=b c", '5;a="b', '5;a="b"c', "5;a@b",
                  "5;a,b", "5;\xe4", '5;a="\x01"', "5 "]
EXTENSIONS_GOOD = ["5;a", "5;a=b;c", '5 ; a = "b;\\"\xe4 c" ;d', "5;" + "a" * 1000]


def as_case(size):
    """The name of the answer with such a size line."""
    return "size " + size.encode("latin-1").hex()


ANSWERS = {name: case[0] for name, case in list(OLD.items()) + list(OLD_CHUNKS.items())}
ANSWERS.update(BAD)
ANSWERS.update(BAD_LENIENT)
ANSWERS.update((as_case(x), CHUNKED + x.encode("latin-1") + b"\r\nhello\r\n0\r\n\r\n")
               for x in EXTENSIONS_BAD + EXTENSIONS_GOOD)


def old_origin(conn):
    """Answers by X-Case; X-Drip: byte by byte; X-Behind: what comes behind the answer."""
    while True:
        request = conn.read_request()
        if request is None:
            return
        name = request.get("X-Case")
        answer = ANSWERS[name]
        if request.method == "HEAD":
            answer = answer.partition(b"\n\n" if b"\r\n\r\n" not in answer else b"\r\n\r\n")[0] + b"\r\n\r\n"
        answer += (request.get("X-Behind") or "").encode().decode("unicode_escape").encode()
        if request.get("X-Drip"):
            conn.drip(answer, pause=0)
        else:
            conn.send(answer)
        if name in CLOSES and request.method != "HEAD":
            conn.finish()
            return


@pytest.fixture(scope="module")
def old(serve_long):
    return serve_long(old_origin)


@pytest.fixture
def both(make_proxy, old):
    """A client of a proxy for which one origin has two names: http://localhost/ of a lenient rule and
    http://origin.test/."""
    proxy = make_proxy('connect_to = {":443:127.0.0.1:%d"}\nrule "localhost" { lenient = on }\n' % old.port)
    with proxy.client() as c:
        yield c


def judge(r, body, fields):
    """R, which the client has parsed strictly, is clean."""
    assert r.status == 200 and r.body == body, r
    assert b"\n" not in r.head.replace(b"\r\n", b"") and b"\r" not in r.head.replace(b"\r\n", b"")
    assert len(r.all("Content-Length")) + len(r.all("Transfer-Encoding")) == 1, r
    assert {n: r.all(n) for n in fields} == {n: [v] for n, v in fields.items()}, r


def test_old_answers(both):
    for name, (_, body, fields) in OLD.items():
        r = both.get("http://origin.test/", "X-Case: " + name)
        assert r.status == 502 and r.error == "http_protocol_error", (name, r)
        assert HINT % "origin.test" in r.text and "lenient = on" in r.get("Proxy-Status"), (name, r.text)
        judge(both.get("http://localhost/", "X-Case: " + name), body, fields)


def test_old_chunks(both):
    for name, (_, body, fields) in OLD_CHUNKS.items():
        r = both.get("http://localhost/", "X-Case: " + name)
        judge(r, body, fields)
        assert r.trailers == TRAILERS.get(name, []), name


@pytest.mark.parametrize("name", OLD_CHUNKS)
def test_old_chunks_are_strict_without_the_rule(both, name):
    try:
        r = both.get("http://origin.test/", "X-Case: " + name)
        assert r.status == 502 and HINT % "origin.test" in r.text
    except Broken:
        pass  # a part of it was on its way


def test_pieces_change_nothing(both):
    for name, (_, body, fields) in list(OLD.items()) + list(OLD_CHUNKS.items()):
        judge(both.get("http://localhost/", "X-Case: " + name, "X-Drip: 1"), body, fields)


def test_lengths_of_heads_without_body_are_clean(both):
    for name in ("length twice", "length list", "identity and length", "all", "identity"):
        r = both.exchange("HEAD", "http://localhost/", "X-Case: " + name)
        assert r.status == 200 and r.all("Content-Length") == ["5"] * (name != "identity"), (name, r)
        assert r.get("Transfer-Encoding") is None, (name, r)


def test_what_is_ambiguous_is_refused_in_any_case(both):
    for name in BAD:
        for host in "origin.test", "localhost":
            r = both.get("http://%s/" % host, "X-Case: " + name)
            assert r.status == 502 and r.error == "http_protocol_error", (name, host, r)
            assert "lenient" not in r.text, (name, host, r.text)
    for name in BAD_LENIENT:
        r = both.get("http://localhost/", "X-Case: " + name)
        assert r.status == 502 and r.error == "http_protocol_error" and "lenient" not in r.text, (name, r)


def test_connections_serve_on_but_never_with_bytes_behind_an_answer(make_proxy, serve):
    origin = serve(old_origin)
    proxy = make_proxy('connect_to = {":443:127.0.0.1:%d"}\nrule "localhost" { lenient = on }\n' % origin.port)
    with proxy.client() as c:
        for name in ("all", "length list", "LF behind size", "trailers", "fold"):
            assert c.get("http://localhost/", "X-Case: " + name).body == b"hello"
        assert origin.accepted == 1
        evil = r"HTTP/1.1 200 OK\nContent-Length: 4\n\nevil"
        for name in ("all", "length list", "LF at the end", "trailers"):
            for behind in (r"\n", r"\r\n", evil):
                assert c.get("http://localhost/", "X-Case: " + name, "X-Behind: " + behind).body == b"hello"
                assert c.get("http://localhost/", "X-Case: fold").body == b"hello"
        assert origin.accepted == 1 + 4 * 3


def test_a_connection_of_a_lenient_rule_serves_that_rule_alone(make_proxy, serve):
    """One name and one port, reached by two rules."""
    origin = serve(old_origin)
    proxy = make_proxy('connect_to = {":443:127.0.0.1:%d"}\n'
                       'rule "localhost:8443" { port = 443 lenient = on }\n' % origin.port)
    with proxy.client() as c:
        for _ in range(2):
            assert c.get("https://localhost:8443/", "X-Case: all").body == b"hello"
            assert c.get("https://localhost/", "X-Case: all").status == 502
    assert origin.accepted == 1 + 2  # a connection with a fault does not live on


def test_other_doors(make_proxy, old):
    port = free_port()
    proxy = make_proxy('connect_to = {":443:127.0.0.1:%d"}\nrule "localhost" { lenient = on }\n'
                       'forward "127.0.0.1:%d" { to = "https://localhost" }\n' % (old.port, port), service=True)
    with Client(port) as c:
        for name in ("all", "trailers", "fold"):
            c.send("GET / HTTP/1.1\r\nHost: localhost\r\nX-Case: %s\r\n\r\n" % name)
            r = c.response()
            assert r.status == 200 and r.body == b"hello", (name, r)
    items = [{"url": "http://%s/" % host, "headers": {"X-Case": name}}
             for host in ("localhost", "origin.test") for name in ("all", "trailers")]
    with Client(proxy.service_port) as c:
        body = json.dumps(items).encode()
        c.send(b"POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               b"Accept: application/x-ndjson\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        lines = [json.loads(x) for x in c.response().body.splitlines()]
    assert [x.get("status") for x in lines] == [200, 200, 502, 502], lines
    assert HINT % "origin.test" in json.dumps(lines[2]) and HINT % "origin.test" in json.dumps(lines[3])
    with proxy.client() as c:  # a tunnel to port 80 that is read
        c.send("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n")
        assert c.response("CONNECT").status == 200
        c.send("GET / HTTP/1.1\r\nHost: localhost\r\nX-Case: all\r\n\r\n")
        judge(c.response(), b"hello", {"X-A": "b c"})


def test_a_rule_by_reload(make_proxy, old):
    conf = 'connect_to = {":443:127.0.0.1:%d"}\nrule "localhost" { lenient = %%s }\n' % old.port
    proxy = make_proxy(conf % "on")
    with proxy.client() as c:
        assert c.get("http://localhost/", "X-Case: all").status == 200
        proxy.write(conf % "off")
        proxy.signal(signal.SIGHUP)
        wait_until(lambda: c.get("http://localhost/", "X-Case: all").status == 502, what="the strict rule")


@pytest.mark.parametrize("size", EXTENSIONS_BAD)
def test_chunk_extensions_of_clients(proxy, origin, size):
    with proxy.client() as c:
        c.send("POST http://origin.test/bad HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n"
               + size + "\r\nhello\r\n0\r\n\r\nGET http://origin.test/smuggled HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        r = c.response()
        assert r.status == 400 and r.error == "http_request_error" and "chunk" in r.text, r
        assert "lenient" not in r.text and c.closed()
        assert ("control byte" in r.text) == ("\x01" in size), "what ends too early is said to be so"
    assert "/smuggled" not in [r.target for r in origin.requests]


def test_good_chunk_extensions_are_dropped(both, proxy, origin):
    for size in EXTENSIONS_GOOD:
        with proxy.client() as c:
            c.send("POST http://origin.test/good HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                   + size + "\r\nhello\r\n0;a\r\n\r\n")
            assert c.response().status == 200
        assert origin.requests[-1].body == b"hello"
        for host in "origin.test", "localhost":
            judge(both.get("http://%s/" % host, "X-Case: " + as_case(size)), b"hello", {})


@pytest.mark.parametrize("host", ["origin.test", "localhost"])
@pytest.mark.parametrize("size", [x for x in EXTENSIONS_BAD if x != "5 "])
def test_chunk_extensions_of_origins(both, host, size):
    try:
        r = both.get("http://%s/" % host, "X-Case: " + as_case(size))
        assert r.status == 502 and "chunk" in r.text and "lenient" not in r.text, r
    except Broken:
        pass
