# SPDX-License-Identifier: Apache-2.0
"""The service listener: health, who may ask, what web pages may not, framing, limits, drain and reload."""
import base64
import random
import signal
import socket
import subprocess
import threading

import pytest

from testenv import SANITIZED, SLOW
from testenv.client import Broken, Client
from testenv.proxy import binary, clean_env
from testenv.ports import free_port
from testenv.scripted import answering, ok
from testenv.wait import can_connect, wait_until

PATHS = ["/", "/page.css", "/page.js", "/axis.js", "/status", "/exchanges", "/failures", "/metrics", "/healthz",
         "/readyz"]


@pytest.fixture(scope="module")
def service(tmp, ca):
    from testenv.proxy import Proxy

    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    proxy = Proxy(tmp, 'service_hosts = {"svc.example", "*.wild.example"}', service=True)
    yield proxy
    proxy.stop()


def raw(port, data, method="GET", timeout=10):
    with Client(port, timeout=timeout) as client:
        client.send(data if isinstance(data, bytes) else data.encode("latin-1"))
        return client.response(method)


def get(proxy, path, *fields, method="GET", host=None, port=None):
    lines = ["%s %s HTTP/1.1" % (method, path), "Host: " + (host or "127.0.0.1:%d" % proxy.service_port), *fields]
    return raw(port or proxy.service_port, "\r\n".join(lines) + "\r\n\r\n", method)


@pytest.mark.parametrize("path", PATHS)
def test_pages(service, path):
    answer = get(service, path)
    assert answer.status == 200 and answer.get("X-Content-Type-Options") == "nosniff" and answer.body
    assert answer.get("Cache-Control") == "no-store" and answer.get("Cross-Origin-Resource-Policy") == "same-origin"
    head = get(service, path, method="HEAD")
    assert head.status == 200 and head.body == b"" and int(head.get("Content-Length")) > 0
    if path in ("/healthz", "/readyz"):
        assert answer.body == b"ok\n" and answer.get("Content-Type") == "text/plain"


