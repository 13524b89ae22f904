# SPDX-License-Identifier: Apache-2.0
"""What the live page makes of what it is told: axis, order, filter, sums, keys, pause; axe-core finds nothing."""
import os

import pytest

from testenv import SLOW
from testenv.browser import (ROWS, RUNNING, TOLD, all_of, chromium, har_of, judge, keys, look_at, press, rows, tell,
                             text, type_filter, wait_text)
from testenv.npm import npm_modules
from testenv.proxy import Proxy, binary
from testenv.wait import wait_until

pytest.importorskip("selenium")
jsonschema = pytest.importorskip("jsonschema")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

__all__ = ["chromium"]
pytestmark = pytest.mark.unsanitized("drives Chromium, and answers in place of the program")
NPM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "browser")
WIDE = ("return [...document.querySelectorAll('#rows .body > [role=row]:not(.details)')]"
        ".map((row) => row.querySelector('.url').textContent)")


@pytest.fixture(scope="module")
def proxy(tmp):
    """It serves the page; what the page asks for, the test tells."""
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    made = Proxy(tmp, service=True)
    yield made
    made.stop()


@pytest.fixture
def page(chromium, proxy):
    """The page, to be told things with tell(); its console is judged at the end."""
    chromium.get_log("browser")
    added = chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": TOLD})
    look_at(chromium)
    chromium.get(proxy.service_url + "/")
    wait_text(chromium, "#version", "0")
    yield chromium
    chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    judge(chromium)


@pytest.fixture(scope="module")
def modules(tmp):
    """axe-core and the schema of HAR, from npm; package-lock.json says which, with their sums."""
    return npm_modules(NPM, str(tmp / "browser"), "axe-core and the schema of HAR")


def urls(chrome, count, timeout=10):
    return all_of(chrome, WIDE, count, timeout)


def numbers(chrome, count):
    return [url.rsplit("/", 1)[1] for url in urls(chrome, count)]


# ---- the axis

SERIAL = "told.exchanges.push(...[...Array(10).keys()].map((n) => exchange(100 + n, %s + 101 * n, 100)));"
AT_ONCE = "told.exchanges.push(...[...Array(10).keys()].map((n) => exchange(100 + n, %s + n / 10, 100)));"


def bars(chrome, count=10):
    """The bars of the last COUNT rows, from left to right."""
    found = rows(chrome, count + 1)[-count:]
    return sorted(found, key=lambda r: r["left"])


def test_serial_bars_are_told_apart_after_a_minute_of_silence(page):
    tell(page, "told.exchanges.push(exchange(1, 1e12, 100));" + SERIAL % "1e12 + 60000")
    found = bars(page)
    assert all(r["width"] >= 25 for r in found), [r["width"] for r in found]
    assert all(b["left"] >= a["right"] - 0.5 for a, b in zip(found, found[1:]))
    fold = page.find_element(By.CSS_SELECTOR, "#scale .fold")
    assert fold.text == "59.9 s" and float(fold.get_attribute("data-ms")) == 59900
    assert 20 < fold.size["width"] < found[0]["width"] * 2


def test_parallel_bars_stand_in_a_column_after_a_minute_of_silence(page):
    tell(page, "told.exchanges.push(exchange(1, 1e12, 100));" + AT_ONCE % "1e12 + 60000")
    found = bars(page)
    assert all(r["width"] >= 100 for r in found), [r["width"] for r in found]
    assert max(r["left"] for r in found) < min(r["right"] for r in found) - 90


def test_a_tunnel_of_an_hour_does_not_flatten_the_others(page):
    tell(page, "told.exchanges.push(exchange(1, 1e12, 3600000, {method: 'CONNECT'}));" + SERIAL % "1e12 + 1800000")
    assert all(r["width"] >= 25 for r in bars(page))


def test_no_fold_where_there_is_no_silence(page):
    tell(page, SERIAL % "1e12")
    rows(page, 10)
    assert not page.find_elements(By.CSS_SELECTOR, "#scale .fold")


def test_the_axis_follows_what_is_in_view(page):
    """The first hundred took a second each, the last hundred a thousandth of it."""
    tell(page, "for (let n = 0; n < 200; n++) told.exchanges.push(n < 100 ? exchange(n, 1e12 + 1000 * n, 1000)"
         " : exchange(n, 1e12 + 1e5 + n, 1));")
    wait_text(page, "#benefit", "200 exchanges")
    widths = """return [...document.querySelectorAll('#rows .span')].slice(%s)
      .map((e) => e.getBoundingClientRect().width)"""
    assert all(w > 8 for w in page.execute_script(widths % "-5"))
    page.execute_script("document.querySelector('#rows').scrollTop = 0")
    wait_until(lambda: text(page, "#rows .body .url").endswith("/0"), 5, "the first")
    assert all(w > 8 for w in page.execute_script(widths % "0, 5"))


def test_a_quick_one_at_the_end_is_visible(page):
    tell(page, "told.exchanges.push(exchange(1, 1e12, 60000), exchange(2, 1e12 + 59999.9, 0.1));")
    rows(page, 2)
    seen = page.execute_script(
        """const time = document.querySelector('#rows .body > :last-child .time');
        const bar = time.firstChild.getBoundingClientRect();
        return Math.min(bar.right, time.getBoundingClientRect().right) - bar.left;"""
    )
    assert seen > 1.9


# ---- zoom

def drag(chrome, selector, share_from, share_to):
    e = chrome.find_element(By.CSS_SELECTOR, selector)
    width = e.size["width"]
    moves = ActionChains(chrome, duration=30)
    moves.move_to_element_with_offset(e, round((share_from - 0.5) * width), 0).click_and_hold()
    moves.move_by_offset(round((share_to - share_from) / 2 * width), 0)
    moves.move_by_offset(round((share_to - share_from) / 2 * width), 0).release().perform()


