# SPDX-License-Identifier: Apache-2.0
"""The live page in real Chromium: bars for real traffic, filter, sentences of faults, HAR, its policy."""
import json
import os
import shutil
import signal
import threading

import pytest

from testenv import SLOW
from testenv.client import Client
from testenv.h2server import each
from testenv.scripted import answering, ok
from testenv.wait import wait_until

pytest.importorskip("selenium")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

pytestmark = pytest.mark.unsanitized("drives Chromium; what it asks for, other tests ask for too")

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--window-size=1280,900",
]

# The rows that are shown, with what a person sees of them.
ROWS = """return [...document.querySelectorAll('#rows li:not([hidden])')].map((row) => {
  const bar = row.querySelector('.span').getBoundingClientRect();
  const parts = [...row.querySelectorAll('i')];
  return {host: row.dataset.host, start: +row.dataset.start, end: +row.dataset.end, left: bar.left, right: bar.right,
          phases: Object.fromEntries(parts.map((i) => [i.dataset.phase, +i.dataset.ms])),
          colours: parts.map((i) => [i.dataset.phase, getComputedStyle(i).backgroundColor])};
});"""

# The table of origins, an object a row.
ORIGINS = """const body = document.querySelector('#origins');
const heads = [...body.parentNode.querySelectorAll('th')].map((e) => e.textContent);
return [...body.rows].map((row) => Object.fromEntries([...row.cells].map((e, i) => [heads[i], e.textContent])));"""


@pytest.fixture(scope="module")
def chromium(tmp):
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no chromium and chromedriver")
    options = Options()
    options.binary_location = browser
    for flag in [*FLAGS, "--user-data-dir=%s" % (tmp / "chromium")]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp)})
    chrome = webdriver.Chrome(service=Service(driver), options=options)
    chrome.set_script_timeout(20)
    yield chrome
    chrome.quit()


@pytest.fixture
def page(chromium, make_proxy):
    """page(proxy): the page of that proxy, open; its console is judged at the end."""

    def load(proxy):
        chromium.get(proxy.service_url + "/")
        return chromium

    chromium.get_log("browser")
    yield load
    bad = [entry for entry in chromium.get_log("browser") if entry["level"] != "INFO"]
    chromium.get("about:blank")
    assert not bad, bad


def rows(chrome, count, timeout=10):
    """Waits until that many rows are shown."""
    return wait_until(
        lambda: (lambda found: found if len(found) >= count else None)(chrome.execute_script(ROWS)),
        timeout * SLOW,
        "%d rows" % count,
    )


def overlaps(spans, low, high, slack):
    """How many of SPANS overlap the one before them."""
    ordered = sorted(spans, key=lambda r: r[low])
    return sum(b[low] < a[high] - slack for a, b in zip(ordered, ordered[1:]))


def serial(proxy, urls):
    with Client(proxy.port) as client:
        for url in urls:
            assert client.get(url).status == 200


def parallel(proxy, urls):
    with Client(proxy.port) as client:
        for url in urls:
            client.request("GET", url)
        for _ in urls:
            assert client.response().status == 200


# exchange(n, at, took): one as /exchanges tells it, that began at AT ms and was refused.
EXCHANGE = """const exchange = (n, at, took, host = 'a.test') => ({id: String(n), start: at, client: '', method: 'GET',
  host, url: 'http://' + host + '/' + n, status: 502, error: 'dns_error', sentence: host + ' is unknown, ' + n,
  protocol: '', tls: '', upstream: '', reused: false, retries: 0, bytes_in: 0, bytes_out: 0,
  ms: {wait: took, total: took}});
"""

ONCE = pytest.mark.h1_only("how the page shows exchanges that it has got, whatever their origin spoke")


def slow_origin(serve, seconds):
    return serve(answering(lambda r, c: (c.server.stopping.wait(seconds), ok(r.target))[1]))


