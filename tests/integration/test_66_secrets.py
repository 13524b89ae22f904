# SPDX-License-Identifier: Apache-2.0
"""Secrets that tlsfan adds: {file:PATH} and {env:NAME} in request_header. Only the origin ever sees one."""
import json
import os
import signal
import subprocess
import sys

import pytest

from testenv.client import Client
from testenv.intercept import Inside, OwnCA, to
from testenv.ports import free_port
from testenv.proxy import OPENER, binary, clean_env, run
from testenv.scripted import answering, ok
from testenv.wait import wait_until

SECRET = "s3cr3t-0123456789-abcdefghij"
ONE_IS_ENOUGH = pytest.mark.h1_only("what is read and where it goes is decided before the protocol")


@pytest.fixture
def secret(tmp_path):
    """secret(text) -> the path of a file of mode 0600 with it."""
    def make(text=SECRET + "\n", name="token"):
        path = str(tmp_path / name)
        with open(path + ".new", "w", newline="") as f:
            os.fchmod(f.fileno(), 0o600)
            f.write(text)
        os.rename(path + ".new", path)
        return path
    return make


def rule(path, pattern="origin.test", more="", value="Bearer {file:%s}", name="Authorization"):
    return 'rule "%s" { request_header = {"%s: %s"} %s }\n' % (pattern, name, value % path, more)


@pytest.fixture
def two(serve):
    """A server for origin.test, another for other.test, and the configuration that leads there."""
    mine, other = serve(answering(lambda r, c: ok("mine"))), serve(answering(lambda r, c: ok("other")))
    conf = 'connect_to = {"origin.test:443:127.0.0.1:%d", "other.test:443:127.0.0.1:%d"}\n' % (mine.port, other.port)
    return mine, other, conf


def last(server, name="Authorization"):
    return server.requests[-1].all(name)


@pytest.mark.parametrize("end", ["\n", "\r\n", ""], ids=["LF", "CRLF", "none"])
def test_takes_the_place_of_the_clients_own(one, two, secret, end):
    mine, other, conf = two
    c, _ = one(conf + rule(secret(SECRET + end)))
    assert c.get("http://origin.test/", "authorization: mine", "Authorization: and mine").text == "mine"
    assert last(mine) == ["Bearer " + SECRET]
    assert c.get("https://origin.test/").text == "mine"
    assert last(mine) == ["Bearer " + SECRET]
    assert c.get("http://other.test/", "Authorization: mine").text == "other"
    assert last(other) == ["mine"]


@ONE_IS_ENOUGH
def test_several_in_one_value_and_braces(one, two, secret):
    mine, _, conf = two
    path, second = secret(), secret("two", "second")
    c, _ = one(conf + 'rule "origin.test" { request_header = {"X-Key: a {file:%s}{env:U_SECRET} {{file:x} {} {b", '
               '"X-Two: {file:%s}", "X-Plain: {{env:HOME}"} }\n' % (path, second), env={"U_SECRET": "from env"})
    c.get("http://origin.test/", "X-Two: mine")
    assert last(mine, "X-Key") == ["a " + SECRET + "from env {file:x} {} {b"]
    assert (last(mine, "X-Two"), last(mine, "X-Plain")) == (["two"], ["{env:HOME}"])


@ONE_IS_ENOUGH
def test_nor_does_a_trailer_bring_another(one, two, secret):
    mine, _, conf = two
    c, _ = one(conf + rule(secret(), name="X-Api-Key", value="{file:%s}"))
    c.send("POST http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n"
           "Trailer: X-Api-Key\r\n\r\n3\r\nabc\r\n0\r\nX-Other: 1\r\nX-api-key: mine\r\n\r\n")
    assert c.response().status == 200
    assert last(mine, "X-Api-Key") == [SECRET] and mine.requests[-1].trailers == [("X-Other", "1")]