@pytest.mark.parametrize("where", ["#scale", "#rows .body > :nth-child(8) .time"])
def test_drag_zooms_and_escape_goes_back(page, where):
    tell(page, SERIAL % "1e12")
    before = rows(page, 10)[2]["width"]
    drag(page, where, 0.21, 0.39)  # the third and the fourth of ten
    assert numbers(page, 2) == ["102", "103"]
    assert rows(page, 2)[0]["width"] > 4 * before
    assert text(page, "#benefit").startswith("2 exchanges, 0.200 s of waiting in 0.200 s")
    assert page.find_element(By.ID, "whole").is_displayed()
    keys(page, Keys.ESCAPE)
    assert len(numbers(page, 10)) == 10 and not page.find_element(By.ID, "whole").is_displayed()


def test_zoom_by_keyboard(page):
    tell(page, SERIAL % "1e12")
    rows(page, 10)
    page.execute_script("document.querySelector('#rows').focus()")
    keys(page, Keys.HOME, Keys.ARROW_DOWN, "z")
    wait_until(lambda: text(page, "#shown").startswith("3 of 10"), 5, "itself and its neighbours")
    press(page, "#whole")
    assert len(rows(page, 10)) == 10


def test_a_button_that_is_let_go_outside_ends_the_drag(page):
    tell(page, SERIAL % "1e12")
    rows(page, 10)
    cell = page.find_element(By.CSS_SELECTOR, "#rows .body > :nth-child(3) .time")
    outside = page.find_element(By.TAG_NAME, "h1")
    moves = ActionChains(page, duration=0).move_to_element(cell).click_and_hold().move_to_element(outside).release()
    moves.move_to_element(cell).move_by_offset(40, 0).perform()
    assert not page.find_elements(By.CSS_SELECTOR, "#rows.dragged")
    cell.click()
    assert page.find_element(By.CSS_SELECTOR, "#rows .details").is_displayed()


def test_a_click_on_a_bar_is_no_drag(page):
    tell(page, SERIAL % "1e12")
    rows(page, 10)
    page.find_element(By.CSS_SELECTOR, "#rows .body > :nth-child(3) .time").click()
    assert page.find_element(By.CSS_SELECTOR, "#rows .details").is_displayed()


def test_text_that_is_marked_elsewhere_stops_no_click(page):
    tell(page, SERIAL % "1e12")
    rows(page, 10)
    page.execute_script("getSelection().selectAllChildren(document.querySelector('h2'))")
    page.find_element(By.CSS_SELECTOR, "#rows .body > :nth-child(3) .time").click()
    assert page.find_element(By.CSS_SELECTOR, "#rows .details").is_displayed()


# ---- sums

def test_the_benefit_is_a_figure(page):
    tell(page, "for (let n = 0; n < 10; n++)"
         "  told.exchanges.push(exchange(n, 1e12 + n, 1031, {url: 'http://b.test/' + n}));"
         "told.exchanges.push(exchange(20, 1e12 + 90000, 500), exchange(21, 1e12, 90000, {method: 'CONNECT'}),"
         "  failed(22, 1e12 + 95000, {method: 'CONNECT'}));")
    wait_text(page, "#benefit", "12 exchanges and 1 tunnel, 10.8 s of waiting in 1.54 s (10 at once)")
    type_filter(page, "b.test")
    assert text(page, "#benefit") == "10 exchanges, 10.3 s of waiting in 1.04 s (10 at once)"
    assert text(page, "#shown") == "10 of 13 match"
    type_filter(page, "nothing of that kind")
    assert text(page, "#benefit") == "" and page.find_element(By.ID, "empty").is_displayed()


# ---- filter and order

MIXED = """told.exchanges.push(
  exchange(1, 1e12, 300, {method: 'POST', host: 'one.test', url: 'http://one.test/orders'}),
  exchange(2, 1e12 + 1, 100, {host: 'two.test', url: 'http://two.test/items', protocol: 'h2', body: 9}),
  refused(3, 1e12 + 2), failed(4, 1e12 + 3, {body: 2000}));"""


FOUND = {
    "one": ["orders"], "ITEMS": ["items"], "404": ["3"], "post": ["orders"], "dns_error": ["4"], "is unknown": ["4"],
    "get test": ["items", "3", "4"], "h2": ["items"], "": ["orders", "items", "3", "4"]}


def test_filter_by_any_text(page):
    tell(page, MIXED)
    rows(page, 4)
    for wanted, found in FOUND.items():
        type_filter(page, wanted)
        assert numbers(page, len(found)) == found, wanted


def test_failed_only(page):
    tell(page, MIXED)
    rows(page, 4)
    press(page, "#failed-only")
    found = rows(page, 2)
    assert [(r["status"], r["mark"]) for r in found] == [("404", "refused"), ("502", "failed")]
    press(page, "#failed-only")
    assert len(rows(page, 4)) == 4


ORDERS = {
    "ms": ["3", "4", "items", "orders"], "status": ["orders", "items", "3", "4"],
    "method": ["items", "3", "4", "orders"], "url": ["3", "4", "orders", "items"],
    "size": ["items", "orders", "3", "4"], "protocol": ["4", "orders", "3", "items"]}


