# SPDX-License-Identifier: Apache-2.0
"""tests/bench/run: who does not verify is not measured, and what a run tells is what was measured."""
import contextlib
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import types
import xml.etree.ElementTree

import pytest

from testenv import SLOW
from testenv.proxy import binary
from testenv.wait import wait_until

BENCH = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "bench"))
sys.path.insert(0, BENCH)
from measure import CASES, PEERS, Bench, chart, configs, peers, report, rounds  # noqa: E402
from measure.common import Failure  # noqa: E402
from measure.server import Server  # noqa: E402
from measure.targets import TARGETS, Bound  # noqa: E402

RUN = os.path.join(BENCH, "run")
NO_PROGRAM = pytest.mark.unsanitized("tlsfan is not in it")


def result(name, **medians):
    """Of a case whose headline had these medians, one peer each."""
    made = rounds.Result(CASES[name])
    figure = next(iter(CASES[name].figures))
    made.rounds = {peer.replace("_", "-"): [{figure: value}] for peer, value in medians.items()}
    return made


@pytest.fixture(scope="module")
def bench():
    if shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") is None:
        pytest.skip("no nginx")
    with Bench(binary()) as made:
        yield made


@pytest.fixture
def command():
    """The command as a module."""
    loader = importlib.machinery.SourceFileLoader("bench_run", RUN)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
    loader.exec_module(module)
    return module


def weaken(monkeypatch, tmp_path, template, line, instead):
    """The configuration TEMPLATE with one line less strict."""
    folder = tmp_path / "configs"
    shutil.copytree(os.path.join(BENCH, "configs"), folder)
    text = (folder / template).read_text()
    assert line in text
    (folder / template).write_text(text.replace(line, instead))
    monkeypatch.setattr(configs, "BENCH", tmp_path)


@NO_PROGRAM
@pytest.mark.parametrize("name, template, line, instead, wrong", [
    ("nginx", "nginx.conf", "proxy_ssl_verify on", "proxy_ssl_verify off", "a wrong CA"),
    ("haproxy", "haproxy.cfg", "verify required", "verify none", "a wrong CA"),
    ("apache", "apache.conf", "SSLProxyCheckPeerName on", "SSLProxyCheckPeerName off", "a wrong name"),
])
def test_who_does_not_verify_is_not_measured(bench, monkeypatch, tmp_path, name, template, line, instead, wrong):
    peer = PEERS[name]
    if peer.missing(bench):
        pytest.skip(peer.missing(bench))
    peers.verify(bench, peer)
    weaken(monkeypatch, tmp_path, template, line, instead)
    with pytest.raises(Failure, match=wrong):
        peers.verify(bench, peer)


class Odd(peers.Peer):
    """Takes a request and does ACT with its connection."""

    SCRIPT = ("import os, socket, sys, time\n"
              "listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
              "while True:\n"
              "    client, _ = listener.accept()\n"
              "    if client.recv(4096):\n"
              "        %s\n"
              "    client.close()\n")

    def __init__(self, act):
        super().__init__("odd")
        self.act = act

    def command(self, bench, own, values):
        return [sys.executable, "-c", self.SCRIPT % self.act, str(values["port"])]


@NO_PROGRAM
@pytest.mark.parametrize("act, text", (
    ("pass", None),
    ("client.send(b'HTTP/1.1 502 No\\r\\nContent-Length: 0\\r\\n\\r\\n')", None),
    ("time.sleep(60)", "said nothing of an origin with a wrong CA"),
    ("os._exit(3)", "ended with status 3"),
), ids=("closes", "refuses", "says nothing", "dies"))
def test_who_dies_or_says_nothing_has_not_refused(bench, monkeypatch, act, text):
    monkeypatch.setattr(peers, "PROBE_SECONDS", 10 if text is None else 2)
    with pytest.raises(Failure, match=text) if text else contextlib.nullcontext():
        peers.verify(bench, Odd(act))


def test_tlsfan_of_the_bench_verifies(bench):
    for name in ("tlsfan", "tlsfan-h2"):
        peers.verify(bench, PEERS[name])


@NO_PROGRAM
def test_targets_name_what_is_measured():
    for row, bounds in TARGETS:
        for bound in bounds:
            for case, figure, peer in [(bound.case, bound.figure, bound.peer), *bound.references()]:
                assert case in CASES, row
                assert figure in CASES[case].figures and peer in CASES[case].peers, row


@NO_PROGRAM
def test_a_target_is_met_or_missed_by_its_ratio():
    results = {"keepalive-1k": result("keepalive-1k", tlsfan=15, nginx=20, haproxy=18)}
    assert Bound("keepalive-1k", "cpu", "tlsfan", 0.75, ("nginx",)).met(results)
    assert not Bound("keepalive-1k", "cpu", "tlsfan", 0.8, ("nginx", "haproxy")).met(results)
    assert not Bound("keepalive-1k", "cpu", "tlsfan", 14.9).met(results)
    assert Bound("keepalive-1k", "cpu", "tlsfan", 1, ("floor",)).met(results) is None
    (line,) = report.bound_lines(results)
    assert line[1] == "partly" and "tlsfan cpu/nginx 0.750" in line[2] and "tlsfan cpu/floor not measured" in line[2]


@NO_PROGRAM
def test_worse_is_over_the_same_protocol():
    better = result("keepalive-1k", tlsfan=15, haproxy=16, tlsfan_h2=14, haproxy_h2=13)
    assert better.worse() == [("tlsfan-h2", "haproxy-h2")]


