# SPDX-License-Identifier: Apache-2.0
"""tls.keylog: what Wireshark needs, of both sides; whole lines, a mode of its own, and no disk that stops anything."""
import os
import re
import signal
import ssl
import stat
import threading

import pytest

from testenv.intercept import Inside, OwnCA
from testenv.scripted import answering, ok
from testenv.wait import wait_until

LINE = re.compile(r"(CLIENT_RANDOM [0-9a-f]{64} [0-9a-f]{96}"
                  r"|(CLIENT_HANDSHAKE_TRAFFIC_SECRET|SERVER_HANDSHAKE_TRAFFIC_SECRET|CLIENT_TRAFFIC_SECRET_0"
                  r"|SERVER_TRAFFIC_SECRET_0|EXPORTER_SECRET) [0-9a-f]{64} ([0-9a-f]{64}|[0-9a-f]{96}))\n")
EITHER = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
ONE_IS_ENOUGH = pytest.mark.h1_only("keys are agreed on before either is spoken")


def keys(path):
    """The lines of a key log, each of which is one of NSS; comments are OpenSSL's or Python's."""
    with open(path) as f:
        lines = [x for x in f if not x.startswith("#")]
    for line in lines:
        assert LINE.fullmatch(line), line
    return lines


def labels(lines):
    return {x.split()[0] for x in lines}


@pytest.fixture
def logging(serve, make_proxy, ca, tmp_path):
    """logging(conf) -> a server that writes its own key log, the path of that, and of tlsfan's; a proxy."""
    def make(conf="", version=None, **kw):
        theirs, ours = str(tmp_path / "theirs"), str(tmp_path / "ours")
        ctx = ca.server_context()
        ctx.keylog_filename = theirs
        if version:
            ctx.maximum_version = version
        server = serve(answering(lambda r, c: ok("x", "Connection: close")), context=ctx)
        p = make_proxy('tls { keylog = "%s" }\n%s' % (ours, conf), **kw)
        return server, theirs, ours, p
    return make


@EITHER
def test_secrets_are_those_of_the_origin(logging, version, protocol):
    server, theirs, ours, p = logging(version=version)
    with p.client() as c:
        for _ in range(3):  # resumed ones, too
            assert c.get(server.url()).text == "x"
    wait_until(lambda: set(keys(ours)) == set(keys(theirs)), what="both logs to be equal")
    assert len(keys(ours)) >= (3 if version == ssl.TLSVersion.TLSv1_2 else 15) or protocol == "h2"
    assert ("CLIENT_RANDOM" in labels(keys(ours))) == (version == ssl.TLSVersion.TLSv1_2)
    assert stat.S_IMODE(os.stat(ours).st_mode) == 0o600
    p.wait_log("warning tls.keylog = %s" % ours)
    for line in keys(ours):
        assert line.split()[2] not in p.log()