def test_heads_sort(page):
    """One way, the other, and as they began."""
    tell(page, MIXED)
    rows(page, 4)
    for column, up in ORDERS.items():
        head = "#rows [data-column=%s]" % column
        state = lambda: page.execute_script("return document.querySelector(arguments[0]).ariaSort", head)
        press(page, head + " button")
        assert (numbers(page, 4), state()) == (up, "ascending")
        press(page, head + " button")
        assert state() == "descending" and numbers(page, 4)[0] == up[-1]
        press(page, head + " button")
        assert (numbers(page, 4), state()) == (["orders", "items", "3", "4"], "none")


# ---- thousands

MANY = "for (let n = 0; n < 5000; n++) told.exchanges.push(exchange(n, 1e12 + 10 * n, 9));"


def test_the_end_is_followed_when_what_was_open_is_gone(page):
    tell(page, "told.exchanges.push(exchange(1, 1e12, 5));")
    rows(page, 1)
    press(page, "#rows .body > [role=row]")
    tell(page, MANY)
    wait_text(page, "#shown", "showing 3000 of 5001 exchanges")
    page.execute_script("const e = document.querySelector('#rows'); e.scrollTop = e.scrollHeight")
    tell(page, "told.exchanges.push(exchange(7000, 2e12, 5));")
    wait_until(lambda: page.execute_script(WIDE)[-1] == "a.test/7000", 10 * SLOW, "the last one")
    below = "const e = document.querySelector('#rows'); return e.scrollHeight - e.scrollTop - e.clientHeight"
    assert page.execute_script(below) < 2


@pytest.mark.parametrize("width", [1280, 400])
def test_heads_are_whole(page, width):
    look_at(page, width, 800)
    tell(page, "told.exchanges.push(exchange(1, 1e12, 5));")
    rows(page, 1)
    cut = """return [...document.querySelectorAll('#rows [data-column]')].filter((e) => {
      e.firstChild.click();
      return e.scrollWidth > e.clientWidth; }).map((e) => e.dataset.column)"""
    assert page.execute_script(cut) == []


def test_thousands_are_few_elements(page):
    tell(page, MANY)
    wait_text(page, "#shown", "showing 3000 of 5000 exchanges")
    count = lambda: page.execute_script("return document.querySelectorAll('#rows [role=row]').length")
    assert count() < 100 and numbers(page, 1)[-1] == "4999"
    assert page.execute_script("return document.querySelector('#rows').ariaRowCount") == "3001"
    page.execute_script("document.querySelector('#rows').scrollTop = 0")
    wait_until(lambda: numbers(page, 1)[0] == "2000", 5, "the first")
    page.execute_script("document.querySelector('#rows').scrollTop = 1000 * 20")
    found = wait_until(lambda: (lambda r: r if any(x["url"] == "a.test/3000" for x in r) else None)(
        page.execute_script(ROWS)), 5, "those in the middle")
    assert [x["index"] for x in found if x["url"] == "a.test/3000"] == [1002] and count() < 100


def test_one_picture_of_thousands_is_quick(page):
    tell(page, MANY)
    wait_text(page, "#shown", "showing 3000 of 5000 exchanges")
    took = page.execute_script("""const e = document.querySelector('#filter');
      const began = performance.now();
      for (let n = 0; n < 20; n++) { e.value = '/' + n; e.dispatchEvent(new Event('input')); }
      return (performance.now() - began) / 20;""")
    assert took < 100 * SLOW, took


def test_what_is_read_stays_where_it_is(page):
    """Further rows do not move those that a person has scrolled to."""
    tell(page, "for (let n = 0; n < 300; n++) told.exchanges.push(exchange(n, 1e12 + 10 * n, 9));")
    wait_text(page, "#benefit", "300 exchanges")
    place = """const found = [...document.querySelectorAll('#rows .body > [role=row]')];
      const row = found.find((e) => e.querySelector('.url').textContent === 'a.test/100');
      return row ? Math.round(row.getBoundingClientRect().top) : null"""
    page.execute_script("document.querySelector('#rows').scrollTop = 95 * 20")
    before = wait_until(lambda: page.execute_script(place), 5, "the row")
    # They come before it.
    tell(page, "for (let n = 0; n < 50; n++) told.exchanges.push(exchange(1000 + n, 1e12 - 10 * n, 9));")
    wait_text(page, "#benefit", "350 exchanges")
    assert page.execute_script(place) == before


def test_the_end_is_followed(page):
    tell(page, "for (let n = 0; n < 300; n++) told.exchanges.push(exchange(n, 1e12 + 10 * n, 9));")
    wait_until(lambda: numbers(page, 1)[-1] == "299", 5, "the last")
    tell(page, "told.exchanges.push(exchange(300, 1e12 + 4000, 9));")
    wait_until(lambda: numbers(page, 1)[-1] == "300", 5, "the next")


# ---- what runs

def test_what_hangs_is_the_first_thing_one_sees(page):
    tell(page, "told.running = [running(1, 42000, {host: 'slow.test', url: 'http://slow.test/report'}),"
         " running(2, 300, {phase: 'connect', ms: {connect: 300, total: 300}})];" + SERIAL % "1e12")
    found = all_of(page, RUNNING, 2)
    assert [(r["url"], r["phase"]) for r in found] == [("slow.test/report", "wait"), ("a.test/2", "connect")]
    assert found[0]["width"] > 20 * found[1]["width"] and text(page, "#under-way") == "2"
    tops = [page.find_element(By.CSS_SELECTOR, e).location["y"] for e in ("#running", "#rows")]
    assert tops[0] < tops[1] < 900
    wait_until(lambda: page.execute_script(RUNNING)[0]["width"] > found[0]["width"] + 1, 10, "the bar to grow")
    assert float(page.execute_script(RUNNING)[0]["ms"].split()[0]) > 42
    assert "long" in page.find_element(By.CSS_SELECTOR, "#running .body > [role=row]").get_attribute("class")


