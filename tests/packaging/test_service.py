# SPDX-License-Identifier: Apache-2.0
"""Units, AppArmor profile and logrotate, judged by their own tools. No unit is started: nothing here runs as PID 1."""
import grp
import http.client
import os
import pwd
import re
import signal
import subprocess

import pytest

from conftest import ROOT, run
from testenv.ca import CA
from testenv.client import Client
from testenv.ports import free_port
from testenv.scripted import Server, answering, ok
from testenv.wait import can_connect, wait_until

UNITS = ("tlsfan.service", "tlsfan.socket", "tlsfan-service.socket")


def settings(root, unit):
    """[(name, value)] of a unit, in order."""
    text = (root / "lib/systemd/system" / unit).read_text()
    return re.findall(r"(?m)^(\w+)=(.*)$", text)


def default(key):
    """Value of KEY, as written in the example file."""
    with open(os.path.join(ROOT, "conf", "tlsfan.conf")) as f:
        return re.search(r"(?m)^\s*%s = ([^\s#]+)" % key, f.read()).group(1).strip('{}"')


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


@pytest.fixture(scope="module")
def units(root, tmp_path_factory):
    """The units as they are, but with the program where it was unpacked."""
    path = tmp_path_factory.mktemp("units")
    for unit in UNITS:
        text = (root / "lib/systemd/system" / unit).read_text()
        (path / unit).write_text(text.replace("=/usr/bin/", "=%s/usr/bin/" % root))
    return path


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_the_units(units, unit):
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(units / unit)], capture_output=True, text=True)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "tlsfan" in line]
    assert done.returncode == 0 and not said, done.stderr


def test_the_sandbox_is_tight(root):
    said = run(
        "systemd-analyze",
        "security",
        "--offline=true",
        "--no-pager",
        "--threshold=20",
        root / "lib/systemd/system/tlsfan.service",
    )
    exposure = float(re.search(r"exposure level for tlsfan\.service: ([\d.]+)", said).group(1))
    assert exposure < 2.0, said
    with open(os.path.join(ROOT, "packaging", "README.md"), encoding="utf-8") as f:
        assert "says %s of 10" % exposure in " ".join(f.read().split())


def test_the_unit_fits_the_configuration(root):
    unit = dict(settings(root, "tlsfan.service"))
    assert unit["Type"] == "notify" and unit["User"] == "tlsfan" and int(unit["WatchdogSec"]) > 0
    assert int(unit["TimeoutStopSec"]) > seconds(default("drain_delay")) + seconds(default("drain_timeout"))
    assert int(unit["LimitNOFILE"]) > 2 * int(default("max_connections"))
    for name, listener, key in (("proxy", "tlsfan.socket", "listen"), ("service", "tlsfan-service.socket", "service")):
        socket = dict(settings(root, listener))
        assert socket["FileDescriptorName"] == name and socket["ListenStream"] == default(key)
        assert socket.get("Service", listener.replace(".socket", ".service")) == "tlsfan.service"


def expand(name, seen=None):
    """System calls of a word of SystemCallFilter=."""
    if not name.startswith("@"):
        return {name}
    found = set()
    for line in run("systemd-analyze", "syscall-filter", name).splitlines():
        word = line.strip()
        if line.startswith(" ") and not word.startswith("#"):
            found |= expand(word)
    return found


def allowed(root):
    """System calls that the unit's filter lets through."""
    found = set()
    for name, value in settings(root, "tlsfan.service"):
        if name == "SystemCallFilter":
            words = set().union(*(expand(word) for word in value.lstrip("~").split()))
            found = found - words if value.startswith("~") else found | words
    return found