@NO_PROGRAM
def test_rounds_take_turns_and_look_again(monkeypatch):
    order = []

    class Turn:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            return lambda: order.append(self.name) or {"cpu": {"tlsfan": 2.0, "haproxy": 1.0, "nginx": 3.0}[self.name]}

        def __exit__(self, *failure):
            return None

    monkeypatch.setattr(rounds, "prepared", lambda bench, item, name: Turn(name))
    names = ["tlsfan", "haproxy", "nginx"]
    rounds.measure(None, CASES["keepalive-1k"], names, 2, again=False)
    assert order == names + ["haproxy", "nginx", "tlsfan"]
    order.clear()
    rounds.measure(None, CASES["keepalive-1k"], names, 2, again=True)
    assert len(order) == 3 * 2 * rounds.LOOKS  # it stays worse


@NO_PROGRAM
def test_the_chart_has_a_bar_for_each_proxy(bench, tmp_path):
    results = {"keepalive-1k": result("keepalive-1k", tlsfan=15, nginx=20.04, floor=12)}
    bench.peers = {"tlsfan": "1", "nginx": "2 <3>"}
    chart.write(tmp_path / "chart.svg", report.as_data(bench, results, 5))
    picture = xml.etree.ElementTree.parse(tmp_path / "chart.svg").getroot()
    bars = picture.findall("{http://www.w3.org/2000/svg}rect")
    assert [bar.get("class") for bar in bars] == ["floor", "ours", "other"]
    assert float(bars[1].get("width")) == pytest.approx(float(bars[2].get("width")) * 15 / 20.04, abs=0.1)
    assert "20.0" in [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]


@NO_PROGRAM
def test_who_ended_has_no_figures(tmp_path):
    server = Server("gone", tmp_path, ["sh", "-c", "echo why; exit 3"])
    server.process.wait(10)
    for figure in (server.cpu_seconds, server.memory_kib):
        with pytest.raises(Failure, match="ended with 3\nwhy"):
            figure()


@NO_PROGRAM
def test_the_command_lists_and_refuses():
    listed = subprocess.run([sys.executable, RUN, "--list"], capture_output=True, text=True, check=True).stdout
    assert all(name in listed for name in CASES)
    assert subprocess.run([sys.executable, RUN, "--case", "nothing"], capture_output=True).returncode == 2


@NO_PROGRAM
def test_short_needs_whom_it_judges_by(command):
    bench = types.SimpleNamespace(broken={}, missing={"haproxy": "gone", "squid": "gone"})

    def failures(**how):
        arguments = types.SimpleNamespace(**{"short": True, "tlsfan": "tlsfan", "case": None} | how)
        return list(command.failures(arguments, bench, {"keepalive-1k": result("keepalive-1k", tlsfan=15)}))
    assert failures() == ["nothing is judged by HAProxy: gone"]
    assert failures(short=False) == failures(tlsfan=None) == failures(case=["upload"]) == []


def write_script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


@NO_PROGRAM
@pytest.mark.parametrize("broken, unknown, left_out", (
    ("nothing", "nothing", []), ("squid-openssl", "squid-openssl", ["squid-openssl"]), ("haproxy", "nothing", None)))
def test_install_leaves_out_what_the_release_lacks(command, monkeypatch, tmp_path, capfd, broken, unknown, left_out):
    """By an apt that fails where one of the packages is BROKEN, and has not heard of UNKNOWN."""
    fails = 'case " $* " in *" %s "*) exit 100 ;; esac\n'
    write_script(tmp_path / "id", "echo 0\n")
    write_script(tmp_path / "dpkg-query", "")
    write_script(tmp_path / "apt-get", "exit 1\n")
    write_script(tmp_path / "apt-cache", fails % unknown)
    write_script(tmp_path / "env", fails % broken + 'echo "$*" >%s/installed\n' % tmp_path)  # it runs apt-get
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, os.environ["PATH"]))
    if left_out is None:
        with pytest.raises(Failure):
            command.install()
        return
    command.install()
    words = (tmp_path / "installed").read_text().split()
    assert [name for name in command.PACKAGES if name not in words] == left_out
    said = capfd.readouterr().err
    assert [name for name in command.PACKAGES if name + " is not installed: this release has none" in said] == left_out


def below(folder):
    """Processes of programs that are in the folder, or that work there: {id: words}."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            places = [os.readlink("/proc/%s/%s" % (pid, link)) for link in ("exe", "cwd")]
            if any(place.startswith(str(folder)) for place in places):
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    found[int(pid)] = f.read().split(b"\0")
    return found


@NO_PROGRAM
def test_nothing_stays_behind_term(bench, tmp_path):
    """While load runs, and a second TERM comes."""
    words = [sys.executable, RUN, "--without-tlsfan", "--case", "keepalive-1k", "--peer", "nginx", "--rounds", "1000"]
    with subprocess.Popen(words, env=dict(os.environ, TMPDIR=str(tmp_path)), stdout=subprocess.DEVNULL) as run:
        try:
            wait_until(lambda: any(x[0].endswith(b"/load") for x in below(tmp_path).values()), 60, "the first round")
            run.terminate()
            wait_until(lambda: not any(x[0].endswith(b"/load") for x in below(tmp_path).values()), 10, "its end")
            run.terminate()
            assert run.wait(30 * SLOW) == 143
            wait_until(lambda: not below(tmp_path), 5, "all to end")
            assert os.listdir(tmp_path) == []
        finally:
            run.kill()
            for pid in below(tmp_path):
                with contextlib.suppress(OSError):
                    os.kill(pid, 9)