def test_details_of_what_runs_go_on_when_it_has_ended(page):
    tell(page, "told.running = [running(1, 2000)];")
    all_of(page, RUNNING, 1)
    press(page, "#running .body > [role=row]")
    assert "waits for the head of the answer" in text(page, "#running .details")
    tell(page, "told.running = []; told.exchanges.push(exchange(1, 1e12, 2500));")
    rows(page, 1)
    assert "2.50 s" in text(page, "#rows .details") and not page.execute_script(RUNNING)


def test_the_list_of_what_runs_does_not_jump(page):
    """It keeps its height for some seconds when requests end."""
    tell(page, "told.running = [1, 2, 3, 4, 5].map((n) => running(n, 100 * n));")
    all_of(page, RUNNING, 5)
    height = lambda: page.find_element(By.ID, "running").size["height"]
    before = height()
    tell(page, "told.running = [];")
    wait_until(lambda: not page.execute_script(RUNNING), 5, "them to go")
    assert height() == before


def test_workers_that_hang_are_named(page):
    tell(page, "told.silent = [{worker: 2, ms: 101.5}, {worker: 3, ms: 2301.5}];")
    wait_text(page, "#silent", "Worker 3 has not answered for 2.30 s")
    assert "Worker 2" not in text(page, "#silent"), "it is busy"
    tell(page, "told.silent = [];")
    wait_until(lambda: text(page, "#silent") == "", 5, "the notice to go")


# ---- failures

def test_failures_are_kept_apart(page):
    tell(page, "told.failures.push(...[1, 2, 3].map((n) => failed(n, 1e12 + n)), refused(4, 1e12 + 10));" + MANY)
    wait_text(page, "#shown", "showing 3000 of 5000 exchanges")
    shown = all_of(page, "return [...document.querySelectorAll('#failures tr')].map((r) => r.textContent)", 4)
    assert len(shown) == 4 and "404" in shown[0] and "no.test is unknown, 3" in shown[1] and "dns_error" in shown[1]
    press(page, "#clear")
    assert len(page.find_elements(By.CSS_SELECTOR, "#failures tr")) == 4
    press(page, "#failures tr:nth-child(2) button")
    assert "no.test is unknown, 3" in text(page, "#failures .details")
    for n in (0, 150):
        tell(page, "for (let n = 0; n < 150; n++) told.failures.push(failed(1000 + %d + n, 1e12 + 1000 + n));" % n)
    wait_until(lambda: len(page.find_elements(By.CSS_SELECTOR, "#failures tr.failed")) == 100, 10 * SLOW, "the bound")
    assert len(page.find_elements(By.CSS_SELECTOR, "#failures tr.refused")) == 1


def test_an_answer_that_came_is_not_denied(page):
    """Its fields are noted only while somebody watches: it may have broken off without them."""
    tell(page, """const request = {fields: [{name: 'Host', size: 6}], more: 0};
      told.exchanges.push(failed(1, 1e12, {request}), failed(2, 2e12, {request, status: 200,
        error: 'http_response_incomplete', sentence: 'the response broke off before its end'}));""")
    rows(page, 2)
    for n, said in ((1, "No answer came."), (2, "Not kept")):
        press(page, "#rows .body > [role=row]:nth-child(%d)" % n)
        part = "return [...document.querySelectorAll('#rows .details .part')].pop().textContent"
        wait_until(lambda: said in (page.execute_script(part) or ""), 10, said)
        press(page, "#rows .body > [role=row]:nth-child(%d)" % n)


@pytest.mark.parametrize("table", ["failures", "origins"])
def test_marked_text_stays(page, table):
    """What is told meanwhile is drawn when nothing is marked any more."""
    more = """told.failures.push(failed(%d, 1e12 + %d)); told.status.failed += 1;
      told.status.origins.push(origin('more%d.test:443'));"""
    tell(page, more % (1, 1, 1))
    cells = "return [...document.querySelectorAll('#%s td')]" % table
    all_of(page, cells, 5)
    page.execute_script("getSelection().selectAllChildren(document.querySelectorAll('#%s td')[3])" % table)
    marked = page.execute_script("return getSelection().toString()")
    tell(page, more % (2, 2, 2))
    wait_text(page, "#failed", "2")
    assert marked and page.execute_script("return getSelection().toString()") == marked
    page.execute_script("getSelection().removeAllRanges()")
    all_of(page, "return [...document.querySelectorAll('#%s tr')]" % table, 2)


def failed_numbers(page):
    return page.execute_script("""return [...document.querySelectorAll('#failures .sentence')]
      .map((e) => e.textContent.split(', ')[1])""")


def test_a_clock_that_is_set_back_turns_nothing_round(page):
    """What was told by the old clock goes along: what comes last stands last."""
    tell(page, "for (let n = 0; n < 100; n++) {"
         "  told.exchanges.push(exchange(n, 1e12 + 10 * n, 9)); told.failures.push(failed(n, 1e12 + 10 * n)); }")
    wait_text(page, "#benefit", "100 exchanges")
    all_of(page, "return [...document.querySelectorAll('#failures tr')]", 100)
    tell(page, "const back = 3600000; told.clock -= back;"
         "told.exchanges.push(exchange(200, 1e12 + 2000 - back, 9));"
         "told.failures.push(failed(200, 1e12 + 2000 - back));")
    wait_text(page, "#benefit", "101 exchanges")
    assert numbers(page, 1)[-2:] == ["99", "200"]
    assert not page.find_elements(By.CSS_SELECTOR, "#scale .fold[data-ms='3598001']")
    wait_until(lambda: failed_numbers(page)[:2] == ["200", "99"], 10 * SLOW, lambda: failed_numbers(page)[:3])
    spans = rows(page, 2)[-2:]
    assert spans[0]["end"] < spans[1]["start"] < spans[0]["end"] + 2000