def test_serial_and_parallel_look_different(make_proxy, serve, page):
    origin = slow_origin(serve, 0.02)
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    serial(proxy, [origin.url("/serial/%d" % n) for n in range(100)])
    one_by_one = rows(chrome, 100)
    assert overlaps(one_by_one, "start", "end", 0.5) == 0
    assert overlaps(one_by_one, "left", "right", 2.5) == 0
    assert all(r["phases"].get("wait", 0) > 15 for r in one_by_one)
    assert "tls" in one_by_one[0]["phases"] and "tls" not in one_by_one[50]["phases"]
    chrome.find_element(By.ID, "clear").click()
    rows_gone = wait_until(lambda: chrome.execute_script(ROWS) == [], 5, "no rows")
    assert rows_gone
    slow = slow_origin(serve, 0.5)
    parallel(proxy, [slow.url("/parallel/%d" % n) for n in range(100)])
    at_once = rows(chrome, 100)
    assert overlaps(at_once, "start", "end", 0) == 99 and overlaps(at_once, "left", "right", 0) == 99
    assert max(r["start"] for r in at_once) < min(r["end"] for r in at_once)
    colours = dict(pair for r in at_once + one_by_one for pair in r["colours"])
    assert len(set(colours.values())) == len(colours) >= 4, colours


@ONCE
def test_filter_by_host(make_proxy, serve, page):
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy('rule "*" { connect_to = "127.0.0.1:%d" sni = "localhost" }' % origin.port, service=True)
    chrome = page(proxy)
    serial(proxy, ["http://one.test/a", "http://two.test/b", "http://one.test/c"])
    rows(chrome, 3)
    box = chrome.find_element(By.ID, "filter")
    box.send_keys("one")
    assert [
        r["host"]
        for r in wait_until(lambda: (lambda f: f if len(f) == 2 else None)(chrome.execute_script(ROWS)), 5, "2 rows")
    ] == ["one.test"] * 2
    box.clear()
    chrome.execute_script("arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input'))", box)
    rows(chrome, 3)
    button = wait_until(
        lambda: [b for b in chrome.find_elements(By.CSS_SELECTOR, "#origins button") if b.text == "two.test:443"],
        10,
        "the origin",
    )
    chrome.execute_script("arguments[0].click()", button[0])
    assert [r["host"] for r in chrome.execute_script(ROWS)] == ["two.test"]


def test_a_certificate_fault_shows_its_sentence(make_proxy, serve, page):
    origin = serve(answering(lambda r, c: ok()), kind="expired")
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    with Client(proxy.port) as client:
        answer = client.get(origin.url("/secret?token=abc", host="localhost"))
    assert answer.status == 502
    shown = wait_until(
        lambda: [
            e.text for e in chrome.find_elements(By.CSS_SELECTOR, "#errors tr") if "tls_certificate_error" in e.text
        ],
        10 * SLOW,
        "the error",
    )
    assert answer.text.strip() in shown[0] and "expired" in shown[0]
    chrome.execute_script("document.querySelector('#rows li').click()")
    assert answer.text.strip() in chrome.find_element(By.ID, "details").text


@pytest.mark.h1_only("it asks an origin of either protocol")
def test_it_tells_h1_from_h2(make_proxy, serve, serve_h2, page):
    new, old = serve_h2(each(lambda s: s.respond("x"))), serve(answering(lambda r, c: ok()))
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    serial(proxy, [new.url("/a"), new.url("/b"), old.url("/c")])
    rows(chrome, 3)
    assert [e.text for e in chrome.find_elements(By.CSS_SELECTOR, "#rows .protocol")] == ["h2", "h2", "h1"]


def test_no_credentials_and_no_query(make_proxy, serve, page):
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy("log { access = off query = off }", service=True)
    chrome = page(proxy)
    with Client(proxy.port) as client:
        client.exchange("GET", origin.url("/path?token=hush"), "Authorization: Bearer hush", "Cookie: a=hush")
    rows(chrome, 1)
    assert "/path" in chrome.page_source and "hush" not in chrome.page_source


def test_markup_from_peers_is_text(make_proxy, page):
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    with Client(proxy.port) as client:
        client.send(b"GET http://no.such.invalid/<img/src=x/onerror=alert(1)> HTTP/1.1\r\nHost: x\r\n\r\n")
        client.response()
    rows(chrome, 1)
    assert not chrome.find_elements(By.CSS_SELECTOR, "#rows img, #errors img, #details img")


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


