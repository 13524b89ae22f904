# SPDX-License-Identifier: Apache-2.0
"""The Debian package on a fresh Debian 12: installed, started, used, upgraded, purged.

Once without systemd, where the test starts what the unit names as the unit's user, and once with it."""
import hashlib
import os
import re
import shutil
import signal

import pytest

from debian import PATH, Booted, Machine, children, end
from testenv.client import Client
from testenv.scripted import Server, answering, ok
from testenv.wait import can_connect, wait_until

PROXY = 3128
# What any installation changes, whatever is installed, and a system that runs.
CHANGES = re.compile(r"/(proc|dev|sys|tmp|run|root|var/(tmp|cache)|var/lib/(dpkg|apt|systemd/(timers|random-seed))"
                     r"|var/log/(apt|journal|\w+\.log|[bw]tmp|lastlog))(/|$)|.*-$")
# Services that would want a terminal, or apt's lock.
MASKED = ("console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer")


@pytest.fixture(scope="module")
def packages(fresh):
    """Two .deb of what is committed, as versions 1 and 2; paths outside of the machine."""
    for version in ("1", "2"):
        fresh.run("sh", "packaging/build-packages.sh", "--build", "/root/package", "/root/out", version,
                  timeout=1200, cwd="/root/tlsfan")
    made = [os.path.join(fresh.root, "root/out", x) for x in sorted(os.listdir(fresh.root + "/root/out"))
            if x.endswith(".deb")]
    assert len(made) == 2, made
    return made


@pytest.fixture
def machine(base, ca, packages, tmp):
    """Has the packages in /srv, and what they depend on installed, so that the rest is tlsfan's."""
    root = str(tmp / "package")
    made = Machine.copy(base, root)
    made.trust(ca.root)
    for n, path in enumerate(packages, 1):
        shutil.copy(path, "%s/srv/%d.deb" % (root, n))
    depends = made.run("dpkg-deb", "-f", "/srv/1.deb", "Depends")
    made.install(*(re.match(r"[^ :(|]+", x.strip()).group(0) for x in depends.split(",")))
    yield made
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def booted(machine, with_systemd, network):
    made = Booted(machine)
    try:
        wait_until(lambda: made.state() in ("running", "degraded", "dead"), 60, "systemd")
    except AssertionError:
        pass
    if made.state() not in ("running", "degraded"):
        made.end()
        pytest.skip("systemd does not start in a namespace here: " + made.state())
    yield made
    made.end()


@pytest.fixture
def with_systemd(machine):
    machine.install("systemd", "dbus")
    for name in MASKED:
        os.symlink("/dev/null", machine.root + "/etc/systemd/system/" + name)


@pytest.fixture
def origin(ca, network):
    server = Server(answering(lambda request, conn: ok(request.target)), ca.server_context())
    yield server
    server.stop()


def state(root):
    """{path: what it is} of all that a package may change."""
    found = {}
    for directory, names, files in os.walk(root):
        inside = directory[len(root):]
        names[:] = [x for x in names if not CHANGES.match(inside + "/" + x)]
        for name in names + [x for x in files if not CHANGES.match(inside + "/" + x)]:
            path = os.path.join(directory, name)
            about = os.lstat(path)
            content = ""
            if inside.startswith("/etc") and os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as f:
                    content = hashlib.sha256(f.read()).hexdigest()
            found[inside + "/" + name] = (oct(about.st_mode), about.st_uid, about.st_gid, content)
    return found


def unit(machine):
    with open(machine.root + "/lib/systemd/system/tlsfan.service") as f:
        return dict(re.findall(r"(?m)^(\w+)=(.*)$", f.read()))


def check_service(machine, origin, log):
    """Starts it, gets a page through it, ends it."""
    service = unit(machine)
    user = ":".join(machine.run("id", option, service["User"]).strip() for option in ("-u", "-g"))
    assert not user.startswith("0:")
    env = {"PATH": PATH, "TLSFAN_CONNECT_TO": "origin.test:443:127.0.0.1:%d" % origin.port}
    with open(str(log), "ab") as f:
        process = machine.start(service["ExecStart"].split(), env, user, stdout=f, stderr=f)
    try:
        wait_until(lambda: process.poll() is not None or "has started" in log.read_text(), 10, "the service to start")
        assert process.poll() is None, log.read_text()
        with Client(PROXY) as client:
            reply = client.get("http://origin.test/page")
        assert (reply.status, reply.body) == (200, b"/page"), reply
        os.kill(children(process.pid)[0], signal.SIGTERM)
        assert process.wait(10) == 0, log.read_text()
    finally:
        end(process)


