# SPDX-License-Identifier: Apache-2.0
"""Recipes for code whose URLs say https://: at one place http:// takes its place, and tlsfan is asked."""
import os
import re
import subprocess
import sys

import pytest

from test_06_clients import python2
from testenv import SLOW
from testenv.proxy import ROOT, binary, clean_env
from testenv.scripted import Server, answering, ok

pytestmark = pytest.mark.skipif(binary() is None, reason="no tlsfan: build it, or set TLSFAN_BIN")

FOLDER = os.path.join(ROOT, "tests", "integration", "recipes")
# What a program does behind the recipe: a GET, a redirect that says https://, a cookie of https://, a POST, an error.
USES = {
    "requests_session.py": """
print(session.get("https://origin.test/page?n=1").text)
print(session.get("https://origin.test/moved").text)
print(session.get("https://origin.test/cookie").text)
print(session.post("https://origin.test/post", data=b"sent").text)
print(session.get("https://origin.test/missing").status_code)
""",
    "urllib3_manager.py": """
print(http.request("GET", "https://origin.test/page?n=1").data.decode())
print(http.request("GET", "https://origin.test/moved").data.decode())
print(http.request("GET", "https://origin.test/cookie", headers={"Cookie": "a=b"}).data.decode())
print(http.request("POST", "https://origin.test/post", body=b"sent").data.decode())
print(http.request("GET", "https://origin.test/missing").status)
""",
    "urllib2_opener.py": """
import cookielib
jar = urllib2.HTTPCookieProcessor(cookielib.CookieJar())
urllib2.install_opener(urllib2.build_opener(Plain, proxy, jar))
print(urllib2.urlopen("https://origin.test/page?n=1", timeout=30).read())
print(urllib2.urlopen("https://origin.test/moved").read())
print(urllib2.urlopen("https://origin.test/cookie").read())
print(urllib2.urlopen("https://origin.test/post", b"sent").read())
try:
    urllib2.urlopen("https://origin.test/missing")
except urllib2.HTTPError as e:
    print(e.code)
""",
}


def answer(request, conn):
    path = request.target.split("?")[0]
    if path == "/moved":
        return ok(b"", "Location: https://origin.test/there", "Set-Cookie: a=b; Secure; Path=/", status="302 Found")
    if path == "/cookie":
        return ok(("cookie " + request.get("Cookie", "none")).encode())
    if path == "/post":
        return ok(request.method.encode() + b" " + request.body)
    if path == "/missing":
        return ok(b"", status="404 Not Found")
    return ok(request.target.encode())


@pytest.fixture
def server(ca):
    s = Server(answering(answer), ca.server_context())
    yield s
    s.stop()


def python_for(name):
    if name == "urllib2_opener.py":
        found = python2()
        if found is None:
            pytest.skip("no Python 2.7 here")
        return found
    pytest.importorskip(name.split("_")[0])
    return sys.executable


def text_of(name):
    """As it stands in the README: without the line of the licence."""
    with open(os.path.join(FOLDER, name)) as f:
        return f.read().split("\n", 1)[1]


@pytest.mark.parametrize("name", sorted(USES))
def test_a_recipe(ca, server, tmp_path, name):
    python = python_for(name)
    script = tmp_path / "program.py"
    script.write_text(text_of(name) + USES[name])
    done = subprocess.run([binary(), "-o", "tls.ca_file=" + ca.root, "-o", "log.level=info",
                           "-o", "connect_to=origin.test:443:127.0.0.1:%d" % server.port,
                           "run", "--", python, str(script)],
                          env=clean_env({"https_proxy": "http://127.0.0.1:1/", "no_proxy": "127.0.0.1,origin.test"}),
                          capture_output=True, text=True, timeout=60 * SLOW)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["/page?n=1", "/there", "cookie a=b", "POST sent", "404"], done.stdout
    assert len(server.requests) == 6 and all(r.get("Via") for r in server.requests)
    assert " 6 requests, " in done.stderr and "tunnel" not in done.stderr


@pytest.mark.parametrize("name", sorted(USES))
def test_a_recipe_sends_nothing_in_plain(tmp_path, name):
    """Where there is no proxy the program fails, instead of asking a server of plain HTTP by itself."""
    python = python_for(name)
    plain = Server(answering(lambda request, conn: ok(b"")), None)
    script = tmp_path / "program.py"
    script.write_text(text_of(name) + USES[name].replace("origin.test", "127.0.0.1:%d" % plain.port))
    done = subprocess.run([python, str(script)], env=clean_env(), capture_output=True, text=True, timeout=60 * SLOW)
    plain.stop()
    assert done.returncode == 1 and "KeyError" in done.stderr, done.stderr
    assert plain.requests == [] and plain.heard == 0


def test_the_readme_has_these_recipes():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        written = [b for b in re.findall(r"^```python\n(.*?)^```", f.read(), re.S | re.M) if "class Plain" in b]
    assert all(b in [text_of(name) for name in USES] for b in written), written


def test_there_are_no_others():
    assert sorted(os.listdir(FOLDER)) == sorted(USES)
