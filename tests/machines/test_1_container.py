# SPDX-License-Identifier: Apache-2.0
"""The container image: what it says of itself, what is in it, and its program as process 1."""
import os
import shutil
import signal
import threading
import time

import pytest

from debian import Machine, children
from image import PRIVATE, STRANGER, Container
from testenv.client import Client
from testenv.proxy import ROOT
from testenv.scripted import Server, answering, ok
from testenv.wait import can_connect, wait_until

PROXY, SERVICE = 3128, 3129


@pytest.fixture
def origin(ca, network):
    """Beside the container, as far as that knows; /held is answered when the test says so."""
    release = threading.Event()

    def answer(request, conn):
        if request.target == "/held":
            release.wait(20)
        return ok(request.target)
    server = Server(answering(answer), ca.server_context(), host=PRIVATE)
    server.release = release
    yield server
    release.set()
    server.stop()


@pytest.fixture
def data(ca, tmp_path):
    """What a person would mount: a CA and a configuration."""
    path = tmp_path / "data"
    path.mkdir()
    shutil.copy(ca.root, str(path / "ca.pem"))
    (path / "tlsfan.conf").write_text('tls { ca_file = "/mnt/ca.pem" }\nlog { query = on }\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def start(image, origin, data, tmp_path):
    """start(ARGUMENT...): a container of the image that reaches the origin and trusts its CA."""
    made = []

    def make(*arguments, env=None):
        env = dict({"TLSFAN_CONNECT_TO": "origin.test:443:%s:%d" % (PRIVATE, origin.port),
                    "TLSFAN_TLS_CA_EXTRA": "/mnt/ca.pem"}, **(env or {}))
        made.append(Container(image, *arguments, env=env, data=data, log=tmp_path / ("log%d" % len(made))))
        return made[-1]
    yield make
    for container in made:
        container.end()
        assert "Read-only file system" not in container.log()


def get(path, host=PRIVATE):
    with Client((host, PROXY)) as client:
        return client.get("http://origin.test" + path)


def test_it_says_what_an_engine_wants_to_know(image):
    config = image.config
    uid, gid = config["User"].split(":")
    assert int(uid) > 0 and int(gid) > 0
    assert config["Entrypoint"] == ["tlsfan"] and not config.get("Cmd")
    assert set(config["ExposedPorts"]) == {"%d/tcp" % PROXY, "%d/tcp" % SERVICE}
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "tlsfan", "--check-health"]
    assert {k: v for k, v in image.env.items() if k.startswith("TLSFAN_")} == {
        "TLSFAN_LISTEN": "0.0.0.0:3128", "TLSFAN_SERVICE": "0.0.0.0:3129", "TLSFAN_CLIENT_ALLOW": "loopback,private"}
    labels = config["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    version = Machine(image.root, "ro").run("tlsfan", "-V")
    assert version.splitlines()[0] == "tlsfan %s" % labels["org.opencontainers.image.version"]


def test_only_what_it_needs_to_run_is_in_it(image, capsys):
    names = Machine(image.root, "ro").run("dpkg-query", "-W", "-f", "${Package}\n").split()
    before = Machine(image.base_root, "ro").run("dpkg-query", "-W", "-f", "${Package}\n").split()
    added = sorted(set(names) - set(before))
    with capsys.disabled():
        print("\nimage: %d MB, of which %d MB are its base; %d layers; added: %s"
              % (image.size(), image.size(image.base_root), len(image.layers), " ".join(added)))
    assert {"ca-certificates", "nftables"} <= set(added)
    assert not [x for x in added if x.endswith("-dev") or x in ("gcc", "cmake", "make", "binutils", "perl")], added
    for path in ("src", "build", "out"):
        assert not os.path.exists(os.path.join(image.root, path)), path
    for path in ("var/lib/apt/lists", "tmp"):
        assert not [x for x in os.listdir(os.path.join(image.root, path)) if x != "partial"], path
    with open(os.path.join(image.root, "usr/share/doc/tlsfan/copyright")) as f:
        assert "Apache License" in f.read()


def test_it_can_set_the_rules_of_a_sidecar(image):
    """As the init container of packaging/kubernetes/sidecar-transparent.yaml does."""
    for name in ("sidecar.nft", "sidecar-https.nft"):
        with open(os.path.join(ROOT, "packaging", "nftables", name)) as f:
            Machine(image.root, "ro").run("unshare", "-n", "nft", f.read())


def test_private_clients_are_served_and_others_are_not(start):
    container = start()
    container.wait_healthy()
    for host in ("127.0.0.1", PRIVATE):
        reply = get("/hello", host)
        assert (reply.status, reply.body) == (200, b"/hello"), reply
    assert get("/hello", STRANGER).status == 403
    with Client((PRIVATE, SERVICE)) as client:
        assert client.get("/readyz", host=PRIVATE).status == 200


def test_it_runs_as_the_user_of_the_image(start, image):
    container = start()
    container.wait_healthy()
    with open("/proc/%d/status" % container.pid) as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    assert status["NSpid"].split()[-1] == "1"
    assert set(status["Uid"].split()) == {image.config["User"].split(":")[0]}
    assert int(status["CapEff"], 16) == 0


def test_the_health_check(start):
    container = start()
    container.wait_healthy()
    assert container.health() == (0, "")
    without = start("-l", "127.0.0.1:0", "-s", "off")
    wait_until(lambda: "has started" in without.log(), 10, "the other to start")
    container.kill()
    assert container.wait()[0] == 0
    status, text = without.health()
    assert status == 1 and "does not answer" in text


@pytest.mark.parametrize("inside", [False, True], ids=["from outside", "from inside"])
def test_TERM_drains(start, origin, inside):
    container = start()
    container.wait_healthy()
    with Client((PRIVATE, PROXY)) as client:
        client.request("GET", "http://origin.test/held")
        origin.wait_requests(1)
        if inside:
            assert container.exec("sh", "-c", "kill -TERM 1") == (0, "")
        else:
            container.kill()
        wait_until(lambda: not can_connect(PRIVATE, PROXY), 5, "the listener to close")
        assert container.process.poll() is None
        origin.release.set()
        reply = client.response()
        assert (reply.status, reply.body) == (200, b"/held")
    assert container.wait()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_idle_one_ends_at_once(start, number):
    container = start()
    container.wait_healthy()
    began = time.monotonic()
    container.kill(number)
    assert container.wait()[0] == 0
    assert time.monotonic() - began < 3


def test_HUP_reloads_a_mounted_file(start, origin, data):
    """A flag behind the image's name takes the place of CMD; the image's variables hold beside the file."""
    container = start("-c", "/mnt/tlsfan.conf", env={"TLSFAN_TLS_CA_EXTRA": ""})
    container.wait_healthy()
    assert get("/a?b=c").status == 200
    wait_until(lambda: "/a?b=c" in container.log(), 5, "the access log")
    (data / "tlsfan.conf").write_text('tls { ca_file = "/mnt/ca.pem" }\n')
    container.kill(signal.SIGHUP)
    wait_until(lambda: "configuration reloaded" in container.log(), 5, "the reload")
    assert get("/d?e=f").status == 200
    wait_until(lambda: "/d" in container.log(), 5, "the access log")
    assert "e=f" not in container.log()


def test_run_gives_the_status_of_its_command(start):
    container = start("run", "--", "sh", "-c", "echo $$ $http_proxy; exit 7")
    status, text = container.wait()
    assert status == 7
    number, proxy = text.split()
    assert number != "1" and proxy.startswith("http://127.0.0.1:")


def test_run_with_a_service_listener_is_healthy(start):
    container = start("-s", "127.0.0.1:%d" % SERVICE, "run", "--", "sleep", "60")
    container.wait_healthy()
    container.kill()
    assert container.wait()[0] == 128 + signal.SIGTERM


def test_run_hands_on_TERM(start):
    container = start("run", "--", "sh", "-c", "trap 'exit 9' TERM; echo; while :; do sleep 0.05; done")
    assert container.process.stdout.readline() == "\n"
    container.kill()
    assert container.wait()[0] == 9


def test_run_leaves_no_zombies(start):
    """Grandchildren whose parent ends become children of process 1, which has to wait for them."""
    container = start("run", "--", "sh", "-c", "for n in 1 2 3; do sh -c 'sleep 0.1 & echo $!'; done; exec sleep 60")
    orphans = [container.process.stdout.readline().strip() for _ in range(3)]
    assert all(x.isdigit() for x in orphans), orphans
    wait_until(lambda: len(children(container.pid)) == 1, 5, "the orphans to end and be waited for")
    assert not container.zombies()
    container.kill()
    assert container.wait()[0] == 128 + signal.SIGTERM


def test_the_proxy_leaves_no_zombies(start):
    """What `docker exec` started may leave children, and they become process 1's."""
    container = start()
    container.wait_healthy()
    status, _ = container.exec("sh", "-c", "for n in 1 2 3; do sleep 0.1 & done")
    assert status == 0
    time.sleep(0.5)
    assert not container.zombies()
    container.kill()
    assert container.wait()[0] == 0