def differences(before, after):
    return sorted("%s %s" % ("-" if path not in after else "+" if path not in before else "!", path)
                  for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def test_it_installs_serves_upgrades_and_purges(machine, origin, tmp_path, capsys):
    before = state(machine.root)
    machine.run("apt-get", "install", "-y", "/srv/1.deb")
    installed = state(machine.root)
    assert machine.run("dpkg-query", "-W", "-f", "${Version} ${db:Status-Abbrev}", "tlsfan").split() == ["1", "ii"]
    assert machine.run("sh", "-c", "tlsfan -t -c /etc/tlsfan/tlsfan.conf") == \
        "configuration ok: /etc/tlsfan/tlsfan.conf\n"
    check_service(machine, origin, tmp_path / "log1")

    conf = machine.root + "/etc/tlsfan/tlsfan.conf"
    with open(conf, "a") as f:
        f.write("\nlog { query = on }\n")
    with open(conf) as f:
        changed = f.read()
    machine.run("apt-get", "install", "-y", "/srv/2.deb")
    assert machine.run("dpkg-query", "-W", "-f", "${Version} ${db:Status-Abbrev}", "tlsfan").split() == ["2", "ii"]
    with open(conf) as f:
        assert f.read() == changed
    assert not [x for x in differences(installed, state(machine.root)) if not x.endswith(" /etc/tlsfan/tlsfan.conf")]
    check_service(machine, origin, tmp_path / "log2")

    machine.run("apt-get", "purge", "-y", "tlsfan")
    with capsys.disabled():
        print("\ninstalling changed: %s" % " ".join(differences(before, installed)))
    assert differences(before, state(machine.root)) == []


def get_page():
    with Client(PROXY) as client:
        return client.get("http://origin.test/page")


def main_pid(booted):
    """Of the service, when it is up."""
    try:
        wait_until(lambda: booted.run("systemctl", "is-active", "tlsfan", check=False).strip() == "active", 20, "it")
    except AssertionError:
        raise AssertionError(booted.run("journalctl", "--no-pager", "-u", "tlsfan"))
    return booted.run("systemctl", "show", "-p", "MainPID", "--value", "tlsfan").strip()


def test_systemd_runs_it(booted, origin):
    """Nobody has to start it, an upgrade restarts it with the changed configuration, and a purge ends it."""
    before = state(booted.root)
    booted.run("apt-get", "install", "-y", "/srv/1.deb")
    first = main_pid(booted)
    assert booted.run("systemctl", "is-enabled", "tlsfan").strip() == "enabled"
    assert booted.run("ps", "-o", "user=", "-p", first).strip() == "tlsfan"
    booted.run("tlsfan", "--check-health")
    conf = booted.root + "/etc/tlsfan/tlsfan.conf"
    with open(conf, "a") as f:
        f.write('\nconnect_to = {"origin.test:443:127.0.0.1:%d"}\n' % origin.port)
    with open(conf) as f:
        changed = f.read()
    booted.run("systemctl", "reload", "tlsfan")
    wait_until(lambda: get_page().body == b"/page", 10, "the reload")
    assert main_pid(booted) == first

    booted.run("apt-get", "install", "-y", "/srv/2.deb")
    assert main_pid(booted) != first
    with open(conf) as f:
        assert f.read() == changed
    assert get_page().body == b"/page"

    booted.run("apt-get", "purge", "-y", "tlsfan")
    assert booted.run("systemctl", "is-active", "tlsfan", check=False).strip() == "inactive"
    assert not can_connect("127.0.0.1", PROXY)
    assert differences(before, state(booted.root)) == []


def test_remove_keeps_what_is_the_administrators(machine):
    machine.run("apt-get", "install", "-y", "/srv/1.deb")
    machine.run("apt-get", "remove", "-y", "tlsfan")
    assert os.path.exists(machine.root + "/etc/tlsfan/tlsfan.conf")
    assert not os.path.exists(machine.root + "/usr/bin/tlsfan")
    assert "tlsfan" in machine.run("getent", "passwd", "tlsfan")