def test_it_says_when_origins_are_left_out(make_proxy, page):
    chrome = page(make_proxy(service=True))
    draw = """const origin = (name, requests) => ({origin: name, requests, failed: 0, in_flight: 0, idle: 0, busy: 0,
        opened: 0, reused: 0, certificate_expires: null});
      const some = [...Array(arguments[0]).keys()].map((n) => origin('h' + n + '.test:443', 1000 - n));
      drawOrigins(some.concat([origin('other', 1)]));
      return [[...document.querySelector('#origins').rows].map((r) => r.cells[0].textContent),
              document.querySelector('#more-origins').textContent];"""
    names, note = chrome.execute_script(draw, 500)
    assert len(names) == 101 and names[0] == "h0.test:443" and names[-1] == "other"
    assert note == "showing the 100 busiest of 500 origins"
    assert chrome.execute_script(draw, 100)[1] == ""


def test_no_rate_is_taken_across_a_restart(make_proxy, page):
    """After a look at the old process, the new one has run for longer than the old one had."""
    chrome = page(make_proxy(service=True))
    rates = chrome.execute_script(
        """const status = (uptime, exchanges) => ({version: '', draining: false, in_flight: 0, clients: 0, uptime,
          exchanges, failed: exchanges, bytes_out: exchanges, errors: {}, origins: []});
        const rate = () => document.querySelector('#rate').textContent;
        const look = (s) => { last.at -= 9000; drawStatus(s); return rate(); };
        last = null;
        drawStatus(status(1, 900));
        return [look(status(10.5, 1800)), look(status(19.5, 1800)), (last.s.uptime = 1, look(status(8, 3)))];"""
    )
    assert float(rates[0]) == pytest.approx(100, abs=2) and float(rates[1]) == 0 and float(rates[2]) >= 0, rates


def test_a_quick_one_at_the_end_is_visible(make_proxy, page):
    chrome = page(make_proxy(service=True))
    seen = chrome.execute_script(
        EXCHANGE
        + """add([exchange(1, 1e12, 60000), exchange(2, 1e12 + 59999.9, 0.1)]);
        const time = document.querySelector('#rows li:last-child .time');
        const bar = time.firstChild.getBoundingClientRect();
        return Math.min(bar.right, time.getBoundingClientRect().right) - bar.left;"""
    )
    assert seen > 1.9


def test_the_latest_sentence_of_an_error_is_shown(make_proxy, page):
    chrome = page(make_proxy(service=True))
    lines = chrome.execute_script(
        EXCHANGE
        + """add([0, 1, 2, 3, 4, 5, 0].map((host, n) => exchange(n, 1e12 + n, 1, 'h' + host + '.test')));
        return [...document.querySelectorAll('#errors div')].map((line) => line.textContent);"""
    )
    assert lines == ["h%d.test is unknown, %d" % pair for pair in ((2, 2), (3, 3), (4, 4), (5, 5), (0, 6))]