def test_the_policy_of_the_page(service):
    policy = get(service, "/").get("Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert b"http://" not in get(service, "/").body and b"https://" not in get(service, "/").body


def test_many_requests_on_one_connection(service):
    """Kept alive, and pipelined."""
    with Client(service.service_port) as client:
        for _ in range(3):
            client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.response().body == b"ok\n"
        client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        assert [client.response().body for _ in range(3)] == [b"ok\n"] * 3
        client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.response().get("Connection") == "close" and client.sock.recv(1) == b""
    assert "ODDITY" not in service.log() and "shutting down" not in service.log()


def test_a_request_in_pieces(service):
    """Cut at every byte, alone and behind another one."""
    text = b"GET /healthz?after=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for at in range(1, len(text)):
        with Client(service.service_port) as client:
            client.send(text + text[:at])
            assert client.response().body == b"ok\n"
            client.send(text[at:])
            assert client.response().body == b"ok\n", at


def test_empty_lines_around_requests(make_proxy):
    """They neither hold the connection nor the end of the program."""
    proxy = make_proxy("client { idle_timeout = 300ms }\ndrain_timeout = 20s", service=True)
    with Client(proxy.service_port) as client, Client(proxy.service_port) as held:
        client.send(b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n")
        assert client.response().status == 200 and client.sock.recv(1) == b""
        held.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n")
        assert held.response().status == 200
        proxy.stop()


def test_bytes_that_make_no_head(make_proxy):
    """Neither memory nor the log grows."""
    proxy = make_proxy(service=True)
    before = proxy.rss()
    for junk in (b"\n" * 65536, b"X" * 65536, b"a: b\r\n" * 10000, b"\0" * 65536):
        with Client(proxy.service_port) as client:
            try:
                client.send(b"GET / HTTP/1.1\r\n")
                for _ in range(50):
                    client.send(junk)
            except OSError:
                pass
    wait_until(lambda: well(proxy), 5 * SLOW, "healthz")
    assert SANITIZED or proxy.rss() - before < 8 * 1024
    assert "ERROR" not in proxy.log() and len(proxy.log()) < 5000, proxy.log()[-1000:]


@pytest.mark.parametrize("path", ["/nothing", "/healthz/", "/status/x", "//", "/batch/"])
def test_there_is_nothing_else(service, path):
    answer = get(service, path)
    assert answer.status == 404 and answer.error == "http_request_error" and "/metrics" in answer.text


@pytest.mark.parametrize(
    "host, status",
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:3129", 200),
        ("10.1.2.3", 200),
        ("localhost", 200),
        ("LOCALHOST.", 200),
        ("a.localhost:3129", 200),
        ("svc.example", 200),
        ("SVC.example:80", 200),
        ("x.wild.example", 200),
        ("wild.example", 421),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("a b", 400),
        ("a@b", 400),
    ],
)
@pytest.mark.parametrize("path", ["/status", "/healthz"])
def test_hosts(service, path, host, status):
    answer = get(service, path, host=host)
    assert answer.status == status, answer
    if status == 421:
        assert "service_hosts" in answer.text
    if not set(host) & set(" @"):
        target = raw(service.service_port, "GET http://%s%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (host, path))
        assert target.status == status, target


def test_without_host(service):
    assert raw(service.service_port, "GET /healthz HTTP/1.1\r\n\r\n").status == 400
    assert raw(service.service_port, "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n").status == 400
    assert raw(service.service_port, "GET /healthz HTTP/1.0\r\n\r\n").status == 200


@pytest.mark.parametrize(
    "fields, status",
    [
        (["Origin: http://evil.example"], 403),
        (["Origin: null"], 403),
        (["Origin: https://127.0.0.1:%d"], 403),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Origin: http://127.0.0.1:%d"], 200),
        (["Sec-Fetch-Site: same-origin"], 200),
        (["Sec-Fetch-Site: none"], 200),
    ],
)
@pytest.mark.parametrize("path", ["/status", "/", "/metrics"])
def test_pages_of_other_origins(service, path, fields, status):
    answer = get(service, path, *[f % service.service_port if "%d" in f else f for f in fields])
    assert answer.status == status, answer
    assert status == 200 or answer.error == "http_request_denied"


@pytest.mark.parametrize(
    "request_text, status",
    [
        ("POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405),
        ("DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("GET /batch HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("GET /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 413),
        ("GET /status HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        ("POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\r\n", 411),
        ("POST /batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 411),
        (
            "POST /batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n"
            "Content-Length: 3\r\n\r\nabc",
            411,
        ),
        ("POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        ("POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\n", 400),
        ("POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: +3\r\n\r\nabc", 400),
        ("POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
        (
            "POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
            "Content-Length: 99999999999\r\n\r\n",
            413,
        ),
        ("POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Length : 3\r\n\r\nabc", (400, 411)),
        ("BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", (400, 405)),
        ("nonsense\r\n\r\n", 400),
        ("GET /" + "x" * 9000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /status HTTP/1.1\r\nHost: localhost\r\n" + "X: y\r\n" * 3000 + "\r\n", 431),
        ("GET /status HTTP/1.1\r\nHost: localhost\r\nX: " + "y" * 9000 + "\r\n\r\n", (400, 431)),
        ("GET /status HTTP/3.7\r\nHost: localhost\r\n\r\n", (400, 505)),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", (400, 404)),
    ],
)
def test_bad_requests_get_an_answer(service, request_text, status):
    answer = raw(service.service_port, request_text)
    assert answer.status in (status if isinstance(status, tuple) else (status,)), answer
    assert answer.text.strip() and answer.get("Connection") == "close" and answer.error
    if answer.status == 405:
        assert answer.get("Allow") in ("GET, HEAD", "POST")


def test_a_refused_body_does_not_cut_the_answer(service):
    """413 comes although the caller is still sending megabytes."""
    with Client(service.service_port) as client:
        client.send(
            b"POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 900000000\r\n\r\n"
        )
        try:
            for _ in range(64):
                client.send(b"x" * 65536)
        except OSError:
            pass
        assert client.response().status == 413


def test_slow_requests(make_proxy):
    proxy = make_proxy("client { header_timeout = 300ms body_timeout = 300ms idle_timeout = 600ms }", service=True)
    with Client(proxy.service_port) as client:
        client.send(b"GET /healthz HT")
        assert client.response().status == 408
    with Client(proxy.service_port) as client:
        client.send(
            b"POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nabc"
        )
        assert client.response().status == 408
    with Client(proxy.service_port) as client:
        assert client.sock.recv(1) == b""


def test_too_many_connections(make_proxy):
    """Idle ones make room; where all are busy with a head, the next one is told, and gets health checks alone."""
    proxy = make_proxy(service=True)
    held = [Client(proxy.service_port) for _ in range(256)]
    try:
        for client in held:
            client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.response().status == 200
        assert get(proxy, "/healthz").status == 200
        assert held[0].sock.recv(1) == b""
        for client in held:
            client.close()
        wait_until(lambda: proxy.fds() < 60, 5 * SLOW, "them to go")
        held = []

        def half_a_head():
            held.append(Client(proxy.service_port))
            held[-1].send(b"GET /healthz")

        def is_full():
            """One whose bytes have not been read yet may have had to make room, so another comes in its place."""
            assert well(proxy)
            half_a_head()
            return full(proxy)

        for _ in range(256):
            half_a_head()
        wait_until(is_full, 20 * SLOW, "503")
    finally:
        for client in held:
            client.close()
    wait_until(lambda: not full(proxy), 5 * SLOW, "room again")


def full(proxy):
    with Client(proxy.service_port) as client:
        client.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return client.response().status == 503


def well(proxy):
    try:
        return get(proxy, "/healthz").status == 200
    except (OSError, Broken):
        return False


def test_allow_holds_for_all_but_health(make_proxy):
    proxy = make_proxy('client { allow = {"10.9.8.7"} }', service=True)
    for path in PATHS + ["/batch"]:
        answer = (
            get(proxy, path)
            if path != "/batch"
            else raw(
                proxy.service_port,
                "POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                "Content-Length: 9\r\n\r\nhttp://h/",
            )
        )
        assert answer.status == (200 if path in ("/healthz", "/readyz") else 403), (path, answer)
        assert answer.status == 200 or "client.allow" in answer.text


def test_credentials(make_proxy, tmp_path):
    users = tmp_path / "users"
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True
    ).stdout.strip()
    users.write_text("bob:%s\n" % hashed)
    proxy = make_proxy('client { auth_file = "%s" }' % users, service=True)
    good, bad = (base64.b64encode(b"bob:" + word).decode() for word in (b"secret", b"other"))
    for path in PATHS:
        is_health = path in ("/healthz", "/readyz")
        for name in ("Authorization", "Proxy-Authorization"):
            assert get(proxy, path, "%s: Basic %s" % (name, good)).status == 200
            answer = get(proxy, path, "%s: Basic %s" % (name, bad))
            assert answer.status == (200 if is_health else 401), answer
            assert is_health or (
                answer.get("WWW-Authenticate").startswith("Basic ") and answer.error == "http_request_denied"
            )
        assert get(proxy, path).status == (200 if is_health else 401)
    with Client(proxy.service_port) as client:
        fields = "GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\n\r\n" % good
        client.send((fields * 2).encode())
        assert [client.response().status for _ in range(2)] == [200, 200]
    assert good not in proxy.log() and "secret" not in proxy.log()


@pytest.mark.concurrent
def test_readyz_while_draining(make_proxy, serve):
    hold = threading.Event()
    origin = serve(answering(lambda r, c: (hold.wait(10), ok())[1]))
    proxy = make_proxy("drain_delay = 300ms\ndrain_timeout = 20s", service=True)
    with proxy.client() as client, Client(proxy.service_port) as caller:
        client.request("GET", origin.url())
        origin.wait_requests(1)
        caller.send(
            b"POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nAccept: application/x-ndjson\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(origin.url()), origin.url().encode())
        )
        origin.wait_requests(2)
        assert get(proxy, "/readyz").status == 200
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: get(proxy, "/readyz").status == 503, 5, "readyz to say so")
        wait_until(lambda: not can_connect("127.0.0.1", proxy.port), 5, "accepting to end")
        assert get(proxy, "/readyz").status == 503 and get(proxy, "/healthz").status == 200
        assert get(proxy, "/healthz").get("Connection") == "close"
        late = "POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\n"
        assert raw(proxy.service_port, late + "http://h/").status == 503
        hold.set()
        assert client.response().status == 200 and b'"status":200' in caller.response().body
    proxy.stop()


@pytest.mark.concurrent
def test_reload_moves_it(make_proxy):
    proxy = make_proxy(service=True)
    port = free_port()
    proxy.base = proxy.base.replace(":%d" % proxy.service_port, ":%d" % port)
    proxy.write('service_hosts = {"late.example"}')
    old = proxy.service_port
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: can_connect("127.0.0.1", port) and not can_connect("127.0.0.1", old), 5, "the new address")
    proxy.service_port = port
    assert get(proxy, "/healthz", host="late.example").status == 200
    proxy.base = proxy.base.replace('"127.0.0.1:%d"' % port, '"off"')
    proxy.write("")
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: not can_connect("127.0.0.1", port), 5, "it to end")
    proxy.service_port = None


def test_a_second_instance_ends(service, tlsfan):
    done = tlsfan("-l", "127.0.0.1:0", "-s", "127.0.0.1:%d" % service.service_port)
    assert done.returncode == 3 and "another tlsfan" in done.stderr


def test_beyond_loopback_it_wants_to_know_who_may_come(tlsfan):
    done = tlsfan("-t", "-s", "0.0.0.0:3129")
    assert (
        done.returncode == 1
        and "-o service" in done.stderr.replace("-s", "-o service")
        and "client.allow" in done.stderr
    )
    assert tlsfan("-t", "-s", "0.0.0.0:3129", "-o", "client.allow=private").returncode == 0
    assert tlsfan("-t", "-s", "unix:/tmp/x").returncode == 1 and tlsfan("-t", "-s", "off").returncode == 0


def test_check_health(service, tlsfan):
    where = "127.0.0.1:%d" % service.service_port
    assert tlsfan("--check-health", where).returncode == 0
    assert tlsfan("--check-health=" + where).returncode == 0
    assert tlsfan("-s", where, "--check-health").returncode == 0
    assert (
        tlsfan(
            "--check-health",
            env={"TLSFAN_SERVICE": "0.0.0.0:%d" % service.service_port, "TLSFAN_CLIENT_ALLOW": "private"},
        ).returncode
        == 0
    )
    nobody = tlsfan("--check-health", "127.0.0.1:%d" % free_port())
    assert nobody.returncode == 1 and "does not answer" in nobody.stderr
    assert tlsfan("-s", "off", "--check-health").returncode == 1
    wrong = tlsfan("--check-health", "127.0.0.1:%d" % service.port)
    assert wrong.returncode == 1 and "400" in wrong.stderr
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert tlsfan("--check-health", "127.0.0.1:%d" % silent.getsockname()[1]).returncode == 1


def test_run_has_none_unless_asked(tmp_path):
    port = free_port()
    show = "import os, socket; s = socket.socket(); print(s.connect_ex(('127.0.0.1', %d)))" % port
    for flags, env, there in (
        ([], {}, False),
        ([], {"TLSFAN_SERVICE": "127.0.0.1:%d" % port}, False),
        (["-s", "127.0.0.1:%d" % port], {}, True),
    ):
        done = subprocess.run(
            [binary(), *flags, "run", "--", "/usr/bin/python3", "-c", show],
            env=clean_env(env),
            capture_output=True,
            text=True,
            timeout=30 * SLOW,
        )
        assert (done.stdout.strip() == "0") == there, (flags, done)


def mutations(count, seed=4):
    """Requests near enough to good ones to get somewhere, in pieces."""
    rng = random.Random(seed)
    good = [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /status?a=%41&b HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
        b"GET http://localhost:1/metrics HTTP/1.0\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n",
        b"POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n"
        b'[{"url":"http://127.0.0.1:1/"}]'[:29],
        b"POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 19\r\n"
        b"Expect: 100-continue\r\n\r\nhttp://127.0.0.1:1/",
        b"POST /batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"GET /exchanges?after=1.2.3&limit=2 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YTpi\r\n\r\n",
    ]
    tokens = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b":",
        b" ",
        b"\t",
        b"Content-Length: 5\r\n",
        b"Content-Length: 18446744073709551616\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: x\r\n",
        b"ffffffffffffffff\r\n",
        b"%",
        b"%00",
        b"?",
        b"#",
        b"//",
        b"\xff",
        b"HTTP/1.1",
        b"Expect: 100-continue\r\n",
        b"Content-Type: multipart/form-data; boundary=x\r\n",
        b"Connection: keep-alive\r\n",
    ]
    for _ in range(count):
        text = bytearray(b"".join(rng.choice(good) for _ in range(rng.choice((1, 1, 1, 2, 3)))))
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(text) + 1)
            what = rng.randrange(5)
            if what == 0 and at < len(text):
                text[at] = rng.randrange(256)
            elif what == 1:
                del text[at : at + rng.randrange(1, 20)]
            elif what == 2:
                text[at:at] = rng.choice(tokens)
            elif what == 3:
                text[at:at] = text[max(0, at - rng.randrange(40)) : at]
            else:
                text[at:at] = bytes([rng.choice(b"ABxyz019 ")]) * rng.randrange(1, 3000)
        yield bytes(text), rng.random() < 0.3


def test_mutated_requests(make_proxy):
    """10,000, with a look at /healthz after each hundred."""
    proxy = make_proxy(
        "client { header_timeout = 500ms body_timeout = 500ms }\nlog { access = off level = error }", service=True
    )
    open_ones = []
    for n, (text, split) in enumerate(mutations(10000), 1):
        s = socket.create_connection(("127.0.0.1", proxy.service_port))
        s.settimeout(5)
        try:
            s.sendall(text[: len(text) // 2] if split else text)
            if split:
                s.sendall(text[len(text) // 2 :])
            s.setblocking(False)
            s.recv(65536)
        except OSError:
            pass
        open_ones.append(s)
        if len(open_ones) > 50:
            open_ones.pop(0).close()
        if n % 100 == 0:
            assert not proxy.dead(), text
            wait_until(lambda: well(proxy), 10 * SLOW, "healthz after request %d" % n)
    for s in open_ones:
        s.close()
    wait_until(lambda: proxy.fds() < 60, 10 * SLOW, "the connections to end: %d" % proxy.fds())
    assert SANITIZED or proxy.rss() < 64 * 1024
    assert len(proxy.log()) < 20000, proxy.log()[-3000:]
