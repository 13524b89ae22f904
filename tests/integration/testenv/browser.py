# SPDX-License-Identifier: Apache-2.0
"""Chromium with the live page in it: what a person sees there, and pages that are told what a test likes."""
import json
import shutil

import pytest

from . import SLOW
from .wait import wait_until

FLAGS = (
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
)

# The rows that are elements, with what a person sees of them; only some of the rows that there are.
ROWS = """return [...document.querySelectorAll('#rows .body > [role=row]:not(.details)')].map((row) => {
  const bar = row.querySelector('.span').getBoundingClientRect();
  const parts = [...row.querySelectorAll('i')];
  return {host: row.dataset.host, start: +row.dataset.start, end: +row.dataset.end, left: bar.left, right: bar.right,
          width: bar.width, url: row.querySelector('.url').textContent, index: +row.getAttribute('aria-rowindex'),
          status: row.querySelector('.status').textContent, protocol: row.querySelector('.protocol').textContent,
          mark: ['failed', 'refused'].find((mark) => row.classList.contains(mark)) ?? '',
          phases: Object.fromEntries(parts.map((i) => [i.dataset.phase, +i.dataset.ms])),
          colours: parts.map((i) => [i.dataset.phase, getComputedStyle(i).backgroundColor])};
});"""

# Those under way.
RUNNING = """return [...document.querySelectorAll('#running .body > [role=row]:not(.details)')].map((row) => ({
  host: row.dataset.host, url: row.querySelector('.url').textContent, phase: row.querySelector('.status').textContent,
  width: row.querySelector('.span').getBoundingClientRect().width, ms: row.querySelector('.ms').textContent}));"""

# The page asks more often than it does for people.
HASTE = """(() => {
  const later = window.setTimeout;
  window.setTimeout = (call, ms) => later(call, {500: 50, 2000: 100}[ms] ?? ms);
})();"""

# Answers instead of tlsfan's: `told` is what there is. What is added later is seen by the next look, which is soon.
TOLD = """(() => {
  const told = window.told = {exchanges: [], running: [], failures: [], gone: 0, silent: [], epoch: 'e', clock: 1e12,
    status: {version: '0', uptime: 100, draining: false, clients: 0, in_flight: 0, exchanges: 0, failed: 0,
             bytes_out: 0, errors: {}, proxy: '127.0.0.1:3128', origins: []}};
  const after = (query, name) => (new URLSearchParams(query).get(name) || '').split('.')[1] | 0;
  const older = (x) => {
    const age = Date.now() - x.start;
    return {...x, ms: {...x.ms, [x.phase]: age, total: age}};
  };
  const answers = {
    status: () => told.status,
    exchanges: (query) => {
      const from = after(query, 'after');
      const some = told.exchanges.slice(from, from + +new URLSearchParams(query).get('limit'));
      const [gone] = [told.gone, some.length > 0 && (told.gone = 0)];
      return {cursor: told.epoch + '.' + (from + some.length), clock: told.clock, skipped: gone, gone, exchanges: some,
        waiting: told.exchanges.length - from - some.length, running: told.running.map(older), running_more: 0,
        silent: told.silent};
    },
    failures: (query) => ({cursor: told.epoch + '.' + told.failures.length, clock: told.clock, gone: 0,
      failures: told.failures.slice(after(query, 'after'))}),
  };
  window.fetch = async (path) => {
    const [name, query] = path.split('/').pop().split('?');
    return {ok: true, json: async () => JSON.parse(JSON.stringify(answers[name](query)))};
  };
})()"""

