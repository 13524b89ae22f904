# SPDX-License-Identifier: Apache-2.0
"""The live page in real Chromium: bars for real traffic, what runs, failures, details, pause, its policy."""
import signal
import subprocess
import threading

import pytest

from testenv import SLOW
from testenv.browser import (RUNNING, all_of, chromium, judge, look_at, press, rows, text, type_filter, wait_text)
from testenv.client import Client
from testenv.h2server import each
from testenv.scripted import answering, ok
from testenv.wait import wait_until

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By  # noqa: E402

__all__ = ["chromium"]
pytestmark = pytest.mark.unsanitized("drives Chromium; what it asks for, other tests ask for too")

# The table of origins, an object a row.
ORIGINS = """const body = document.querySelector('#origins');
const heads = [...body.parentNode.querySelectorAll('th')].map((e) => e.textContent);
return [...body.rows].map((row) => Object.fromEntries([...row.cells].map((e, i) => [heads[i], e.textContent])));"""
FAILURES = "return [...document.querySelectorAll('#failures tr')].map((row) => row.textContent)"
ONCE = pytest.mark.h1_only("how the page shows exchanges that it has got, whatever their origin spoke")


@pytest.fixture
def page(chromium):
    """page(proxy): the page of that proxy, open; its console is judged at the end."""

    def load(proxy):
        look_at(chromium)
        chromium.get(proxy.service_url + "/")
        return chromium

    chromium.get_log("browser")
    yield load
    judge(chromium)


def overlaps(spans, low, high, slack):
    """How many of SPANS overlap the one before them."""
    ordered = sorted(spans, key=lambda r: r[low])
    return sum(b[low] < a[high] - slack for a, b in zip(ordered, ordered[1:]))


def serial(proxy, urls, status=200):
    with Client(proxy.port, timeout=30) as client:
        for url in urls:
            assert client.get(url).status == status


def parallel(proxy, urls):
    with Client(proxy.port, timeout=30) as client:
        for url in urls:
            client.request("GET", url)
        for _ in urls:
            assert client.response().status == 200


def slow_origin(serve, seconds):
    return serve(answering(lambda r, c: (c.server.stopping.wait(seconds), ok(r.target))[1]))


def holding(serve, event, **kw):
    """An origin that answers when the event is set."""
    return serve(answering(lambda r, c: (event.wait(60 * SLOW), ok())[1]), **kw)


def refusing(status):
    return answering(lambda r, c: b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)


# ---- the picture

def test_serial_and_parallel_look_different(make_proxy, serve, page):
    origin = slow_origin(serve, 0.02)
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    serial(proxy, [origin.url("/serial/%d" % n) for n in range(20)])
    one_by_one = rows(chrome, 20)
    assert overlaps(one_by_one, "start", "end", 0.5) == 0
    assert overlaps(one_by_one, "left", "right", 2.5) == 0
    assert all(r["phases"].get("wait", 0) > 15 for r in one_by_one)
    assert "tls" in one_by_one[0]["phases"] and "tls" not in one_by_one[10]["phases"]
    press(chrome, "#clear")
    wait_until(lambda: not chrome.find_elements(By.CSS_SELECTOR, "#rows .body > *"), 5, "no rows")
    slow = slow_origin(serve, 0.5)
    parallel(proxy, [slow.url("/parallel/%d" % n) for n in range(20)])
    at_once = rows(chrome, 20)
    assert overlaps(at_once, "start", "end", 0) == 19 and overlaps(at_once, "left", "right", 0) == 19
    assert max(r["start"] for r in at_once) < min(r["end"] for r in at_once)
    colours = dict(pair for r in at_once + one_by_one for pair in r["colours"])
    assert len(set(colours.values())) == len(colours) >= 4, colours
    assert "20 exchanges" in text(chrome, "#benefit") and "(20 at once)" in text(chrome, "#benefit")


@pytest.mark.h1_only("it asks an origin of either protocol")
def test_it_tells_h1_from_h2(make_proxy, serve, serve_h2, page):
    new, old = serve_h2(each(lambda s: s.respond("x"))), serve(answering(lambda r, c: ok()))
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    serial(proxy, [new.url("/a"), new.url("/b"), old.url("/c")])
    assert [r["protocol"] for r in rows(chrome, 3)] == ["h2", "h2", "h1"]


