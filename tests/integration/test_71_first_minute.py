# SPDX-License-Identifier: Apache-2.0
"""What somebody sees who has just started it: lines at start, the text of run.sh, the proxy's address in a browser."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from testenv.client import Client
from testenv.ports import free_port
from testenv.proxy import ROOT, binary, clean_env
from testenv.wait import can_connect, wait_until

pytestmark = pytest.mark.h1_only("no origin is asked")
HTML = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"


def get(port, *fields, target="/", host="127.0.0.1:1", method="GET"):
    with Client(port) as c:
        c.send("\r\n".join(["%s %s HTTP/1.1" % (method, target), "Host: " + host, *fields]) + "\r\n\r\n")
        return c.response(method)


def test_the_live_page_is_named(make_proxy):
    p = make_proxy(service=True)
    live = "http://127.0.0.1:%d/" % p.service_port
    p.wait_log("has started")
    assert " info live page: %s (the service listener)\n" % live in p.log()
    text = get(p.port, "Accept: */*")
    assert text.status == 400 and text.get("Content-Type") == "text/plain"
    assert text.text.startswith("this is a proxy: ") and text.text.endswith("; live page: %s\n" % live)
    everywhere = make_proxy('service = "0.0.0.0:%d"\nclient { allow = {"private"} }\n' % free_port())
    everywhere.wait_log("live page: http://127.0.0.1:")
    assert "(the service listener, at all addresses)" in everywhere.log()


def test_a_browser_gets_a_page(make_proxy):
    p = make_proxy(service=True)
    host = "127.0.0.1:%d" % p.port
    page = get(p.port, HTML, host=host)
    assert page.status == 400 and page.error == "http_request_error"
    assert page.get("Content-Type") == "text/html; charset=utf-8"
    assert page.get("X-Content-Type-Options") == "nosniff"
    policy = page.get("Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert "export http_proxy=http://%s\n" % host in page.text
    assert '<a href="http://127.0.0.1:%d/">' % p.service_port in page.text and "<script" not in page.text
    head = get(p.port, HTML, host=host, method="HEAD")
    assert head.body == b"" and int(head.get("Content-Length")) == len(page.body)
    assert get(p.port, "Accept: image/avif,*/*", target="/favicon.ico").get("Content-Type") == "text/plain"
    assert get(p.port, HTML, target="http://tlsfan.internal/").get("Content-Type") == "text/plain"


@pytest.mark.parametrize("host", ["a&b.test", "$(id).test:80", "a'b", "a;b", "a%3cb"])
def test_no_host_gets_into_the_page_that_could_do_anything(make_proxy, host):
    """Neither there nor in a shell where its line is pasted."""
    page = get(make_proxy().port, HTML, host=host)
    assert page.status == 400 and host not in page.text
    assert page.get("Content-Type") != "text/html; charset=utf-8" or "http_proxy=http://ADDRESS:PORT" in page.text


def test_the_page_of_a_tls_listener(make_proxy, ca):
    leaf = ca.leaf()
    p = make_proxy('client { cert = "%s" key = "%s" }\n' % (leaf.cert, leaf.key), listen=["tls:127.0.0.1:PORT"])
    with p.client() as c:
        c.start_tls(ca.client_context(), "localhost")
        c.send("GET / HTTP/1.1\r\nHost: localhost:1\r\n%s\r\n\r\n" % HTML)
        page = c.response()
    assert "export http_proxy=https://localhost:1\n" in page.text and "There is no live page" in page.text


# ---- run.sh

@pytest.fixture
def run_sh():
    """run_sh(option...): packaging/run.sh with a build that is there already; by a user who is not root."""
    root = tempfile.mkdtemp(prefix="tlsfan-run-sh-")  # which pytest's own directories are not open to
    key = subprocess.run("printf %%s '%s' | cksum | cut -d ' ' -f 1" % ROOT, shell=True, check=True, text=True,
                         capture_output=True).stdout.strip()
    build = os.path.join(root, "tlsfan", "build-" + key)
    os.makedirs(build)
    shutil.copy(binary(), os.path.join(build, "tlsfan"))
    open(os.path.join(build, "stamp"), "w").close()
    become = [] if os.getuid() != 0 else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    for path in (root, os.path.dirname(build), build) if become else ():
        os.chown(path, 65534, 65534)
    if subprocess.run([*become, "test", "-r", os.path.join(ROOT, "packaging", "run.sh")]).returncode != 0:
        shutil.rmtree(root)
        pytest.skip("another user cannot read this tree")
    started = []

    def make(*options):
        out = open(os.path.join(root, "out"), "wb")
        process = subprocess.Popen([*become, "sh", os.path.join(ROOT, "packaging", "run.sh"), *options], stderr=out,
                                   stdout=out, stdin=subprocess.DEVNULL, start_new_session=True,
                                   env=clean_env({"XDG_CACHE_HOME": root}))
        out.close()
        process.said = pathlib.Path(root, "out").read_text
        started.append(process)
        return process
    yield make
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(root)


def test_run_sh_speaks_when_it_listens(run_sh):
    port, service = free_port(), free_port()
    process = run_sh("-l", "127.0.0.1:%d" % port, "-s", "127.0.0.1:%d" % service)
    wait_until(lambda: "To stop it" in process.said(), 20, process.said)
    said = process.said()
    assert said.index("has started") < said.index("tlsfan is on 127.0.0.1:%d. " % port)
    assert "http_proxy=http://127.0.0.1:%d\n" % port in said
    assert "kill %d\n" % process.pid in said and can_connect("127.0.0.1", port)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert "live page: http://127.0.0.1:%d/" % service in said
    again = run_sh("-l", "127.0.0.1:0", "-s", "off", "-o", "log.level=error")
    wait_until(lambda: "To stop it" in again.said(), 20, again.said)
    assert "live page" not in again.said() and "tlsfan is up; the log names its addresses" in again.said()
    assert "http_proxy=http://ADDRESS:PORT\n" in again.said()


@pytest.mark.parametrize("how", [[], ["--read-ahead"], ["--intercept=a.test", "--read-ahead=2"]], ids=len)
def test_run_sh_leaves_a_command_alone(run_sh, how):
    """It stays who it is, and nobody says how to use a proxy that ends with it."""
    process = run_sh("-o", "log.level=error", "run", *how, "--", "sh", "-c", "id -u; sleep 1; exit 7")
    assert process.wait(20) == 7
    assert re.fullmatch(r"\d+\n", process.said())


def test_run_sh_says_nothing_of_what_did_not_start(run_sh, make_proxy):
    taken = make_proxy()
    process = run_sh("-l", "127.0.0.1:%d" % taken.port, "-s", "off")
    assert process.wait(20) == 3
    group = re.compile(r"^\d+ \(.*\) \S \d+ %d " % process.pid)

    def is_left(pid):
        try:
            with open("/proc/%s/stat" % pid) as f:
                return group.match(f.read()) is not None
        except OSError:
            return False
    wait_until(lambda: not any(is_left(x) for x in os.listdir("/proc") if x.isdigit()), 10, "nobody waits any more")
    assert "To use it" not in process.said() and "cannot listen" in process.said()
