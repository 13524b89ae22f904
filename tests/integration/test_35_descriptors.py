# SPDX-License-Identifier: Apache-2.0
"""Descriptors as a budget, and places for those who may come: hosts by the hundred, storms and strangers."""
import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading

import pytest

from testenv import SANITIZED, SLOW
from testenv.client import Broken, Client
from testenv.nginx import Nginx
from testenv.ports import free_port
from testenv.proxy import binary, clean_env
from testenv.wait import can_connect, wait_until

WHO = "location /who { return 200 \"$http_host$request_uri\"; }\n"
STRANGER = "127.0.0.2"
ALLOW = 'client { allow = {"127.0.0.1/32"} %s }\n'

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope="module")
def many(tmp, ca, protocol):
    """An origin that answers for all of *.wild.test, each with its own name."""
    server = Nginx(tmp / ("many-" + protocol), ca.leaf("wildcard"), locations=WHO, protocol=protocol)
    yield server
    server.stop()


def limited(number):
    """A prefix that starts the program with so many descriptors."""
    return ("sh", "-c", 'ulimit -n %d; exec "$0" "$@"' % number)


def conf(origin, workers, more=""):
    return 'workers = %d\nconnect_to = {":443:127.0.0.1:%d"}\n%s' % (workers, origin.port, more)


def host(n):
    return "h%d.wild.test" % n


def ask(client, n):
    r = client.get("http://%s/who?%d" % (host(n), n))
    return r.status == 200 and r.text == "%s/who?%d" % (host(n), n), r