@ONE_IS_ENOUGH
@EITHER
def test_secrets_of_an_intercepted_client(logging, tmp_path, version):
    own = OwnCA(tmp_path / "own")
    server, theirs, ours, p = logging(own.conf())
    p.write(open(p.conf_path).read().replace(p.base, "")
            + 'connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % server.port)
    p.signal(signal.SIGHUP)
    p.wait_log("configuration reloaded")
    mine = str(tmp_path / "mine")
    ctx = own.context(version)
    ctx.keylog_filename = mine
    with Inside(p.port, ctx) as c:
        assert c.get("/").text == "x"
    wait_until(lambda: set(keys(ours)) == set(keys(theirs)) | set(keys(mine)), what="all secrets")


@ONE_IS_ENOUGH
def test_lines_of_many_threads(logging):
    server, theirs, ours, p = logging("workers = 4\n")

    def ask():
        with p.client() as c:
            for _ in range(15):
                assert c.get(server.url()).status == 200
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wait_until(lambda: sorted(set(keys(ours))) == sorted(set(keys(theirs))), what="both logs to be equal")
    assert len(keys(ours)) == len(set(keys(ours))) >= 120 * 5


@ONE_IS_ENOUGH
def test_opened_again_and_closed(logging):
    server, theirs, ours, p = logging()
    with p.client() as c:
        assert c.get(server.url()).status == 200
        os.rename(ours, ours + ".1")
        p.signal(signal.SIGUSR1)
        p.wait_log("log files were opened again")
        before = len(keys(ours + ".1"))
        assert keys(ours) == [] and before > 0
        assert c.get(server.url()).status == 200
        wait_until(lambda: keys(ours), what="a line in the new file")
        os.rename(ours, ours + ".2")
        p.signal(signal.SIGHUP)
        p.wait_log("configuration reloaded")
        assert keys(ours) == [] and stat.S_IMODE(os.stat(ours).st_mode) == 0o600
        assert c.get(server.url()).status == 200
        wait_until(lambda: keys(ours), what="a line in the newest file")
        count = len(keys(ours))
        p.write("")
        p.signal(signal.SIGHUP)
        wait_until(lambda: p.log().count("configuration reloaded") == 2, what="the second reload")
        assert c.get(server.url()).status == 200
        assert len(keys(ours)) == count and len(keys(ours + ".1")) == before
        p.write('tls { keylog = "%s" }\n' % ours)
        p.signal(signal.SIGHUP)
        wait_until(lambda: p.log().count("configuration reloaded") == 3, what="the third reload")
        assert c.get(server.url()).status == 200
        wait_until(lambda: len(keys(ours)) > count, what="a line more")


@ONE_IS_ENOUGH
def test_reload_that_fails_leaves_the_file(logging, tmp_path):
    server, theirs, ours, p = logging()
    p.write('tls { keylog = "%s" }\nworkers = none\n' % (tmp_path / "another"))
    p.signal(signal.SIGHUP)
    p.wait_log("nothing was changed")
    with p.client() as c:
        assert c.get(server.url()).status == 200
    wait_until(lambda: keys(ours), what="a line")
    assert not (tmp_path / "another").exists()


@ONE_IS_ENOUGH
def test_full_disk_stops_nothing(serve, make_proxy):
    server = serve(answering(lambda r, c: ok("x", "Connection: close")))
    p = make_proxy('tls { keylog = "/dev/full" }\n')
    with p.client() as c:
        for _ in range(5):
            assert c.get(server.url()).status == 200
    p.wait_log("tls.keylog /dev/full takes no line, which is dropped: No space left on device")
    assert 1 <= p.log().count("takes no line") <= 7


@ONE_IS_ENOUGH
def test_file_that_others_can_read_is_warned_of(logging, tmp_path):
    (tmp_path / "ours").write_text("")
    (tmp_path / "ours").chmod(0o644)
    server, theirs, ours, p = logging()
    p.wait_log("keylog %s was there with mode 644: others can read it" % ours)


@ONE_IS_ENOUGH
@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give a file away")
@pytest.mark.parametrize("is_pipe", [False, True])
def test_what_another_user_has_put_there_is_warned_of(logging, tmp_path, is_pipe):
    path = tmp_path / "ours"
    os.mkfifo(path, 0o600) if is_pipe else path.touch(0o600)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.chown(path, 65534, 65534)
    server, theirs, ours, p = logging()
    p.wait_log("keylog %s was there and belongs to user 65534, who can read it" % ours)
    assert "mode 600" not in p.log()
    with p.client() as c:
        assert c.get(server.url()).status == 200
    os.close(reader)


def test_place_is_checked(tlsfan, tmp_path):
    for path, why in (("/nonexistent/keys", "No such file"), (str(tmp_path), "Is a directory")):
        done = tlsfan("-t", "-o", "tls.keylog=" + path)
        assert done.returncode == 1 and "tls.keylog: %s cannot be written: %s" % (path, why) in done.stderr, done
    path = tmp_path / "keys"
    assert tlsfan("-t", "-o", "tls.keylog=%s" % path).returncode == 0
    assert not path.exists()


@ONE_IS_ENOUGH
def test_of_a_run(serve, tlsfan, ca, tmp_path):
    server = serve(answering(lambda r, c: ok("x", "Connection: close")))
    path = tmp_path / "keys"
    done = tlsfan("-o", "tls.keylog=%s" % path, "-o", "tls.ca_file=" + ca.root, "run", "--", "curl", "-sS",
                  server.url())
    assert done.returncode == 0 and done.stdout == "x" and "warning tls.keylog = %s" % path in done.stderr, done
    assert keys(str(path))