# exchange(n, at, took, more): as tlsfan tells it; it began at AT ms and waited for all the time.
EXCHANGE = """const exchange = (n, at, took, more) => ({
  id: String(n).padStart(16, '0'), start: at, end: at + took, client: '127.0.0.1', method: 'GET', host: 'a.test',
  url: 'http://a.test/' + n, status: 200, error: '', sentence: '', kind: '', version: '1.1', protocol: 'h1',
  tls: 'TLSv1.3', upstream: '10.0.0.1:443', address: '10.0.0.1', reused: true, readahead: false, retries: 0,
  bytes_in: 50, bytes_out: 1234, body: 1000, client_connection: '0.1', client_position: n,
  upstream_connection: '0.2', upstream_position: n, stream: 0, origin: 'a.test:443', parent: '', request: null,
  response: null, user: '',
  ms: {queue: 0, dns: 0, connect: 0, tls: 0, send: 0, wait: took, transfer: 0, total: took}, ...more});
const failed = (n, at, more) => exchange(n, at, 5, {
  status: 502, error: 'dns_error', kind: 'tlsfan', host: 'no.test', url: 'http://no.test/' + n,
  sentence: 'no.test is unknown, ' + n, protocol: '', tls: '', upstream: '', address: '', ...more});
const refused = (n, at, more) => exchange(n, at, 5, {status: 404, kind: 'origin', ...more});
const running = (n, age, more) => ({
  ...exchange(n, Date.now() - age, age, {status: 0}), phase: 'wait', doing: 'waits for the head of the answer',
  ...more});
const origin = (name, more) => ({origin: name, requests: 5, failed: 1, in_flight: 0, idle: 1, busy: 0, opened: 1,
  reused: 4, certificate_expires: null, certificate: null, ...more});
"""


@pytest.fixture(scope="module")
def chromium(tmp):
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no chromium and chromedriver")
    options = Options()
    options.binary_location = browser
    directory = tmp / "chromium"
    directory.mkdir(exist_ok=True)
    for flag in [*FLAGS, "--user-data-dir=%s" % (directory / "profile")]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(directory),
                                              "profile.default_content_setting_values.automatic_downloads": 1})
    chrome = webdriver.Chrome(service=Service(driver), options=options)
    chrome.set_script_timeout(20)
    chrome.downloads = directory
    chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HASTE})
    yield chrome
    chrome.quit()
    shutil.rmtree(str(directory), ignore_errors=True)


def judge(chrome):
    """Nothing was refused by the policy of the page, and no script broke."""
    bad = [entry for entry in chrome.get_log("browser") if entry["level"] != "INFO"]
    chrome.get("about:blank")
    assert not bad, bad


def look_at(chrome, width=1280, height=900, scheme="light"):
    """The size of the window, and whether the person likes it dark."""
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia",
                           {"features": [{"name": "prefers-color-scheme", "value": scheme}]})


def all_of(chrome, script, count=1, timeout=10):
    """Waits until SCRIPT gives that many things, and returns them."""
    return wait_until(lambda: (lambda found: found if len(found) >= count else None)(chrome.execute_script(script)),
                      timeout * SLOW, "%d of %s" % (count, script[:60]))


def rows(chrome, count=1, timeout=10):
    return all_of(chrome, ROWS, count, timeout)


def text(chrome, selector):
    return chrome.execute_script("return document.querySelector(arguments[0]).textContent", selector)


def wait_text(chrome, selector, part, timeout=10):
    wait_until(lambda: part in text(chrome, selector), timeout * SLOW,
               lambda: "%r in %r" % (part, text(chrome, selector)))


def tell(chrome, script):
    """Changes what the page is told: SCRIPT has `told`, exchange(), failed(), refused(), running()."""
    return chrome.execute_script(EXCHANGE + script)


def press(chrome, selector):
    chrome.execute_script("document.querySelector(arguments[0]).click()", selector)


def keys(chrome, *names):
    """As if typed; they go to what has the focus."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(chrome).send_keys(*names).perform()


def type_filter(chrome, wanted):
    chrome.execute_script("const e = document.querySelector('#filter'); e.value = arguments[0];"
                          "e.dispatchEvent(new Event('input'))", wanted)


def har_of(chrome):
    """What the button saves, as an object."""
    path = chrome.downloads / "tlsfan.har"
    if path.exists():
        path.unlink()
    press(chrome, "#har")

    def saved():
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError):  # not yet, or not all of it
            return None
    return wait_until(saved, 10 * SLOW, "the download")