@pytest.mark.parametrize("width", [1280, 400])
def test_a_long_path_does_not_hide_the_host(page, width):
    look_at(page, width, 900)
    tell(page, """told.exchanges.push(exchange(1, 1e12, 5, {url: 'http://api.test/' + 'p'.repeat(140)}),
      exchange(2, 1e12, 5, {url: 'http://' + 'h'.repeat(140) + '/p'}),
      exchange(3, 1e12, 5, {method: 'CONNECT', url: 'a.test:443'}));""")
    rows(page, 3)
    whole = """return [...document.querySelectorAll('#rows .body .%s')].map((e) => e.scrollWidth <= e.clientWidth)"""
    assert page.execute_script(whole % "host") == [True, False, True]
    assert page.execute_script(whole % "path") == [False, True, True]
    assert page.execute_script(whole % "method") == [True, True, True]


def test_the_failure_that_is_read_stays_where_it_is(page):
    tell(page, "for (let n = 0; n < 30; n++) told.failures.push(failed(n, 1e12 + n));")
    all_of(page, "return [...document.querySelectorAll('#failures tr')]", 30)
    press(page, "#failures tr:nth-child(5) button")
    top = "return document.querySelector('#failures .details').getBoundingClientRect().top"
    before = page.execute_script(top)
    tell(page, "for (let n = 30; n < 40; n++) told.failures.push(failed(n, 1e12 + n));")
    all_of(page, "return [...document.querySelectorAll('#failures tr')]", 41)
    assert abs(page.execute_script(top) - before) < 1


@pytest.mark.parametrize("width", [1280, 400])
def test_the_longest_host_leaves_room_for_what_happened(page, width):
    look_at(page, width, 900)
    host = ".".join(["h" * 61] * 4) + ".test"
    tell(page, "told.failures.push(failed(1, 1e12, {host: '%s'}));"
         "told.status.origins = [origin('%s:443'), origin('a.test:443')];" % (host, host))
    tell(page, "told.failures.push(failed(2, 1e12, {sentence: 'x'.repeat(90) + ' no'.repeat(60)}));")
    wait_text(page, "#origins", host)
    wait_text(page, "#failures", "xxx")
    press(page, "#failures button")
    inner = page.execute_script("""const wide = (id) => {
        const e = document.querySelector(id);
        return e.scrollWidth <= e.clientWidth; };
      return [wide('#failures-table'), wide('[aria-label="Table of origins"]')]""")
    assert inner[0] and (inner[1] or width < 1280), inner
    wrapped = "return document.querySelector('#origins').rows[1].cells[0].offsetHeight"
    assert page.execute_script(wrapped) < 40, "a short name is not wrapped for the sake of a long one"


def test_how_often_each_error_was(page):
    tell(page, "told.status.errors = {dns_error: 3, tls_certificate_error: 12};" + MIXED)
    wait_text(page, "#errors", "tls_certificate_error 12")
    shown = [e.text for e in page.find_elements(By.CSS_SELECTOR, "#errors li")]
    assert shown == ["tls_certificate_error 12", "dns_error 3"]
    press(page, "#errors [data-error=dns_error]")
    assert numbers(page, 1) == ["4"]


# ---- pause

def test_pause_loses_nothing(page):
    tell(page, "told.exchanges.push(exchange(1, 1e12, 5));")
    rows(page, 1)
    press(page, "#pause")
    tell(page, "for (let n = 0; n < 1200; n++) told.exchanges.push(exchange(10 + n, 1e12 + 10 + n, 5));"
         "told.gone = 7;")
    wait_text(page, "#waiting", "1200 wait, 7 are lost")
    assert len(rows(page, 1)) == 1 and page.find_element(By.ID, "pause").get_attribute("aria-pressed") == "true"
    press(page, "#pause")
    wait_text(page, "#benefit", "1201 exchanges")
    assert text(page, "#shown") == "showing 1201 of 1208 exchanges" and text(page, "#waiting") == ""


@pytest.mark.parametrize("width", [1280, 400])
def test_pause_moves_nothing(page, width):
    """Who wants to go on presses where the other word was."""
    look_at(page, width, 900)
    tell(page, "told.exchanges.push(exchange(1, 1e12, 5));")
    rows(page, 1)
    boxes = """return ['#pause', '#clear', '#har', '#rows'].map((e) => document.querySelector(e))
      .map((e) => e.getBoundingClientRect()).map((box) => [box.left, box.top])"""
    before = page.execute_script(boxes)
    press(page, "#pause")
    tell(page, "for (let n = 0; n < 1200; n++) told.exchanges.push(exchange(10 + n, 1e12 + 10 + n, 5));"
         "told.gone = 70000;")
    wait_text(page, "#waiting", "1200 wait, 70000 are lost")
    assert page.execute_script(boxes) == before


# ---- what runs

def test_a_few_that_run_move_nothing(page):
    top = "return document.querySelector('#rows').getBoundingClientRect().top"
    before = page.execute_script(top)
    tell(page, "told.running = [running(1, 42000), running(2, 100)];")
    all_of(page, RUNNING, 2)
    assert page.execute_script(top) == before
    tell(page, "told.running = [...Array(9).keys()].map((n) => running(n, 50));")
    all_of(page, RUNNING, 9)
    after = page.execute_script(top)
    tell(page, "told.running = [];")
    wait_text(page, "#under-way", "none")
    assert page.execute_script(top) == after > before