@ONCE
def test_many_exchanges_are_sampled(make_proxy, serve, page):
    """2,000 as fast as they go: rows stay bounded, and the page says that it shows not all."""
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    threads = [
        threading.Thread(target=serial, args=(proxy, [origin.url("/%d" % n) for n in range(500)])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: "of 2000 exchanges" in chrome.find_element(By.ID, "shown").text, 20 * SLOW, "all to be counted")
    assert len(chrome.find_elements(By.CSS_SELECTOR, "#rows li")) <= 500


@ONCE
def test_rows_are_bounded_and_slow_ones_are_seen(make_proxy, serve, page):
    """What was under way for long arrives last, and is shown though 500 others began later."""
    origin = serve(answering(lambda r, c: ok()))
    held = threading.Event()
    slow = serve(answering(lambda r, c: (held.wait(60 * SLOW), ok())[1]))
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    with Client(proxy.port, timeout=60) as waiting:
        waiting.request("GET", slow.url("/slow"))
        slow.wait_requests(1)
        for sent in (150, 300, 450, 600):
            serial(proxy, [origin.url("/%d" % n) for n in range(150)])
            rows(chrome, min(sent, 500))
        shown = chrome.find_element(By.ID, "shown")
        wait_until(lambda: shown.text == "showing 500 of 600 exchanges", 5 * SLOW, "the bound")
        assert len(chrome.find_elements(By.CSS_SELECTOR, "#rows li")) == 500
        held.set()
        assert waiting.response().status == 200
        wait_until(lambda: shown.text == "showing 500 of 601 exchanges", 5 * SLOW, "the slow one to arrive")
        urls = [e.text for e in chrome.find_elements(By.CSS_SELECTOR, "#rows .url")]
        assert len(urls) == 500 and urls[0].endswith("/slow")


@ONCE
def test_pause_holds_what_is_shown(make_proxy, serve, page):
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    serial(proxy, [origin.url("/a")])
    rows(chrome, 1)
    button = chrome.find_element(By.ID, "pause")
    button.click()
    serial(proxy, [origin.url("/b")])
    # The status is not paused: when it tells of the second, exchanges had several turns.
    told = lambda: [o["requests"] for o in chrome.execute_script(ORIGINS)]
    wait_until(lambda: told() == ["2"], 10 * SLOW, "the status")
    assert len(chrome.execute_script(ROWS)) == 1 and button.get_attribute("aria-pressed") == "true"
    button.click()
    rows(chrome, 2)


def test_origins_tell_what_is_under_way_and_which_certificate_ends(make_proxy, serve, page):
    held = threading.Event()
    origin = serve(answering(lambda r, c: (held.wait(60 * SLOW), ok())[1]), kind="ending_soon")
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


def test_har(make_proxy, serve, page, tmp):
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    serial(proxy, [origin.url("/a"), origin.url("/b")])
    rows(chrome, 2)
    path = str(tmp / "tlsfan.har")
    chrome.find_element(By.ID, "har").click()
    wait_until(lambda: os.path.exists(path), 10 * SLOW, "the download")
    with open(path) as f:
        log = json.load(f)["log"]
    assert log["version"] == "1.2" and log["creator"]["name"] == "tlsfan"
    assert [e["request"]["url"].rsplit("/", 1)[1] for e in log["entries"]] == ["a", "b"]
    first, second = (e["timings"] for e in log["entries"])
    assert first["ssl"] > 0 and first["connect"] >= first["ssl"] and second["ssl"] == second["connect"] == -1
    assert all(e["time"] >= e["timings"]["wait"] > 0 and e["response"]["status"] == 200 for e in log["entries"])


@ONCE
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(make_proxy, serve, page, width, scheme):
    origin = serve(answering(lambda r, c: ok()))
    proxy = make_proxy(service=True)
    chrome = page(proxy)
    chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    chrome.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        parallel(proxy, [origin.url("/%s" % ("x" * 150))] * 5)
        rows(chrome, 5)
        assert chrome.execute_script("return document.documentElement.scrollWidth") <= width
        ground = chrome.execute_script("return getComputedStyle(document.body).backgroundColor")
        dark = sum(int(c) for c in ground[4:-1].split(",")) < 200
        assert dark == (scheme == "dark"), ground
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_it_says_when_the_server_is_gone(make_proxy, chromium):
    proxy = make_proxy(service=True)
    chromium.get(proxy.service_url + "/")
    wait_until(lambda: chromium.find_element(By.ID, "version").text != "", 10 * SLOW, "the status")
    proxy.stop()
    wait_until(lambda: "does not answer" in chromium.find_element(By.ID, "state").text, 10 * SLOW, "the notice")
    proxy.start()
    wait_until(lambda: chromium.find_element(By.ID, "state").text == "", 20 * SLOW, "the notice to go")
    chromium.get("about:blank")
    chromium.get_log("browser")


def notice(chrome):
    return chrome.find_element(By.ID, "state").text


def test_it_says_when_the_server_hangs(make_proxy, chromium):
    proxy = make_proxy(service=True)
    chromium.get(proxy.service_url + "/")
    wait_until(lambda: chromium.find_element(By.ID, "version").text != "", 10 * SLOW, "the status")
    proxy.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: "does not answer" in notice(chromium), 15, "the notice")
    finally:
        proxy.signal(signal.SIGCONT)
    wait_until(lambda: notice(chromium) == "", 20 * SLOW, "the notice to go")
    chromium.get("about:blank")
    chromium.get_log("browser")


def test_the_notice_goes_while_paused(make_proxy, chromium):
    proxy = make_proxy(service=True)
    chromium.get(proxy.service_url + "/")
    wait_until(lambda: chromium.find_element(By.ID, "version").text != "", 10 * SLOW, "the status")
    proxy.stop()
    wait_until(lambda: "does not answer" in notice(chromium), 10 * SLOW, "the notice")
    chromium.find_element(By.ID, "pause").click()
    proxy.start()
    wait_until(lambda: notice(chromium) == "", 20 * SLOW, "the notice to go")
    chromium.get("about:blank")
    chromium.get_log("browser")