def test_what_was_before_the_page_is_shown(make_proxy, serve, page):
    """As far as the rings hold it: more than one answer brings."""
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy("workers = 2", service=True)
    urls = [origin.url("/%d" % n) for n in range(300)]
    threads = [threading.Thread(target=parallel, args=(proxy, urls)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chrome = page(proxy)
    wait_until(lambda: int(text(chrome, "#benefit").split(" ")[0] or 0) >= 512, 10 * SLOW, "all that is held")


# ---- what runs

def test_what_hangs_is_shown_with_its_phase_and_grows(make_proxy, serve, page):
    held = threading.Event()
    origin = holding(serve, held)
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    with Client(proxy.port, timeout=60) as client:
        client.request("GET", origin.url("/hangs"))
        found, = all_of(chrome, RUNNING, 1)
        wait_until(lambda: chrome.execute_script(RUNNING)[0]["phase"] == "wait", 10 * SLOW, "the phase")
        assert found["url"].endswith("/hangs") and text(chrome, "#under-way") == "1"
        width = lambda: chrome.execute_script(RUNNING)[0]["width"]
        before = width()
        wait_until(lambda: width() > before + 20, 10 * SLOW, "the bar to grow")
        press(chrome, "#running .body > [role=row]")
        assert "/hangs" in text(chrome, "#running .details") and "127.0.0.1" in text(chrome, "#running .details")
        held.set()
        assert client.response().status == 200
    assert rows(chrome, 1)[0]["url"].endswith("/hangs")
    wait_until(lambda: text(chrome, "#under-way") == "none", 10 * SLOW, "the other list to be empty")


# ---- failures

@ONCE
def test_failures_stay(make_proxy, serve, page):
    """600 successes push them out of the rings; the page that is opened then has them."""
    broken, good = (serve(answering(lambda r, c: ok()), kind=kind) for kind in ("expired", "good"))
    bad = serve(refusing(404))
    proxy = make_proxy("workers = 1", service=True)
    with Client(proxy.port) as client:
        answer = client.get(broken.url("/secret?token=abc"))
        assert answer.status == 502 and client.get(bad.url("/lost")).status == 404
    for _ in range(4):
        parallel(proxy, [good.url("/%d" % n) for n in range(150)])
    chrome = page(proxy)
    found = all_of(chrome, FAILURES, 2)
    assert "404" in found[0] and "/lost" in found[0]
    assert answer.text.strip() in found[1] and "tls_certificate_error" in found[1] and "localhost" in found[1]
    assert "abc" not in chrome.page_source
    assert not [r for r in rows(chrome, 1) if r["mark"]]


def test_failures_are_marked_and_filtered(make_proxy, serve, page):
    broken, good = (serve(answering(lambda r, c: ok()), kind=kind) for kind in ("expired", "good"))
    bad = serve(refusing(503))
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    serial(proxy, [good.url("/fine")])
    serial(proxy, [broken.url("/expired")], 502)
    serial(proxy, [bad.url("/busy")], 503)
    found = rows(chrome, 3)
    assert [r["mark"] for r in found] == ["", "failed", "refused"]
    wait_until(lambda: chrome.title.startswith("(1 failed)"), 10 * SLOW, "the title")
    press(chrome, "#failed-only")
    assert [r["status"] for r in rows(chrome, 2)] == ["502", "503"]
    press(chrome, "#failed-only")
    for wanted, end in (("expired", "/expired"), ("busy", "/busy"), ("tls_certificate", "/expired"), ("fine", "/fine")):
        type_filter(chrome, wanted)
        assert [r["url"][-len(end):] for r in rows(chrome, 1)] == [end]


# ---- details

def details(chrome):
    """The details of the first row: texts of its parts, by their heads."""
    press(chrome, "#rows .body > [role=row]")
    return wait_until(lambda: chrome.execute_script(
        """const e = document.querySelector('#rows .details');
        return e && {all: e.textContent, right: e.getBoundingClientRect().right,
          below: e.previousSibling.getBoundingClientRect().bottom <= e.getBoundingClientRect().top + 1,
          ...Object.fromEntries([...e.querySelectorAll('.part')].map((part) => [part.querySelector('h3').textContent,
            [...part.querySelectorAll('tbody tr, dd')].map((x) =>
              [...(x.cells || [x])].map((c) => c.textContent.trim()))]))}"""),
        5, "details")


def sent(client, origin):
    return client.exchange("GET", origin.url("/path?token=hush"), "Authorization: Bearer hush", "Cookie: a=hush",
                           "X-Api-Key: hush", "Accept: text/plain")


@pytest.mark.parametrize("width", [1280, 400])
def test_details_under_the_row(make_proxy, serve, page, protocol, width):
    origin = serve(answering(lambda r, c: ok("hello")))
    proxy = make_proxy("log { access = off }", service=True)
    chrome = page(proxy)
    look_at(chrome, width, 800)
    wait_text(chrome, "#version", ".")
    with Client(proxy.port) as client:
        sent(client, origin)
    rows(chrome, 1)
    wait_text(chrome, "#origins", "localhost")
    found = details(chrome)
    assert found["below"] and found["right"] <= width
    assert [name for name, *_ in found["Phases"]][-2:] in (["wait", "transfer"], ["send", "wait"])
    assert all(ms.endswith(" ms") for _, ms, _ in found["Phases"]) and "TLS" in [row[0] for row in found["Phases"]]
    widths = "return [...document.querySelectorAll('.details .track i')].map((e) => e.offsetWidth)"
    assert all(w > 1 for w in chrome.execute_script(widths))
    flat = " ".join(cell for row in found["Connection"] for cell in row)
    assert "127.0.0.1:%d, %s, TLSv1.3" % (origin.port, protocol) in flat and "request 1 on it" in flat and "new" in flat
    assert ("stream 1" in flat) == (protocol == "h2")
    certificate = [row[0] for row in found["Certificate"]]
    assert certificate[0].startswith("CN=") and certificate[1].startswith("CN=") and certificate[2][:2] == "20"
    fields = {name.lower(): size for name, size in found["Request fields"]}
    assert (fields["authorization"], fields["accept"]) == ("11 B", "10 B"), fields
    assert "content-length" in [name.lower() for name, _ in found["Answer fields"]]
    assert "hush" not in chrome.page_source and "text/plain" not in found["all"]
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= width


def test_values_where_the_operator_wants_them(make_proxy, serve, page):
    origin = serve(answering(lambda r, c: ok("hello")))
    proxy = make_proxy("log { access = off fields = on }", service=True)
    chrome = page(proxy)
    wait_text(chrome, "#version", ".")
    with Client(proxy.port) as client:
        sent(client, origin)
    rows(chrome, 1)
    found = details(chrome)
    told = {row[0].lower(): row[2] for row in found["Request fields"]}
    assert told["accept"] == "text/plain" and {told[n] for n in ("authorization", "cookie", "x-api-key")} == {"hidden"}
    assert "hush" not in chrome.page_source


def test_no_credentials_and_no_query(make_proxy, serve, page):
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy("log { access = off query = off }", service=True)
    chrome = page(proxy)
    with Client(proxy.port) as client:
        sent(client, origin)
    rows(chrome, 1)
    assert "/path" in chrome.page_source and "hush" not in chrome.page_source


def test_markup_from_peers_is_text(make_proxy, page):
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    with Client(proxy.port) as client:
        client.send(b"GET http://no.such.invalid/<img/src=x/onerror=alert(1)> HTTP/1.1\r\nHost: x\r\n\r\n")
        client.response()
    assert "<img/src=x" in rows(chrome, 1)[0]["url"]
    press(chrome, "#rows .body > [role=row]")
    assert not chrome.find_elements(By.CSS_SELECTOR, "main img")


# ---- pause

@ONCE
def test_pause_loses_nothing(make_proxy, serve, page):
    """More than one sample would hold."""
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy("workers = 1", service=True)
    chrome = page(proxy)
    serial(proxy, [origin.url("/before")])
    rows(chrome, 1)
    press(chrome, "#pause")
    parallel(proxy, [origin.url("/%d" % n) for n in range(300)])
    wait_text(chrome, "#waiting", "300 wait")
    assert len(rows(chrome, 1)) == 1 and "lost" not in text(chrome, "#waiting")
    press(chrome, "#pause")
    wait_text(chrome, "#benefit", "301 exchanges")
    assert text(chrome, "#shown") == "" and text(chrome, "#waiting") == ""


@ONCE
def test_pause_says_what_the_rings_have_lost(make_proxy, serve, page):
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy("workers = 1", service=True)
    chrome = page(proxy)
    serial(proxy, [origin.url("/before")])
    rows(chrome, 1)
    press(chrome, "#pause")
    for _ in range(4):
        parallel(proxy, [origin.url("/%d" % n) for n in range(150)])
    wait_text(chrome, "#waiting", "512 wait, 88 are lost")
    press(chrome, "#pause")
    wait_text(chrome, "#shown", "showing 513 of 601 exchanges")


# ---- origins

@ONCE
def test_focus_stays_on_an_origin(make_proxy, serve, page):
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    serial(proxy, [origin.url()])
    first = "document.querySelector('#origins button')"
    wait_until(lambda: chrome.execute_script("return %s" % first), 10 * SLOW, "the origin")
    chrome.execute_script("%s.focus(); %s.isOld = true" % (first, first))
    wait_until(lambda: chrome.execute_script("return !%s.isOld" % first), 10 * SLOW, "the next status")
    assert chrome.execute_script("return document.activeElement === %s" % first)


def test_origins_tell_what_is_under_way_and_which_certificate_ends(make_proxy, serve, page):
    held = threading.Event()
    origin = holding(serve, held, kind="ending_soon")
    lasting = serve(answering(lambda r, c: ok()))
    proxy = make_proxy(service=True)
    chrome = page(proxy)

    def cells(server):
        found = [o for o in chrome.execute_script(ORIGINS) if o["origin"] == "localhost:%d" % server.port]
        return found[0] if found else {}

    def shows(server, name, value):
        return lambda: cells(server).get(name) == value

    with Client(proxy.port, timeout=60) as client:
        client.request("GET", origin.url())
        wait_until(shows(origin, "in flight", "1"), 10 * SLOW, "the request under way")
        held.set()
        assert client.response().status == 200
    serial(proxy, [lasting.url()])
    wait_until(shows(lasting, "requests", "1"), 10 * SLOW, "the other origin")
    wait_until(shows(origin, "in flight", "0"), 10 * SLOW, "the request to end")
    assert cells(origin)["certificate ends"].endswith("(soon)")
    assert cells(lasting)["certificate ends"][:2] == "20" and "soon" not in cells(lasting)["certificate ends"]


# ---- the page itself

@ONCE
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(make_proxy, serve, page, width, scheme):
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    look_at(chrome, width, 900, scheme)
    parallel(proxy, [origin.url("/%s" % ("x" * 150))] * 5)
    serial(proxy, ["http://%s.invalid/" % ("y" * 60)], 502)
    rows(chrome, 6)
    all_of(chrome, FAILURES, 1)
    press(chrome, "#rows .body > :last-child")
    press(chrome, "#failures button")
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= width
    inner = chrome.execute_script(
        "const e = document.querySelector('#failures-table'); return [e.scrollWidth, e.clientWidth]")
    assert inner[0] <= inner[1], inner
    ground = chrome.execute_script("return getComputedStyle(document.body).backgroundColor")
    dark = sum(int(c) for c in ground[4:-1].split(",")) < 200
    assert dark == (scheme == "dark"), ground


def test_the_curl_line_works(make_proxy, page):
    """The address is that of the listener, whatever its port."""
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    wait_text(chrome, "#curl", "curl -x http://127.0.0.1:%d http://" % proxy.port)


def test_who_must_log_in_gets_the_whole_page(make_proxy, page, chromium, tmp):
    """Its modules and its questions carry the credentials, also where the address holds them."""
    users = tmp / "page-users"
    hashed = subprocess.run(["openssl", "passwd", "-6", "wonder"], capture_output=True, text=True, check=True).stdout
    users.write_text("alice:" + hashed)
    proxy = make_proxy('client { auth_file = "%s" }' % users, service=True)
    chromium.get(proxy.service_url.replace("http://", "http://alice:wonder@") + "/")
    wait_text(chromium, "#version", ".")
    wait_text(chromium, "#curl", str(proxy.port))
    assert text(chromium, "#state") == ""


@pytest.fixture
def watched(make_proxy, chromium):
    """A proxy, its page, and what the page says of the proxy being there."""
    proxy = make_proxy(service=True)
    look_at(chromium)
    chromium.get(proxy.service_url + "/")
    wait_text(chromium, "#version", ".")
    yield proxy, chromium
    chromium.get("about:blank")
    chromium.get_log("browser")


def notice_goes(chrome):
    wait_until(lambda: text(chrome, "#state") == "", 20 * SLOW, "the notice to go")


def test_it_says_when_the_server_is_gone(watched):
    proxy, chrome = watched
    proxy.stop()
    wait_text(chrome, "#state", "does not answer")
    proxy.start()
    notice_goes(chrome)


def test_it_says_when_the_server_hangs(watched):
    proxy, chrome = watched
    proxy.signal(signal.SIGSTOP)
    try:
        wait_text(chrome, "#state", "does not answer", 15)
    finally:
        proxy.signal(signal.SIGCONT)
    notice_goes(chrome)


def test_the_notice_goes_while_paused(watched):
    proxy, chrome = watched
    proxy.stop()
    wait_text(chrome, "#state", "does not answer")
    press(chrome, "#pause")
    proxy.start()
    notice_goes(chrome)