def test_what_hangs_is_marked_and_a_tunnel_is_not(page):
    tell(page, "told.running = [running(1, 42000), running(2, 41000, {method: 'CONNECT', phase: 'connect'}),"
         "  running(3, 900000, {method: 'CONNECT', phase: 'transfer'})];")
    all_of(page, RUNNING, 3)
    marked = "return [...document.querySelectorAll('#running .body .long .url')].map((e) => e.textContent)"
    wait_until(lambda: page.execute_script(marked) == ["a.test/1", "a.test/2"], 10 * SLOW,
               lambda: page.execute_script(marked))
    assert page.find_element(By.ID, "oldest").get_attribute("class") == "warn"
    assert text(page, "#empty-why") == "Nothing has ended yet." and not page.find_element(By.ID, "curl").is_displayed()


def test_nothing_grows_while_nobody_answers(page):
    """What was under way may be over; the notice says how old the picture is."""
    tell(page, "told.running = [running(1, 4200)];")
    all_of(page, RUNNING, 1)
    page.execute_script("window.fetch = async () => { throw new Error('gone'); }")
    wait_text(page, "#state", "tlsfan does not answer; trying again. What is shown is of ")
    age = lambda: page.execute_script(RUNNING)[0]["ms"]
    later = "const e = document.querySelector('#running .ms');"\
            "setTimeout(() => arguments[0](e.textContent), 900)"
    last = wait_until(lambda: (lambda now: now if now == page.execute_async_script(later) else None)(age()), 10 * SLOW,
                      "the age to stand still")
    assert last.endswith(" s")


# ---- keys and what is read aloud

def active(chrome):
    return chrome.execute_script(
        """const grid = document.querySelector('#rows');
        const row = document.getElementById(grid.getAttribute('aria-activedescendant'));
        const isIt = row && document.activeElement === grid && row.ariaSelected === 'true';
        return isIt && row.querySelector('.url').textContent""")


def test_keys(page):
    tell(page, "for (let n = 0; n < 300; n++) told.exchanges.push(exchange(n, 1e12 + 10 * n, 9));")
    wait_text(page, "#benefit", "300 exchanges")
    page.execute_script("document.querySelector('#rows').focus()")
    found = []
    for key in (Keys.HOME, Keys.ARROW_DOWN, Keys.PAGE_DOWN, Keys.ARROW_UP, Keys.PAGE_UP, Keys.END, Keys.ARROW_UP):
        keys(page, key)
        found.append(int(active(page).split("/")[1]))
    page_rows = found[2] - found[1]
    assert found[:2] == [0, 1] and page_rows > 10 and found[3:] == [page_rows, 0, 299, 298]
    box = page.execute_script(
        """const box = (e) => document.querySelector(e).getBoundingClientRect();
        const [grid, row] = [box('#rows'), box('[aria-selected=true]')];
        return [grid.top, row.top, row.bottom, grid.bottom]""")
    assert box == sorted(box)


def test_enter_opens_details_and_escape_closes_them(page):
    tell(page, "for (let n = 0; n < 300; n++) told.exchanges.push(exchange(n, 1e12 + 10 * n, 9));")
    wait_text(page, "#benefit", "300 exchanges")
    page.execute_script("document.querySelector('#rows').focus()")
    opened = lambda: page.execute_script(
        """const e = document.querySelector('#rows .details'), before = e && e.previousSibling;
        return e && before.ariaExpanded === 'true' && before.querySelector('.url').textContent""")
    keys(page, Keys.HOME, Keys.ENTER)
    assert opened() == "a.test/0"
    keys(page, Keys.ARROW_DOWN)
    assert opened() == "a.test/1"
    keys(page, Keys.ESCAPE)
    assert not opened() and active(page) == "a.test/1"
    keys(page, Keys.ARROW_RIGHT)
    assert opened() == "a.test/1"
    keys(page, Keys.ARROW_LEFT)
    assert not opened()


def test_slash_goes_to_the_filter_and_escape_leaves_it(page):
    tell(page, MIXED)
    rows(page, 4)
    keys(page, "/")
    keys(page, "one")
    assert numbers(page, 1) == ["orders"] and len(rows(page)) == 1
    keys(page, Keys.ESCAPE)
    assert len(rows(page, 4)) == 4 and page.execute_script("return document.activeElement.id") == "rows"


def test_a_row_says_its_content(page):
    """Chromium's own tree of what a screen reader gets."""
    tell(page, "told.exchanges.push(refused(1, 1e12, {ms: {dns: 20, wait: 100, total: 120}}));")
    rows(page, 1)
    tree = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    value = lambda node, what: node.get(what, {}).get("value")
    names = [value(n, "name") for n in tree if value(n, "role") == "row" and "a.test/1" in (value(n, "name") or "")]
    assert len(names) == 1, names
    for part in ("GET", "a.test/1", "404", "refused", "120 ms", "DNS 20.0 ms, wait 100 ms"):
        assert part in names[0], names
    assert any(value(n, "role") == "treegrid" and value(n, "name") == "Exchanges" for n in tree)


def test_what_is_said_aloud_has_its_place_before(page):
    """What appears together with its text is not announced."""
    tree = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    assert sum(n.get("role", {}).get("value") == "status" for n in tree) == 3


def test_the_title_names_host_and_failures(page, proxy):
    host = "127.0.0.1:%d" % proxy.service_port
    assert page.title == host + " – tlsfan"
    tell(page, "told.status.failed = 3;")
    wait_until(lambda: page.title == "(3 failed) " + host + " – tlsfan", 10 * SLOW, "the title")