def ask_all(port, numbers, clients=1):
    """Each number's host once, by CLIENTS keep-alive connections at once; the answers that are not right."""
    wrong, todo, lock = [], list(numbers), threading.Lock()

    def one():
        with Client(port, timeout=60) as c:
            while True:
                with lock:
                    if not todo:
                        return
                    n = todo.pop(0)
                try:
                    right, r = ask(c, n)
                except (OSError, Broken) as e:
                    right, r = False, e
                if not right:
                    wrong.append((n, r))
                    if not getattr(r, "status", None):
                        return
    threads = [threading.Thread(target=one) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return wrong


def connected(port, source="127.0.0.1"):
    s = socket.socket()
    s.bind((source, 0))
    s.settimeout(60)
    try:
        s.connect(("127.0.0.1", port))
    except ConnectionError:
        pass  # taken and reset already
    return s


def received(s):
    """All that comes until the peer ends; b"" after a reset, too."""
    out = b""
    try:
        while True:
            data = s.recv(65536)
            if not data:
                return out
            out += data
    except OSError as e:
        assert not isinstance(e, TimeoutError), out
        return out


def idle(p):
    """Idle connections to origins, of all workers."""
    with Client(p.service_port) as c:
        origins = json.loads(c.get("/status", host="localhost").text)["origins"]
    return sum(o["idle"] for o in origins)


# --- descriptors

@pytest.mark.parametrize("workers", (1, 2))
def test_more_hosts_than_descriptors(make_proxy, many, workers):
    p = make_proxy(conf(many, workers), prefix=limited(300), access=False)
    assert ask_all(p.port, range(600)) == []
    assert p.fds() < 300


@pytest.mark.parametrize("workers", (1, 2))
def test_more_hosts_while_clients_hold_on(make_proxy, many, workers):
    """Clients that were served stay connected, and idle: what they leave is enough for all who ask."""
    p = make_proxy(conf(many, workers), prefix=limited(300), access=False)
    holding = [Client(p.port) for _ in range(90)]
    for n, c in enumerate(holding):
        assert ask(c, n)[0]
    assert ask_all(p.port, range(100, 700), clients=20) == []
    for n, c in enumerate(holding):  # and they are served still
        right, r = ask(c, 800 + n)
        assert right, r
        c.close()


def test_all_ask_at_once(make_proxy, many):
    """As many as may be clients, each for a host of its own: whoever finds no descriptor gets one in turn."""
    p = make_proxy(conf(many, 1), prefix=limited(300), access=False)
    assert ask_all(p.port, range(1200), clients=110) == []


@pytest.mark.load
@pytest.mark.parametrize("number, hosts", (
    pytest.param(1024, 2500), pytest.param(4096, 8000, marks=pytest.mark.soak)))
def test_thousands_of_hosts(make_proxy, many, number, hosts):
    if hard < number:
        pytest.skip("the descriptor limit of this machine is %d" % hard)
    p = make_proxy(conf(many, 2), prefix=limited(number), access=False)
    assert ask_all(p.port, range(hosts), clients=50) == []
    assert "no connection is accepted" not in p.log()


def test_the_503_names_the_limit(make_proxy, serve):
    """Connections to origins that are all in use: the answer says what is short, and what raises it."""
    held = threading.Event()

    def slow(conn):
        if conn.read_request() is not None:
            held.wait(60)
    origin = serve(slow, tls=False)
    p = make_proxy("workers = 1\nconnect_to = {\":80:127.0.0.1:%d\"}\nupstream { queue_timeout = 1s }\n"
                   'rule "*" { upgrade = off max_per_host = 0 }\n' % origin.port, prefix=limited(100), access=False)
    clients = []
    try:
        for n in range(20):
            c = Client(p.port, timeout=30)
            clients.append(c)
            try:
                for i in range(4):
                    c.request("GET", "http://h%d.test/%d" % (n, i))
            except OSError:
                pass  # turned away: there is no descriptor for it either
        answers = []
        for c in clients:
            c.sock.settimeout(0.01)

        def answered():
            for c in clients:
                try:
                    c.fill()
                except OSError:
                    pass
                if b"\r\n\r\n" in c.buf:
                    answers.append(c.buf)
            return answers
        answer = wait_until(answered, 20, "an answer")[0].decode()
        assert " 503 " in answer.split("\r\n")[0] and "RLIMIT_NOFILE" in answer and "LimitNOFILE=" in answer
        assert "error=connection_limit_reached" in answer and "Retry-After" in answer and "127.0.0.1" not in answer
    finally:
        held.set()
        for c in clients:
            c.close()


@pytest.mark.parametrize("workers", (1, 2))
def test_a_storm_does_not_stall_the_served(make_proxy, many, workers):
    p = make_proxy(conf(many, workers), prefix=limited(300), access=False, service=True)
    served = [Client(p.port) for _ in range(10)]
    for n, c in enumerate(served):
        assert ask(c, n)[0]
    storm = []
    for i in range(1500):
        storm.append(connected(p.port))
        if i % 30 == 0:
            for n, c in enumerate(served):
                right, r = ask(c, i + n)
                assert right, r
    assert "no connection is accepted for a moment" not in p.log()
    over = [s for s in storm if not s.setblocking(False) and readable(s)]
    assert over
    for s in storm:
        s.close()
    # And a place is to be had as soon as they have gone.
    wait_until(lambda: ask_all(p.port, [7]) == [], 10, "a place")
    for c in served:
        c.close()


def readable(s):
    try:
        return s.recv(1, socket.MSG_PEEK) is not None
    except BlockingIOError:
        return False
    except OSError:
        return True


def is_over(s):
    """It has got an answer without asking, or was reset."""
    s.setblocking(False)
    return readable(s)


def test_logs_and_configuration_in_a_shortage(make_proxy, many, tmp_path):
    """USR1, HUP and names need descriptors as well, and have them although clients want them all."""
    p = make_proxy(conf(many, 1), prefix=limited(300), service=True)
    storm = [connected(p.port) for _ in range(400)]
    os.rename(p.access_path, p.access_path + ".old")
    p.signal(signal.SIGUSR1)
    p.wait_log("log files were opened again")
    wait_until(lambda: os.path.exists(p.access_path), 5, "the new log file")
    p.write(conf(many, 1, 'tls { ca_file = "/etc/ssl/certs/ca-certificates.crt" }\n'))
    p.signal(signal.SIGHUP)
    p.wait_log("configuration reloaded")
    assert "cannot be opened" not in p.log()
    for s in storm:
        s.close()


def test_the_warning_is_true(make_proxy, many):
    """It says how many clients there may be, and so many there may be; and what it takes is enough."""
    p = make_proxy(conf(many, 1), prefix=limited(400), access=False)
    m = re.search(r"may have 400 descriptors, which allow (\d+) client connections.*max_connections = 10000: "
                  r"for these it takes (\d+)", p.log())
    assert m, p.log()
    clients = [Client(p.port) for _ in range(int(m.group(1)))]
    for n, c in enumerate(clients):
        assert ask(c, n % 50)[0], n
    over = Client(p.port)
    answer = over.rest().decode()
    assert answer == "" or ("503" in answer and "RLIMIT_NOFILE" in answer), answer
    for c in clients:
        c.close()
    if int(m.group(2)) <= hard:
        enough = make_proxy(conf(many, 1), prefix=limited(int(m.group(2))), access=False)
        assert "descriptors" not in enough.log()


def test_many_listeners(make_proxy, many):
    """Sockets that listen count: clients who hold on leave descriptors for the origins of those who ask."""
    port = free_port()
    forwards = "".join('forward "127.0.1.%d:%d" { to = "https://h1.wild.test" }\n' % (n, port) for n in range(1, 61))
    p = make_proxy(conf(many, 2, forwards), prefix=limited(300), access=False)
    allowed = int(re.search(r"allow (\d+) client connections", p.log()).group(1))
    clients = [connected(p.port) for _ in range(150)]
    wait_until(lambda: sum(map(is_over, clients)) >= 150 - allowed, 20, "the others to be turned away")
    served = [s for s in clients if not is_over(s)]
    for n, s in enumerate(served[:20]):
        s.settimeout(60)
        s.sendall(b"GET http://%s/who HTTP/1.1\r\nHost: %s\r\n\r\n" % (2 * (host(n).encode(),)))
    assert [a for a in (s.recv(65536).split(b"\r\n")[0] for s in served[:20]) if b" 200 " not in a] == []
    for s in clients:
        s.close()


def test_too_few_to_serve_anybody(tmp_path):
    """It does not start, and says why, where each client would be turned away."""
    conf_path = tmp_path / "conf"
    conf_path.write_text('listen = {"127.0.0.1:0"}\nservice = "off"\nworkers = 8\n')
    for number in (14, 40, 48, 60):
        for command in (["-c", str(conf_path)], ["run", "-c", str(conf_path), "--", "true"]):
            r = subprocess.run([*limited(number), binary(), *command], env=clean_env(), capture_output=True, text=True,
                               timeout=30 * SLOW)
            assert r.returncode == (125 if command[0] == "run" else 3), (number, r)
            assert "RLIMIT_NOFILE" in r.stderr and "ulimit -n" in r.stderr and "workers = 8" in r.stderr, r.stderr


def test_a_storm_on_a_socket_that_workers_share(make_proxy, many, tmp_path):
    """What the main thread has accepted and no worker has judged does not use up what is kept."""
    path = str(tmp_path / "u")
    p = make_proxy(conf(many, 2), prefix=limited(300), access=False, service=True,
                   listen=["127.0.0.1:%d" % free_port(), "unix:" + path], wait=False)
    wait_until(lambda: can_connect("127.0.0.1", p.service_port) and os.path.exists(path), 10, "the proxy")
    storm, lock = [], threading.Lock()

    def some():
        for _ in range(400):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(60)
            s.connect(path)
            with lock:
                storm.append(s)
    threads = [threading.Thread(target=some) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert b" 200 " in well(p.service_port)
    p.signal(signal.SIGHUP)
    p.wait_log("configuration reloaded")
    for s in storm:
        s.setblocking(False)
    wait_until(lambda: any(b"RLIMIT_NOFILE" in received(s) for s in storm if readable(s)), 20, "a sentence")
    for s in storm:
        s.close()
    assert "no connection is accepted for a moment" not in p.log()


def test_one_bound_for_all_workers(make_proxy, many):
    """Two workers keep no more idle connections than one."""
    kept = {}
    for workers in (1, 2):
        p = make_proxy(conf(many, workers), prefix=limited(300), access=False, service=True)
        assert ask_all(p.port, range(300), clients=8) == []
        kept[workers] = idle(p)
    assert kept[1] > 0
    wait_until(lambda: 0 < idle(p) <= kept[1], 10, "the other worker to give up what is too much")


# --- admission

@pytest.mark.parametrize("workers", (1, 2))
def test_strangers_take_no_place(make_proxy, many, workers):
    p = make_proxy(conf(many, workers, ALLOW % "max_connections = 10"), access=False, service=True)
    storm = [connected(p.port, STRANGER) for _ in range(200)]
    with Client(p.port) as c:
        right, r = ask(c, 1)
        assert right, r
    answers = [received(s) for s in storm]
    assert any(b" 403 " in a and b"client.allow" in a for a in answers)
    assert all(a == b"" or b" 403 " in a.split(b"\r\n")[0] for a in answers)
    for s in storm:
        s.close()
    assert p.log().count("may not use this proxy") < 100  # five and a count in five seconds
    with Client(p.service_port) as c:
        assert "tlsfan_turned_away_clients_total 200\n" in c.get("/metrics", host="localhost").text


def test_forward_listeners_judge_at_once(make_proxy, many):
    p = make_proxy(conf(many, 1, ALLOW % "max_connections = 4"), access=False,
                   flags=("-f", "127.0.0.1:0=https://h1.wild.test"))
    p.wait_log("has started")
    port = int(re.search(r"listening on 127.0.0.1:(\d+) for", p.log()).group(1))
    storm = [connected(port, STRANGER) for _ in range(50)]
    with Client(port) as c:
        assert c.get("/who", host="h1.wild.test").text == "h1.wild.test/who"
    assert any(b" 403 " in received(s) for s in storm)
    for s in storm:
        s.close()


def test_what_lingers_is_bounded(make_proxy, many):
    """Who is turned away and holds on holds a descriptor of ours for two seconds: not so a thousand."""
    p = make_proxy(conf(many, 1, ALLOW % ""), access=False)
    before, most = p.fds(), 0
    storm = []
    for i in range(1000):
        storm.append(connected(p.port, STRANGER))
        if i % 20 == 0:
            most = max(most, p.fds())
    most = max(most, p.fds())
    assert most - before <= 300, (before, most)
    for s in storm:
        s.close()


def test_a_reload_holds_for_who_is_connected(make_proxy, many):
    p = make_proxy(conf(many, 1, 'client { allow = {"127.0.0.0/8"} }\n'), access=False)
    with Client(p.port) as c:
        assert ask(c, 1)[0]
        p.write(conf(many, 1, 'client { allow = {"127.0.0.9"} }\n'))
        p.signal(signal.SIGHUP)
        p.wait_log("configuration reloaded")

        def refused():
            try:
                return ask(c, 2)[1].status == 403
            except (OSError, Broken):
                return False
        wait_until(refused, 5, "the refusal")
    with connected(p.port) as s:
        assert b" 403 " in received(s)


# --- the service listener

def well(port, source="127.0.0.1", path="/healthz"):
    with connected(port, source) as s:
        s.sendall(b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % path.encode())
        return received(s).split(b"\r\n")[0]


@pytest.mark.parametrize("sent", (b"", b"GET /healthz HTTP/1.1\r\n"))
def test_health_checks_while_strangers_stand(make_proxy, many, sent):
    """For who may come, this machine, and another stranger (as the kubelet may be) alike."""
    p = make_proxy(conf(many, 1, 'client { allow = {"127.0.0.3"} }\n'), service=True, access=False)
    storm = []
    for _ in range(1000):
        storm.append(connected(p.service_port, STRANGER))
        try:
            storm[-1].sendall(sent)
        except ConnectionError:
            pass
    for source in ("127.0.0.1", "127.0.0.3", "127.0.0.4"):
        for path in ("/healthz", "/readyz"):
            assert b" 200 " in well(p.service_port, source, path), (source, path)
    assert b" 200 " in well(p.service_port, "127.0.0.3", "/metrics")
    assert p.fds() < 200
    for s in storm:
        s.close()


def test_a_health_check_among_a_crowd(make_proxy, many):
    """Strangers of many addresses who come in one moment: who came first is answered before all of them are in."""
    p = make_proxy(conf(many, 1, ALLOW % ""), service=True, access=False)
    p.signal(signal.SIGSTOP)
    try:
        first = connected(p.service_port, STRANGER)
        first.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        crowd = [connected(p.service_port, "127.0.1.%d" % n) for n in range(1, 101)]
    finally:
        p.signal(signal.SIGCONT)
    assert b" 200 " in received(first).split(b"\r\n")[0]
    for s in [first, *crowd]:
        s.close()


def test_strangers_ask_health_checks_alone(make_proxy, many):
    p = make_proxy(conf(many, 1, ALLOW % ""), service=True, access=False)
    for path in ("/", "/status", "/metrics", "/exchanges", "/batch", "/nothing"):
        assert b" 403 " in well(p.service_port, STRANGER, path), path
    for path in ("/healthz", "/readyz"):
        assert b" 200 " in well(p.service_port, STRANGER, path)


def test_members_that_fill_the_listener_do_not_end_health(make_proxy, many):
    """Batch calls whose bodies never end are not idle: a health check gets in beside them."""
    p = make_proxy(conf(many, 1), service=True, access=False)
    held = []
    for _ in range(300):
        held.append(connected(p.service_port))
        try:
            held[-1].sendall(b"POST /batch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
                             b"Content-Length: 999\r\n\r\n")
        except ConnectionError:
            pass
    assert b" 200 " in well(p.service_port)
    for s in held:
        s.close()
    wait_until(lambda: b" 200 " in well(p.service_port, path="/status"), 5, "a place")