@ONE_IS_ENOUGH
def test_not_to_another_port_nor_in_a_trace(one, serve, secret):
    server = serve(answering(lambda r, c: ok("x")))
    c, p = one(rule(secret(), "localhost") + rule(secret("second", "b"), "127.0.0.1:%d" % server.port))
    assert c.get(server.url(host="localhost"), "Authorization: mine").text == "x"
    assert last(server) == []
    p.wait_log("Authorization is not sent to port %d" % server.port)
    assert c.get(server.url(host="127.0.0.1"), "Authorization: mine").text == "x"
    assert last(server) == ["Bearer second"]
    c.exchange("TRACE", server.url(host="127.0.0.1"), "Authorization: mine")
    assert server.requests[-1].method == "TRACE" and last(server) == []


@ONE_IS_ENOUGH
def test_not_to_an_origin_that_is_not_verified(one, serve, secret):
    wrong = serve(answering(lambda r, c: ok("x")), kind="wrong_host")
    c, _ = one(to(wrong, "origin.test") + rule(secret()))
    assert c.get("http://origin.test/").status == 502
    assert wrong.requests == []


@ONE_IS_ENOUGH
def test_a_listener_that_speaks_plain_http_has_none(make_proxy, serve, secret):
    plain = serve(answering(lambda r, c: ok("x")), tls=False)
    port = free_port()
    p = make_proxy('forward "127.0.0.1:%d" { to = "http://127.0.0.1:%d" }\n' % (port, plain.port)
                   + rule(secret(), "127.0.0.1:%d" % plain.port))
    with OPENER.open("http://127.0.0.1:%d/" % port) as answer:
        assert answer.read() == b"x"
    assert last(plain) == []
    p.wait_log("the connection is not verified TLS")


@ONE_IS_ENOUGH
def test_a_forward_listener_has_its_targets(make_proxy, two, secret):
    """Whatever Host its client writes, and the origin sees."""
    mine, other, conf = two
    first, second = free_port(), free_port()
    listener = 'forward "127.0.0.1:%d" { to = "https://%s" host = client hosts = {"origin.test", "other.test"} }\n'
    p = make_proxy(conf + listener % (first, "origin.test") + listener % (second, "other.test") + rule(secret())
                   + 'rule "other.test" { request_header = {"Authorization: other"} }\n')
    for port, server, expected in ((first, mine, "Bearer " + SECRET), (second, other, "other")):
        for host in ("origin.test", "other.test", "127.0.0.1"):
            with Client(port) as c:
                c.send("GET / HTTP/1.1\r\nHost: %s\r\nAuthorization: mine\r\n\r\n" % host)
                assert c.response().status == 200
            assert server.requests[-1].get("Host") == host and last(server) == [expected]
    assert len(mine.requests) == 3 and len(other.requests) == 3
    assert not p.dead()


@ONE_IS_ENOUGH
def test_inside_an_intercepted_connect_its_target_decides(make_proxy, two, secret, tmp_path):
    mine, other, conf = two
    own = OwnCA(tmp_path / "own")
    p = make_proxy(conf + own.conf(rules='rule "other.test" { intercept = on }')
                   + rule(secret(), more="intercept = on"))
    with Inside(p.port, own.context()) as c:
        assert c.get("/", "Authorization: mine").text == "mine"
        assert last(mine) == ["Bearer " + SECRET]
        assert c.get("/", host="other.test").status == 421
    with Inside(p.port, own.context(), host="other.test") as c:
        assert c.get("/", host="other.test").text == "other"
        assert c.get("/", host="origin.test").status == 421
    assert len(mine.requests) == 1 and len(other.requests) == 1 and last(other) == []