def test_figures_do_not_jump(page):
    boxes = """return [...document.querySelectorAll('#figures dd, #pause, #clear, #har')]
      .map((e) => e.getBoundingClientRect().left)"""
    before = page.execute_script(boxes)
    tell(page, "Object.assign(told.status, {in_flight: 12345, clients: 9999, failed: 123456, exchanges: 1e7,"
         "  bytes_out: 1e12, uptime: 86000});")
    wait_text(page, "#in-flight", "12345")
    assert page.execute_script(boxes) == before
    style = "return getComputedStyle(document.querySelector('#rows')).fontVariantNumeric"
    assert "tabular-nums" in page.execute_script(style)


@pytest.mark.parametrize("width, scheme, what", [(1280, "light", "all"), (1280, "dark", "all"), (400, "light", "all"),
                                                 (400, "dark", "all"), (1280, "light", "empty")])
def test_axe_finds_nothing(page, modules, width, scheme, what):
    look_at(page, width, 900, scheme)
    if what == "all":
        tell(page, MIXED + "const request = {fields: [{name: 'Accept', size: 3}], more: 2};"
             "told.exchanges.push(exchange(9, 1e12 + 60000, 10, {request}));"
             "told.running = [running(50, 42000), running(51, 100)];"
             "told.failures.push(failed(4, 1e12), refused(3, 1e12));"
             "told.status.errors = {dns_error: 1}; told.silent = [{worker: 1, ms: 500}];"
             "told.status.origins = [origin('a.test:443', {certificate_expires: '2020-01-01T00:00:00Z'})];")
        rows(page, 5)
        wait_text(page, "#origins", "a.test:443")
        wait_text(page, "#failures", "404")
        press(page, "#rows .body > :last-child")
        press(page, "#failures button")
        press(page, "#pause")
    with open(os.path.join(modules, "axe-core", "axe.min.js"), encoding="utf-8") as file:
        page.execute_script(file.read())
    result = page.execute_async_script("axe.run().then(arguments[0])")
    assert len(result["passes"]) > 20
    assert not result["violations"], [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in result["violations"]]


# ---- the rest

PROXIES = {
    "127.0.0.1:3128": "http://127.0.0.1:3128", "0.0.0.0:3128": "http://127.0.0.1:3128", "[::1]:8": "http://[::1]:8",
    "": "", "tls:10.0.0.1:3130": "https://10.0.0.1:3130", "unix:/run/x": ""}


def test_the_empty_page_says_what_to_do(page):
    for address, url in PROXIES.items():
        tell(page, "told.status.proxy = %r;" % address)
        command = url and "curl -x %s http://example.com/" % url
        wait_until(lambda: text(page, "#curl") == command, 10 * SLOW, lambda: text(page, "#curl"))
        assert page.find_element(By.ID, "curl").is_displayed() == bool(url)
    assert "Send a request through the proxy" in text(page, "#empty-why")


def test_it_says_when_it_is_refused(page):
    page.execute_script("window.fetch = async () => ({ok: false, status: 401})")
    wait_text(page, "#state", "tlsfan answers 401 to this page: reload it.")


def test_text_of_peers_is_text(page):
    evil = "<img src=x onerror=alert(1)><b>bold</b>"
    tell(page, """const evil = %r;
      const fields = {fields: [{name: evil, size: 3, value: evil}], more: 0};
      const more = {method: evil, url: 'http://a.test/' + evil, host: evil, error: evil, sentence: evil, protocol: evil,
        client: evil, tls: evil, upstream: evil, origin: evil, parent: evil, client_connection: evil, user: evil,
        upstream_connection: evil, doing: evil, request: fields, response: fields};
      told.exchanges.push(failed(1, 1e12, more));
      told.failures.push(failed(1, 1e12, more));
      told.running = [running(2, 500, {...more, phase: evil})];
      Object.assign(told.status, {errors: {[evil]: 1}, proxy: evil + ':1', version: evil, origins: [
        origin(evil, {certificate: {subject: evil, issuer: evil, expires: '2020-01-01T00:00:00Z'}})]});""" % evil)
    rows(page, 1)
    wait_text(page, "#origins", evil)
    wait_text(page, "#failures", evil)
    all_of(page, RUNNING, 1)
    for what in ("#rows .body > [role=row]", "#failures button", "#running .body > [role=row]"):
        press(page, what)
    assert text(page, "#rows .details").count(evil) > 8 and "CN" not in text(page, "#rows .details")
    assert not page.find_elements(By.CSS_SELECTOR, "main img, main b:not(#benefit, #under-way, #errors b), header img")