def test_the_sandbox_lets_the_program_work(root, tmp_path):
    """What it calls from start to drain, with a request over TLS, a scrape, a reload and a reopened log."""
    ca = CA(tmp_path / "ca")
    origin = Server(answering(lambda request, conn: ok("hello")), ca.server_context())
    port, service = free_port(), free_port()
    conf = tmp_path / "tlsfan.conf"
    conf.write_text(
        'listen = {"0.0.0.0:%d", "unix:%s/s"}\nservice = "127.0.0.1:%d"\nclient { allow = {"loopback"} }\n'
        'tls { ca_file = "%s" }\nconnect_to = {"origin.test:443:127.0.0.1:%d"}\n'
        'log { access = "%s/access" }\n' % (port, tmp_path, service, ca.root, origin.port, tmp_path)
    )
    trace = tmp_path / "trace"
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", str(trace), str(root / "usr/bin/tlsfan"), "-c", str(conf)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: tracer.poll() is not None or can_connect("127.0.0.1", service), 20, "the proxy to listen")
        assert tracer.poll() is None, tracer.stderr.read()
        with open("/proc/%d/task/%d/children" % (tracer.pid, tracer.pid)) as f:
            pid = int(f.read().split()[0])
        with Client(port) as client:
            assert client.exchange("GET", "http://origin.test/").text == "hello"
        scrape = http.client.HTTPConnection("127.0.0.1", service, timeout=10)
        scrape.request("GET", "/metrics")
        assert b"process_open_fds" in scrape.getresponse().read()
        scrape.close()
        # A look at the files is a thread, which ends.
        wait_until(lambda: " exit(0" in trace.read_text(errors="replace").partition("inotify_init1(")[2], 20,
                   "a look at the files, with inotify")
        os.kill(pid, signal.SIGHUP)
        os.kill(pid, signal.SIGUSR1)
        os.kill(pid, signal.SIGTERM)
        assert tracer.wait(30) == 0
    finally:
        tracer.kill()
        tracer.wait()
        origin.stop()
    called = set(re.findall(r"(?m)^\d+\s+(\w+)\(", trace.read_text(errors="replace")))
    assert {"execve", "accept4", "connect", "inotify_init1"} <= called, called
    assert called <= allowed(root), sorted(called - allowed(root))
    families = set(re.findall(r"socket\((?:AF|PF)_(\w+)", trace.read_text(errors="replace")))
    (restricted,) = [value for name, value in settings(root, "tlsfan.service") if name == "RestrictAddressFamilies"]
    assert families <= set(re.findall(r"AF_(\w+)", restricted)), families


def test_the_apparmor_profile_compiles(root):
    run("apparmor_parser", "-Q", "-K", root / "etc/apparmor.d/tlsfan")


def test_the_unit_and_the_profile_have_one_name(root):
    assert ("AppArmorProfile", "-tlsfan") in settings(root, "tlsfan.service")
    assert re.search(r"(?m)^profile tlsfan ", (root / "etc/apparmor.d/tlsfan").read_text())


@pytest.fixture
def rotation(root, tmp_path):
    """logrotate's file with this user's names and a folder of the test's own: (file, folder)."""
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o750)
    names = "%s %s" % (pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name)
    text = (root / "etc/logrotate.d/tlsfan").read_text()
    assert "/var/log/tlsfan/*.log" in text and text.count("tlsfan tlsfan") == 2
    conf = tmp_path / "logrotate.conf"
    conf.write_text(text.replace("/var/log/tlsfan", str(logs)).replace("tlsfan tlsfan", names))
    conf.chmod(0o644)
    return conf, logs


def test_logrotate_understands_its_file(rotation):
    done = subprocess.run(["logrotate", "-d", str(rotation[0])], capture_output=True, text=True)
    assert done.returncode == 0 and "error" not in done.stderr, done.stderr


def test_logrotate_rotates(rotation, tmp_path):
    conf, logs = rotation
    (logs / "access.log").write_text("line\n")
    (logs / "other").write_text("line\n")
    run("logrotate", "--force", "--state", tmp_path / "state", conf)
    assert sorted(os.listdir(logs)) == ["access.log", "access.log.1", "other"]
    assert (logs / "access.log").stat().st_mode & 0o777 == 0o640