@ONE_IS_ENOUGH
def test_inside_a_plain_connect_its_target_decides(make_proxy, two, secret):
    mine, other, conf = two
    p = make_proxy(conf + rule(secret()))
    for target, server, expected in (("other.test", other, []), ("origin.test", mine, ["Bearer " + SECRET])):
        for host in ("origin.test", "other.test"):
            with p.client() as c:
                c.send("CONNECT %s:80 HTTP/1.1\r\nHost: %s:80\r\n\r\n" % (target, target))
                assert c.response("CONNECT").status == 200
                c.send("GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host)
                assert c.response().status == 200
            assert server.requests[-1].get("Host") == target and last(server) == expected
    with p.client() as c:  # TLS is what port 443 is for: plain bytes in it go nowhere
        c.send("CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert c.response("CONNECT").status == 200
        before = len(mine.requests)
        c.send("GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        c.closed()
        assert len(mine.requests) == before


@ONE_IS_ENOUGH
def test_of_a_batch_each_item_has_its_own(make_proxy, two, secret):
    mine, other, conf = two
    p = make_proxy(conf + rule(secret()), service=True)
    text = p.batch("http://origin.test/1\nhttp://other.test/2\n", "application/x-ndjson")
    assert [json.loads(x)["status"] for x in text.splitlines()] == [200, 200] and SECRET not in text
    assert last(mine) == ["Bearer " + SECRET] and last(other) == []


@ONE_IS_ENOUGH
def test_read_ahead_gives_it_to_nobody_else(one, serve, secret):
    other = serve(answering(lambda r, c: ok("other")))
    mine = serve(answering(lambda r, c: ok("mine", "Link: <http://other.test/2>; rel=next")))
    conf = 'connect_to = {"origin.test:443:127.0.0.1:%d", "other.test:443:127.0.0.1:%d"}\n' % (mine.port, other.port)
    c, _ = one(conf + rule(secret(), more="readahead = 4") + 'rule "other.test" { readahead = 4 }\n')
    for n in range(1, 6):
        assert c.get("http://origin.test/page/%d" % n).text == "mine"
    assert all(r.all("Authorization") == ["Bearer " + SECRET] for r in mine.requests)
    assert not any(r.all("Authorization") for r in other.requests)


def test_read_again_when_the_file_changes(one, two, secret):
    """For the next request of a connection that is open."""
    mine, _, conf = two
    path = secret()
    c, p = one(conf + rule(path))
    c.get("http://origin.test/")
    secret("another\n")
    p.wait_log("configuration reloaded", 15)
    assert c.get("http://origin.test/").text == "mine"  # the same connection
    assert last(mine) == ["Bearer another"]
    assert mine.requests[-1].get("Host") == "origin.test"


BAD = {"empty": "\n", "lines": "one\ntwo\n", "control": "a\x01b", "tab": "a\tb", "large": "x" * 65537}


@ONE_IS_ENOUGH
@pytest.mark.parametrize("how", ["gone", *BAD])
def test_the_last_good_value_stays(one, two, secret, how):
    mine, _, conf = two
    path = secret()
    c, p = one(conf + rule(path))
    if how == "gone":
        os.unlink(path)
    else:
        secret(BAD[how])
    p.write(conf + 'rule "origin.test" { request_header = {"X-New: 1", "Authorization: Bearer {file:%s}"} }\n' % path)
    p.signal(signal.SIGHUP)
    p.wait_log("configuration reloaded")
    p.wait_log("the last value stays in use")
    assert c.get("http://origin.test/").text == "mine"  # and the rest of the reload has come
    assert last(mine) == ["Bearer " + SECRET] and last(mine, "X-New") == ["1"]
    secret("good again\n")
    p.signal(signal.SIGHUP)
    wait_until(lambda: p.log().count("configuration reloaded") >= 2, what="a second reload")
    c.get("http://origin.test/")
    assert last(mine) == ["Bearer good again"]
    p.write(conf + rule(path + "-not-there"))  # one that never was good is no reload
    p.signal(signal.SIGHUP)
    p.wait_log("nothing was changed")


FAULTS = {
    'rule "*" { request_header = {"X: {file:PATH}"} }': 'a secret is for hosts that are named',
    'rule "*:443" { request_header = {"X: {file:PATH}"} }': 'a secret is for hosts that are named',
    'rule "a" { verify = off request_header = {"X: {file:PATH}"} }': 'verify is off in this rule',
    'rule "a" { upgrade = off request_header = {"X: {env:HOME}"} }': 'upgrade is off in this rule',
    'rule "a" { request_header = {"X: {file:PATH-gone}"} }': '{file:PATH-gone} No such file or directory',
    'rule "a" { request_header = {"X: {file:/dev/zero}"} }': '{file:/dev/zero} is longer than 64 KiB',
    'rule "a" { request_header = {"X: {file:/}"} }': '{file:/} Is a directory',
    'rule "a" { request_header = {"X: {env:U_NOT_SET}"} }': '{env:U_NOT_SET} is not set',
    'rule "a" { request_header = {"X: {env:U_EMPTY}"} }': '{env:U_EMPTY} is empty',
    'rule "a" { request_header = {"X: {env:U_LINES}"} }': '{env:U_LINES} has a control byte in it',
    'rule "a" { request_header = {"X: {file:}"} }': 'has a brace that is not closed, or nothing in it',
    'rule "a" { request_header = {"X: {env:HOME"} }': 'has a brace that is not closed',
    'rule "a" { request_header = {"X: {oauth:b}"} }': 'there is no oauth "b"',
}


@ONE_IS_ENOUGH
@pytest.mark.parametrize("text", FAULTS)
def test_what_is_refused_names_its_line(tmp_path, secret, text):
    path = secret()
    conf = tmp_path / "conf"
    conf.write_text("via = on\n" + text.replace("PATH", path) + "\n")
    done = run("-c", str(conf), "-t", env={"U_EMPTY": "", "U_LINES": "a\nb"})
    assert done.returncode == 1 and SECRET not in done.stderr + done.stdout
    assert done.stderr.startswith("%s:2: request_header: " % conf)
    assert FAULTS[text].replace("PATH", path) in done.stderr
    assert done.stderr.count("\n") == 1


@ONE_IS_ENOUGH
@pytest.mark.parametrize("how", BAD)
def test_a_bad_file_is_a_fault_at_start(tmp_path, secret, how):
    conf = tmp_path / "conf"
    conf.write_text(rule(secret(BAD[how])))
    done = run("-c", str(conf), "-t")
    assert done.returncode == 1 and done.stderr.startswith("%s:1: request_header: {file:" % conf)


@ONE_IS_ENOUGH
def test_who_else_can_read_it_is_warned_of(tmp_path, secret):
    path = secret()
    conf = tmp_path / "conf"
    conf.write_text(rule(path))
    assert "can be read by" not in run("-c", str(conf), "-t").stderr
    os.chmod(path, 0o644)
    done = run("-c", str(conf), "-t")
    assert done.returncode == 0 and "%s:1: {file:%s} can be read by every user" % (conf, path) in done.stderr


@ONE_IS_ENOUGH
def test_command_is_not_given_the_variable(tmp_path):
    conf = tmp_path / "conf"
    conf.write_text('rule "a" { request_header = {"X: {env:U_SECRET}"} }\n')
    code = "import os; print(sorted(k for k in os.environ if k.startswith('U_')), " \
           "b'%s' in open('/proc/self/environ', 'rb').read())" % SECRET
    done = run("-c", str(conf), "run", "--", sys.executable, "-c", code, env={"U_SECRET": SECRET, "U_OTHER": "1"})
    assert done.stdout == "['U_OTHER'] False\n", done.stderr


def dump(conf, env=None):
    return [getattr(run("-c", conf, flag, env=env), out) for flag in ("-T", "-t") for out in ("stdout", "stderr")]


@pytest.mark.parametrize("style", ["json", "common"])
def test_nothing_but_the_origin_sees_it(one, serve, secret, ca, tmp_path, style):
    """All that the program has ever written, of whatever has happened to requests that had the secret."""
    def answer(r, c):
        if r.target == "/cut":
            c.cut()
            return None
        return {"/missing": lambda: b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno",
                "/bad": lambda: b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
                }.get(r.target, lambda: ok("x"))()
    server = serve(answering(answer))
    path, access = secret(), str(tmp_path / "access")
    conf = (to(server, "origin.test")
            + 'log { level = debug access = "%s" format = %s query = on fields = on }\n' % (access, style)
            + rule(path) + rule(path, "down.test", 'connect_to = "127.0.0.1:%d"' % free_port())
            + 'rule "*.env.test" { request_header = {"X-Api-Key: {env:U_SECRET}"} connect_to = "127.0.0.1:%d" '
              'sni = "origin.test" readahead = 2 }\n' % server.port)
    env, out = {"U_SECRET": SECRET}, tmp_path / "stdout"
    c, p = one(conf, service=True, env=env, prefix=["sh", "-c", 'exec "$@" >"$0"', str(out)])
    told = []
    for method, url in (("GET", "http://origin.test/?q=1"), ("POST", "http://origin.test/"),
                        ("TRACE", "http://origin.test/"), ("GET", "http://origin.test/missing"),
                        ("GET", "http://down.test/"), ("GET", "http://a.env.test/1"), ("GET", "http://a.env.test/2")):
        r = c.exchange(method, url)
        told.append(repr(r.fields if hasattr(r, "fields") else vars(r)) + repr(r.body))
    r = c.exchange("TRACE", "http://origin.test/", "Max-Forwards: 0", "Authorization: %s" % SECRET)
    told.append(repr(vars(r)))
    for path_ in ("/cut", "/bad"):
        with p.client() as other:
            told.append(repr(vars(other.get("http://origin.test" + path_))))
    assert any(SECRET in v for r in server.requests for _, v in r.fields)
    assert any(r.all("X-Api-Key") == [SECRET] for r in server.requests)
    told += [p.batch("http://origin.test/7\nhttp://down.test/8\n", accept) for accept in ("", "application/x-ndjson")]
    told += [p.fetch(page) for page in ("/status", "/metrics", "/exchanges", "/failures", "/", "/healthz", "/readyz")]
    p.signal(signal.SIGHUP)
    p.wait_log("configuration reloaded")
    told += dump(p.conf_path, env)
    assert any("{file:%s}" % path in x for x in told) and any("{env:U_SECRET}" in x for x in told)
    wait_until(lambda: "missing" in open(access).read(), what="the access log")
    p.stop()
    wrong = tmp_path / "wrong"
    wrong.write_text(conf + 'rule "a" { port = x }\n')
    told += dump(str(wrong), env)
    told += [p.log(), open(access).read(), out.read_text()]
    assert json.dumps(told).count("origin.test") > 5 and "/7" in told[-2]
    for text in told:
        assert SECRET not in text


@ONE_IS_ENOUGH
def test_memory_is_cleared_with_its_snapshot(one, two, secret):
    """What was read from a file that holds another value by now is nowhere in the process, but where requests were."""
    mine, _, conf = two
    path = secret("Unused-Old-Value-0123456789\n")
    c, p = one(conf + rule(path, "unasked.test"))
    c.close()  # a connection keeps the snapshot that it began with
    secret("next\n")
    p.signal(signal.SIGHUP)
    p.wait_log("configuration reloaded")

    def found():
        with open("/proc/%d/maps" % p.pid) as maps, open("/proc/%d/mem" % p.pid, "rb", 0) as mem:
            for line in maps:
                span, mode = line.split()[:2]
                if "rw" not in mode or "[v" in line:
                    continue
                begin, end = (int(x, 16) for x in span.split("-"))
                mem.seek(begin)
                try:
                    if b"Unused-Old-Value" in mem.read(end - begin):
                        return True
                except OSError:
                    pass
        return False
    if "asan" in binary() or "tsan" in binary():
        pytest.skip("sanitizers map more memory than can be read")
    wait_until(lambda: not found(), what="the old value to be gone")