def test_har_is_valid(page, modules):
    tell(page, "told.status.version = '1.2.3';" + MIXED + """
      const fields = {fields: [{name: 'Content-Type', size: 9, value: 'text/html'},
        {name: 'X-Key', size: 8, hidden: true}], more: 0};
      const ms = {queue: 1, dns: 2, connect: 3, tls: 4, send: 5, wait: 75, transfer: 10, total: 100};
      told.exchanges.push(
        exchange(5, 1e12 + 9, 100, {address: '2001:db8::1', upstream: '[2001:db8::1]:443',
          url: 'http://a.test/?a=1&b=%20<x>', request: fields, response: fields, ms}),
        exchange(6, 1e12 + 10, 100, {method: 'CONNECT', url: 'a.test:443', body: 0}),
        exchange(7, 1e12 + 11, 1, {status: 0, url: '-'}), exchange(8, 1e12 + 12, 1, {url: 'http://a.test/q?...'}),
        exchange(9, 1e12 + 13, 1, {url: 'http://a.test/\\\\xd7%zz'}));""")
    rows(page, 9)
    wait_text(page, "#version", "1.2.3")
    har = har_of(page)
    check_har(har, modules)
    log = har["log"]
    assert log["version"] == "1.2" and log["creator"] == {"name": "tlsfan", "version": "1.2.3"}
    entries = {e["request"]["url"].rsplit("/", 1)[-1]: e for e in log["entries"]}
    orders = entries["orders"]
    assert len(entries) == 9 and "%d7%25zz" in entries
    assert "serverIPAddress" not in entries["4"] and orders["serverIPAddress"] == "10.0.0.1"
    assert orders["connection"] == "0.2" and orders["response"]["content"]["size"] == 1000
    assert entries["4"]["response"]["_error"] == "no.test is unknown, 4" and "_error" not in entries["3"]["response"]
    assert entries["q?..."]["request"]["queryString"] == []
    assert entries["q?..."]["request"]["comment"] == "the URL is not whole" and "comment" not in orders["request"]
    six = entries["?a=1&b=%20%3Cx%3E"]
    assert six["serverIPAddress"] == "2001:db8::1" and six["time"] == 100
    assert six["request"]["queryString"] == [{"name": "a", "value": "1"}, {"name": "b", "value": " <x>"}]
    t = six["timings"]
    assert t == {"blocked": 1, "dns": 2, "connect": 7, "ssl": 4, "send": 5, "wait": 75, "receive": 10}
    assert six["response"]["content"]["mimeType"] == "text/html"
    hidden = {"name": "X-Key", "value": "", "_size": 8, "comment": "the value is not kept"}
    assert six["request"]["headers"][1] == hidden
    assert [p["id"] for p in log["pages"]] == ["page_1"] and {e["pageref"] for e in log["entries"]} == {"page_1"}
    assert log["pages"][0]["startedDateTime"] == min(e["startedDateTime"] for e in log["entries"])
    type_filter(page, "orders")
    assert len(har_of(page)["log"]["entries"]) == 1
    type_filter(page, "nothing of that kind")
    empty = har_of(page)
    check_har(empty, modules)
    assert empty["log"]["entries"] == [] and len(empty["log"]["pages"]) == 1


def check_har(har, modules):
    """By the schema of the npm package har-schema, which har-validator uses."""
    import json

    directory = os.path.join(modules, "har-schema", "lib")
    schemas = {}
    for name in os.listdir(directory):
        if name.endswith(".json"):
            with open(os.path.join(directory, name), encoding="utf-8") as file:
                schemas[name] = json.load(file)
    store = {name + "#": schema for name, schema in schemas.items()} | schemas
    resolver = jsonschema.RefResolver("har.json", schemas["har.json"], store=store)
    judge_of = jsonschema.Draft6Validator(schemas["har.json"], resolver=resolver,
                                          format_checker=jsonschema.FormatChecker())
    faults = ["%s: %s" % ("/".join(map(str, e.absolute_path)), e.message) for e in judge_of.iter_errors(har)]
    assert not faults, faults
    worse = json.loads(json.dumps(har))
    worse["log"]["entries"] = [dict(entry, serverIPAddress="") for entry in har["log"]["entries"]] or [{}]
    assert not judge_of.is_valid(worse), "the schema finds no fault in an empty address"


def test_it_says_when_origins_are_left_out(page):
    draw = """const some = [...Array(%d).keys()].map((n) => origin('h' + n + '.test:443', {requests: 1000 - n}));
        told.status.origins = some.concat([origin('other')]);"""
    tell(page, draw % 500)
    wait_text(page, "#more-origins", "showing the 100 busiest of 500 origins")
    first = "return [...document.querySelector('#origins').rows].map((r) => r.cells[0].textContent)"
    names = page.execute_script(first)
    assert len(names) == 101 and names[0] == "h0.test:443" and names[-1] == "other"
    tell(page, draw % 100)
    wait_until(lambda: text(page, "#more-origins") == "", 10 * SLOW, "the note to go")


def test_an_origin_filters_by_its_host(page):
    tell(page, MIXED + "told.status.origins = [origin('two.test:443')];")
    rows(page, 4)
    wait_text(page, "#origins", "two.test")
    press(page, "#origins button")
    assert numbers(page, 1) == ["items"]


def test_no_rate_is_taken_across_a_restart(page):
    """After a look at the old process, the new one has run for longer than the old one had."""
    tell(page, "Object.assign(told.status, {uptime: 0.01, exchanges: 900, failed: 900});")
    wait_text(page, "#failed", "900")
    assert page.execute_script("return +document.querySelector('#rate').textContent") >= 0
    tell(page, "Object.assign(told.status, {uptime: 0.02, exchanges: 3, failed: 3});")
    wait_until(lambda: text(page, "#failed") == "3", 10 * SLOW, "the next look")
    assert float(text(page, "#rate")) >= 0 and float(text(page, "#error-rate")) >= 0


def test_another_process_counts_from_the_beginning(page):
    """Exchanges of two processes are told apart, though their numbers are the same."""
    tell(page, "told.exchanges.push(exchange(1, 1e12, 5)); told.failures.push(failed(1, 1e12));")
    rows(page, 1)
    tell(page, "told.epoch = 'f'; told.exchanges.push(exchange(1, 1e12 + 50, 5));"
         "told.failures.push(failed(1, 1e12 + 50));")
    assert len(rows(page, 2)) == 2
    wait_until(lambda: len(page.find_elements(By.CSS_SELECTOR, "#failures tr")) == 2, 10 * SLOW, "both failures")
