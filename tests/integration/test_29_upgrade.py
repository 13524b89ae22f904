# SPDX-License-Identifier: Apache-2.0
"""Sockets and notes of a service manager: a new tlsfan takes over from the old one, and no request is lost."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from testenv import SLOW
from testenv.client import Client
from testenv.load import Load
from testenv.nginx import Nginx
from testenv.ports import free_port
from testenv.proxy import REPORT, binary, clean_env
from testenv.wait import can_connect, wait_until

# Puts descriptors argv[1] at 3 and up and becomes argv[2:]: LISTEN_PID has to be the program's own.
BECOME = """
import os, sys
fds = [os.dup2(int(fd), 200 + n, False) for n, fd in enumerate(sys.argv[1].split(",")) if fd]
for n, fd in enumerate(fds):
    os.dup2(fd, 3 + n)
os.closerange(3 + len(fds), 200)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """Does what a service manager does: holds the sockets, starts the program with them, and hears its notes."""

    def __init__(self, directory, ca, conf=""):
        self.dir = str(directory)
        os.makedirs(self.dir)
        self.path = os.path.join(self.dir, "proxy.sock")
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=511) for _ in range(2)]
        self.port, self.service_port = [s.getsockname()[1] for s in self.sockets]
        self.sockets.append(socket.socket(socket.AF_UNIX))
        self.sockets[-1].bind(self.path)
        self.sockets[-1].listen(511)
        self.conf_path = os.path.join(self.dir, "tlsfan.conf")
        with open(self.conf_path, "w") as f:
            f.write(
                'listen = {"127.0.0.1:%d", "unix:%s"}\nservice = "127.0.0.1:%d"\ntls { ca_file = "%s" }\n'
                "workers = 2\nlog { access = off }\n%s\n" % (self.port, self.path, self.service_port, ca.root, conf)
            )
        self.notify_path = os.path.join(self.dir, "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.notify_path)
        self.notify.setblocking(False)
        self.notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notes, self.programs = [], []

    def start(self, sockets=None, **env):
        """A further program, as a Popen; .notes() are those of it alone."""
        fds = [s.fileno() for s in (self.sockets if sockets is None else sockets)]
        names = ":".join(["proxy", "service", "unix", "further"][: len(fds)])
        env = clean_env({"NOTIFY_SOCKET": self.notify_path, "LISTEN_FDNAMES": names, **env})
        command = [sys.executable, "-I", "-c", BECOME, ",".join(map(str, fds)), binary(), "-c", self.conf_path]
        log = os.path.join(self.dir, "log%d" % len(self.programs))
        with open(log, "wb") as f:
            program = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=f, stderr=f, env=env, pass_fds=fds, cwd=self.dir
            )
        program.log_path = log
        self.programs.append(program)
        return program

    def ready(self, program):
        wait_until(lambda: program.poll() is not None or "READY=1" in self.heard(program), 15, "READY=1")
        assert program.poll() is None, self.log(program)
        return program

    def hear(self):
        """Takes what has been sent: (pid, note) of each line."""
        while True:
            try:
                data, ancillary, _, _ = self.notify.recvmsg(65536, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return
            (credentials,) = [d for level, kind, d in ancillary if kind == socket.SCM_CREDENTIALS]
            pid = int.from_bytes(credentials[:4], sys.byteorder)
            self.notes += [(pid, line) for line in data.decode().splitlines()]

    def heard(self, program):
        """The notes of PROGRAM so far, in order."""
        self.hear()
        return [note for pid, note in self.notes if pid == program.pid]

    def log(self, program):
        with open(program.log_path, errors="replace") as f:
            return f.read()

    def end(self, program):
        """TERM, and the exit that has to follow."""
        program.send_signal(signal.SIGTERM)
        self.ended(program)

    def ended(self, program):
        try:
            assert program.wait(15 * SLOW) == 0, self.log(program)[-3000:]
        finally:
            if program.poll() is None:
                program.kill()
                program.wait()
        assert not REPORT.search(self.log(program)), self.log(program)[-6000:]

    def close(self):
        for program in self.programs:
            if program.poll() is None:
                program.kill()
                program.wait()
        for s in self.sockets + [self.notify]:
            s.close()


@pytest.fixture
def manage(tmp_path, ca):
    """manage(conf): a service manager that ends with the test."""
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    made = []

    def make(conf="drain_timeout = 5s"):
        made.append(Manager(tmp_path / ("manager%d" % len(made)), ca, conf))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.fixture(scope="module")
def web(tmp, ca):
    """Answers at once, or, for /slow.bin, in about 0.4 s."""
    server = Nginx(tmp / "upgrade-nginx", ca.leaf(), "location /slow.bin { limit_rate 100k; }", protocol="h2")
    server.file("fast.txt", b"fast\n")
    server.file("slow.bin", bytes(range(256)) * 160)
    yield server
    server.stop()


def asks(address, web):
    with Client(address) as client:
        return client.get(web.url("/fast.txt")).body == b"fast\n"


@pytest.mark.counted
@pytest.mark.concurrent
@pytest.mark.parametrize("order", ["the new one first", "the old one first"])
def test_an_upgrade_loses_nothing(manage, web, order):
    """Either the new program is ready before the old one is told to end, or it is started when that has ended."""
    manager = manage()
    old = manager.ready(manager.start())
    slowly = (web.url("/slow.bin"), bytes(range(256)) * 160)
    with Load(manager.port, (web.url("/fast.txt"), b"fast\n"), slowly) as load:
        for _ in range(3):
            load.everybody_goes_on()
            if order == "the new one first":
                new = manager.ready(manager.start())
                load.everybody_goes_on()
                manager.end(old)
            else:
                manager.end(old)
                new = manager.ready(manager.start())
            assert os.path.exists(manager.path) and asks(manager.path, web)
            old = new
        load.everybody_goes_on()
        load.stop()
    manager.end(old)
    print("upgrade, %s, 3 times: %s" % (order, load.told()))
    assert load.failed == [], load.failed[:10]
    assert can_connect("127.0.0.1", manager.port)  # the sockets are the manager's still


def test_who_waits_in_the_queue_is_found(manage, web):
    """Connections made, and requests sent, while no tlsfan runs."""
    manager = manage()
    waiting = [Client(manager.port) for _ in range(20)]
    for client in waiting:
        client.request("GET", web.url("/fast.txt"))
    first = manager.ready(manager.start())
    assert {client.response().body for client in waiting} == {b"fast\n"}
    for client in waiting:
        client.close()
    manager.end(first)
    with Client(manager.port) as client, Client(manager.path) as unix, Client(manager.service_port) as service:
        for one in (client, unix):
            one.request("GET", web.url("/fast.txt"))
        service.request("GET", "/readyz", host="localhost")
        second = manager.ready(manager.start())
        assert client.response().body == unix.response().body == b"fast\n"
        assert service.response().status == 200
    manager.end(second)


def test_notes(manage, web):
    """READY once it serves, RELOADING and READY around a reload, STATUS in words, STOPPING when it ends."""
    manager = manage("drain_timeout = 5s\ndrain_delay = 200ms")
    program = manager.ready(manager.start())
    assert asks(manager.port, web)
    assert any(note.startswith("STATUS=") for note in manager.heard(program))
    before, begin = len(manager.heard(program)), time.monotonic_ns() // 1000
    program.send_signal(signal.SIGHUP)
    wait_until(lambda: "READY=1" in manager.heard(program)[before:], 10, "READY=1 after the reload")
    reload = manager.heard(program)[before:]
    assert reload.index("RELOADING=1") < reload.index("READY=1")
    (when,) = [note for note in reload if note.startswith("MONOTONIC_USEC=")]
    # systemd takes RELOADING for an older one's where its time is before that of the signal.
    assert begin <= int(re.fullmatch(r"MONOTONIC_USEC=(\d+)", when).group(1)) <= time.monotonic_ns() // 1000
    assert asks(manager.port, web) and asks(manager.path, web)
    assert "STOPPING=1" not in manager.heard(program)
    manager.end(program)
    notes = manager.heard(program)
    assert "STOPPING=1" in notes and "READY=1" not in notes[notes.index("STOPPING=1") :]


def test_a_reload_that_fails_ends_as_well(manage, web):
    """Else the manager would wait for the end of it; the sockets stay in use."""
    manager = manage()
    program = manager.ready(manager.start())
    with open(manager.conf_path, "a") as f:
        f.write("no_such_key = 1\n")
    before = len(manager.heard(program))
    program.send_signal(signal.SIGHUP)
    wait_until(lambda: "READY=1" in manager.heard(program)[before:], 10, "READY=1 after the reload")
    assert "no_such_key" in manager.log(program)
    assert asks(manager.port, web) and asks(manager.path, web)
    manager.end(program)


def test_the_watchdog_is_fed(manage):
    manager = manage()
    program = manager.ready(manager.start(WATCHDOG_USEC=str(400000 * SLOW)))
    wait_until(lambda: manager.heard(program).count("WATCHDOG=1") >= 4, 10, "WATCHDOG=1 four times")
    manager.end(program)
    program = manager.ready(manager.start())
    manager.end(program)
    assert "WATCHDOG=1" not in manager.heard(program)


def test_a_reload_keeps_what_was_passed(manage, web):
    """Also a socket that the configuration had given up for a while."""
    manager = manage()
    program = manager.ready(manager.start())
    with open(manager.conf_path) as f:
        text = f.read()
    for conf, unix in ((text.replace(', "unix:%s"' % manager.path, ""), False), (text, True)):
        with open(manager.conf_path, "w") as f:
            f.write(conf)
        before = len(manager.heard(program))
        program.send_signal(signal.SIGHUP)
        wait_until(lambda: "READY=1" in manager.heard(program)[before:], 10, "the reload")
        assert asks(manager.port, web) and os.path.exists(manager.path)
        assert not unix or asks(manager.path, web)
    manager.end(program)


def test_a_socket_that_nobody_asked_for_is_a_fault(manage):
    manager = manage()
    with socket.create_server(("127.0.0.1", 0)) as further:
        program = manager.start(manager.sockets + [further])
        assert program.wait(15 * SLOW) == 3
        assert str(further.getsockname()[1]) in manager.log(program)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        program = manager.start(manager.sockets + [datagrams])
        assert program.wait(15 * SLOW) == 3 and "READY=1" not in manager.heard(program)


def test_without_a_manager_nothing_is_taken_over(make_proxy, web):
    """LISTEN_PID of another process, as a child of an activated program inherits it."""
    proxy = make_proxy(env={"LISTEN_PID": "1", "LISTEN_FDS": "3", "NOTIFY_SOCKET": "/nonexistent/notify"})
    assert asks(proxy.port, web)


def test_systemd_socket_activate(ca, web, tmp_path):
    """The real thing starts it at the first connection."""
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        pytest.skip("no systemd-socket-activate here")
    port = free_port()
    address = "127.0.0.1:%d" % port
    command = [tool, "-l", address, binary(), "-l", address, "-s", "off", "-o", "tls.ca_file=" + ca.root]
    log = tmp_path / "log"
    with open(str(log), "wb") as f:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=f, stderr=f, env=clean_env())
    try:
        wait_until(lambda: b"Listening on" in log.read_bytes(), 10, "the socket")
        assert b"has started" not in log.read_bytes()
        assert asks(port, web), log.read_text()
        wait_until(lambda: b"has started" in log.read_bytes(), 10, "the line in the log")
        program.send_signal(signal.SIGTERM)
        assert program.wait(15 * SLOW) == 0, log.read_text()
    finally:
        if program.poll() is None:
            program.kill()
            program.wait()
