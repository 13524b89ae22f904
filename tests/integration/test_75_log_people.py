# SPDX-License-Identifier: Apache-2.0
"""The logs where people read them: at a terminal, in the journal, in a file of short lines; what the access log loses
is told; and no byte that a peer wrote commands a terminal."""
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import termios

import pytest

from test_22_watching import metrics
from testenv.client import Client
from testenv.ports import free_port
from testenv.proxy import binary, clean_env
from testenv.scripted import answering, ok
from testenv.wait import can_connect, wait_until

pytestmark = [pytest.mark.skipif(binary() is None, reason="no tlsfan: build it, or set TLSFAN_BIN"),
              pytest.mark.h1_only("about lines: what is spoken with origins is not in them")]

PLAIN = ("-o", "rule[*].upgrade=off", "-s", "off", "-w", "1")
LINE = re.compile(r"\d\d:\d\d:\d\d (\d\d\d|  -) [ \d.]{4,5} m?s  ?[ \d.]{4,5} k?B [A-Z]+ +(\S+)$")


@pytest.fixture
def plain(serve):
    return serve(answering(lambda r, c: ok(b"x" * 300)), tls=False)


class Seen:
    """tlsfan on a terminal of COLUMNS, its port, and what is seen there."""

    def __init__(self, terminal, *more, columns=100, env=("TERM=xterm",)):
        self.port = free_port()
        self.t = terminal("env", "-u", "NO_COLOR", *env, binary(), "-l", "127.0.0.1:%d" % self.port,
                          *PLAIN, *more)
        fcntl.ioctl(self.t.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        wait_until(lambda: self.t.read() and can_connect("127.0.0.1", self.port), 10, "the proxy to listen")

    def get(self, *urls):
        with Client(self.port) as c:
            return [c.get(url) for url in urls]

    def lines(self, text):
        """What is seen once TEXT is."""
        self.t.wait_seen(text.encode())
        return self.t.seen.decode().replace("\r\n", "\n").split("\n")

    def end(self):
        os.kill(self.t.pid, signal.SIGTERM)
        self.t.wait_seen(b"has ended")
        self.t.wait(0)


def test_a_line_an_exchange(terminal, plain):
    s = Seen(terminal, env=["TERM=dumb"])
    refused = "http://127.0.0.1:%d/refused/" % free_port() + "x" * 80
    s.get(plain.url("/one?secret"), plain.url("/" + "abcdefghi/" * 20 + "end"), refused, plain.url("/last"))
    s.end()
    lines = s.lines("/last")
    shown = [x for x in lines if LINE.match(x)]
    urls = [LINE.match(x).group(2) for x in shown]
    assert urls[0] == plain.url("/one?...") and urls[2] == refused and urls[3] == plain.url("/last")
    # As wide as the terminal; of the URL its beginning and its end are there.
    assert len(shown[1]) == 100 and urls[1].startswith(plain.url("/abc")) and urls[1].endswith("/end")
    assert "..." in urls[1]
    assert len({x.index("http://") for x in shown}) == 1
    below = lines[lines.index(shown[2]) + 1]
    assert re.match(r" {9}127\.0\.0\.1:\d+ refused the connection$", below)
    assert not any("{" in x for x in lines) and "\033" not in "".join(lines)
    # The other lines stand beside them.
    assert all(re.match(r"\d\d:\d\d:\d\d info ", x) for x in lines if "listening" in x or "has ended" in x)


def test_colours(terminal, plain):
    s = Seen(terminal)
    s.get(plain.url("/good"), "http://127.0.0.1:%d/bad" % free_port())
    s.end()
    text = "\n".join(s.lines("/bad"))
    assert re.search(r"\n\033\[2m\d\d:\d\d:\d\d\033\[m \033\[32m200\033\[m .* http://\S+/good\n", text)
    assert re.search(r"\033\[31m502\033\[m .*/bad\n {9}\033\[31m127\S+ refused the connection\033\[m\n", text)


@pytest.mark.parametrize("env", [["TERM=dumb"], ["-u", "TERM"], ["TERM=xterm", "NO_COLOR=1"]], ids=" ".join)
def test_no_colours(terminal, plain, env):
    s = Seen(terminal, env=env)
    s.get(plain.url("/good"), "http://127.0.0.1:%d/bad" % free_port())
    s.end()
    assert "\033" not in "".join(s.lines("/bad"))


@pytest.mark.parametrize("how", ["json", "common"])
def test_a_format_that_is_written_holds(terminal, plain, how):
    s = Seen(terminal, "-o", "log.format=" + how)
    s.get(plain.url("/one"))
    s.end()
    line, = [x for x in s.lines("/one") if "/one" in x]
    assert line.startswith("{" if how == "json" else "127.0.0.1 - - [")


EVIL = b"\033[2J\033]0;evil\007\x9b2J\xc2\x9b2J\r\n"


def test_peers_command_no_terminal(terminal, serve):
    """A parent's reason phrase, an origin's head, a client's target, method, Host and credentials."""
    evil = EVIL[:-2]

    def answer(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 403 " + evil + b"\r\n" + evil + b": x\r\nContent-Length: 0\r\n\r\n")
    origin = serve(answer, tls=False)
    parent = "-o", "rule[parent.test].proxy=http://127.0.0.1:%d" % origin.port, "-o", "rule[parent.test].upgrade=on"
    s = Seen(terminal, "-o", "log.level=debug", "-o", "log.query=on", *parent, env=["TERM=dumb"])
    for head in (b"GET http://127.0.0.1:%d/" % origin.port, b"GET http://parent.test/", b"GET http://h/" + evil,
                 b"GET" + evil + b" http://h/", b"GET http://h" + evil + b".test/", evil,
                 b"GET http://%1b%5b2J@127.0.0.1:1/%1b?" + evil.hex().encode()):
        with Client(s.port) as c:
            c.send(head + b" HTTP/1.1\r\nHost: " + evil + b"\r\nProxy-Authorization: Basic GxtbMkobOng=\r\n\r\n")
            c.closed()
    s.end()
    text = "\n".join(s.lines("has ended"))
    assert len(re.findall(r"^\d\d:\d\d:\d\d (?:\d\d\d|  -) ", text, re.M)) >= 6
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text.replace("\r", "")), text


def test_run(terminal, plain):
    """A command's terminal is its own: lines of the proxy are there where they are asked for."""
    command = ["curl", "-sS", "--noproxy", "", "-o", "/dev/null", plain.url("/asked")]
    for more in [], ["-o", "log.access=stderr"]:
        t = terminal("env", "TERM=dumb", binary(), "-o", "rule[*].upgrade=off", *more, "run", "--", *command)
        t.wait(0)
        shown = [x for x in t.read().decode().split("\r\n") if LINE.match(x)]
        assert [LINE.match(x).group(2) for x in shown] == [plain.url("/asked")] * (len(more) // 2)


def test_short_in_a_file(make_proxy, plain, tmp_path):
    """Each is one line, with a date; nothing is cut, and nothing coloured."""
    path = tmp_path / "access"
    p = make_proxy('rule "*" { upgrade = off }\nlog { access = "%s" format = short }\n' % path, env={"TERM": "xterm"})
    url, refused = plain.url("/" + "a" * 300), "http://127.0.0.1:%d/refused" % free_port()
    with p.client() as c:
        c.get(url)
        c.get(refused)
    p.stop()
    first, second = path.read_text().splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
    assert re.match(stamp + "200 ", first) and first.endswith(" GET     " + url)
    assert re.match(stamp + "502 ", second)
    assert re.search(re.escape(refused) + r" \(connection_refused: 127\.0\.0\.1:\d+ refused the connection\)$", second)


# --- systemd

class Journal:
    """A stream as journald has them, read by the test; tlsfan writes to it with the arguments given."""

    def __init__(self, *arguments, off=0, env=None):
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        st = os.fstat(theirs.fileno())
        env = clean_env({"JOURNAL_STREAM": "%d:%d" % (st.st_dev, st.st_ino + off), **(env or {})})
        self.process = subprocess.Popen([binary(), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=theirs, env=env)
        theirs.close()

    def end(self, status=0):
        """Its lines."""
        if status == 0:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == status
        with self.ours.makefile("r") as f:
            return f.read().splitlines()


@pytest.mark.parametrize("off", [0, 1], ids=["the journal", "another stream"])
def test_journal(plain, off):
    port = free_port()
    j = Journal("-l", "127.0.0.1:%d" % port, *PLAIN, off=off)
    wait_until(lambda: can_connect("127.0.0.1", port), 10, "the proxy to listen")
    with Client(port) as c:
        assert c.get(plain.url("/one")).status == 200
        c.send("FOO\r\n\r\n")
        c.closed()
    lines = j.end()
    access = [x for x in lines if "{" in x]
    assert len(access) == 2, lines
    if off:
        assert not any(x.startswith("<") for x in lines)
        return
    assert all(re.match(r"<[3-7]>", x) for x in lines), lines
    assert all(re.match(r"<6>info |<4>warning ", x) for x in lines if x not in access)
    assert any("has started" in x for x in lines) and not any(re.search(r"\d\d:\d\d:\d\d.*info", x) for x in lines)
    assert [json.loads(x[len("<6>"):])["status"] for x in access] == [200, 400] and access[0].startswith("<6>{")


def test_a_stream_that_cannot_be_opened_again():
    """/dev/stderr is a socket here; it is stderr, as the priorities show."""
    port = free_port()
    j = Journal("-l", "127.0.0.1:%d" % port, "-s", "off", "-o", "log.access=/dev/stderr")
    wait_until(lambda: can_connect("127.0.0.1", port), 10, "the proxy to listen")
    with Client(port) as c:
        c.send("FOO\r\n\r\n")
        c.closed()
    assert any(x.startswith("<6>{") for x in j.end())


@pytest.mark.parametrize("flags", [[], ["-t"]], ids=["start", "ExecReload"])
def test_faults_in_the_journal(flags):
    lines = Journal("-o", "log.level=loud", "-o", "tls.min_version=7", *flags).end(1)
    assert len(lines) == 2 and all(x.startswith("<3>-o ") for x in lines)


# --- lines that are lost

def dropped(p):
    return metrics(p)["tlsfan_log_dropped_lines_total"]


def test_full_disk(make_proxy, plain):
    """Said when it begins; how many at the end."""
    p = make_proxy('rule "*" { upgrade = off }\nlog { access = "/dev/full" }\n', service=True)
    with p.client() as c:
        for i in range(30):
            assert c.get(plain.url("/%d" % i)).status == 200
    wait_until(lambda: dropped(p) == 30, 10, "30 lines")
    said = "the access log /dev/full takes no lines, which are dropped until it does: No space left on device"
    assert p.log().count(said) == 1
    p.stop()
    assert p.log().count("the access log /dev/full") == 2
    assert "warning the access log /dev/full took no more: 30 lines were dropped within " in p.log()


def test_stuck_pipe(make_proxy, plain, tmp_path):
    """One warning as it begins, one with the number when it is read again, and every line is one or the other."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    p = make_proxy('workers = 1\nrule "*" { upgrade = off }\nlog { access = "%s" }\n' % path, service=True)
    got = b""

    def read():
        nonlocal got
        try:
            got += os.read(reader, 65536)
        except BlockingIOError:
            pass
        return got
    with p.client() as c:
        for i in range(60):
            assert c.get(plain.url("/%d" % i)).status == 200
        wait_until(lambda: "the access log %s takes no lines" % path in p.log(), 10, "the warning")
        wait_until(lambda: dropped(p) > 30, 10, "dropped lines")
        assert "its reader does not keep up" in p.log() and "takes lines again" not in p.log()
        read()
        assert c.get(plain.url("/again")).status == 200
        wait_until(lambda: b"/again" in read(), 10, "the line")
        # Though no other request comes.
        wait_until(lambda: "takes lines again" in p.log(), 10, "the second warning")
    count = int(re.search(r"takes lines again: (\d+) lines were dropped within \d+ s", p.log()).group(1))
    assert count == dropped(p) == 61 - got.count(b"\n")
    assert p.log().count("the access log") == 2
    os.close(reader)


def test_stuck_terminal(terminal, plain):
    """Nobody reads it; requests go on."""
    s = Seen(terminal)
    with Client(s.port) as c:
        for i in range(1200):
            assert c.get(plain.url("/%d" % i)).status == 200
    # Once it is read there is room for the last lines, too.
    wait_until(lambda: s.get(plain.url("/again")) and b"/again" in s.t.read(), 10, "a line")
    s.end()
    text = "\n".join(s.lines("has ended"))
    assert 0 < len(re.findall(r"http://\S+/\d+$", text, re.M)) < 1200
    assert re.search(r"the access log stderr (takes lines again|took no more): \d+ lines were dropped", text)
