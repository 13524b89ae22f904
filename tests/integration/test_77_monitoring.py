# SPDX-License-Identifier: Apache-2.0
"""packaging/monitoring: alerts by promtool, the dashboard by Grafana's schemas, both against a tlsfan that served."""
import json
import os
import re
import shutil
import subprocess

import jsonschema
import pytest
import yaml

from testenv import SLOW
from testenv.altered import altered
from testenv.ports import free_port
from testenv.prometheus import PROGRAM, Prometheus
from testenv.proxy import ROOT
from testenv.scripted import Server, answering, ok
from testenv.wait import wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(ROOT, "packaging", "monitoring")
RULES, BOARD = os.path.join(FOLDER, "tlsfan.rules.yml"), os.path.join(FOLDER, "tlsfan.dashboard.json")
CASES = os.path.join(HERE, "monitoring", "rules.test.yml")
SCHEMAS = os.path.join(HERE, "schemas", "grafana.json")
FIRING = 'ALERTS{alertstate="firing"}'
NO_PROGRAM = pytest.mark.unsanitized("has nothing to do with the program")
pytestmark = pytest.mark.h1_only("it looks at what is told, not at what origins speak")


def board():
    with open(BOARD, encoding="utf-8") as f:
        return json.load(f)


def alerts():
    with open(RULES, encoding="utf-8") as f:
        return [rule for group in yaml.safe_load(f)["groups"] for rule in group["rules"]]


def panels(dashboard):
    """All but rows, those inside collapsed rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def resolved(text, origin=".*"):
    """TEXT with the variables of the dashboard filled in."""
    for name, value in (("$__rate_interval", "5s"), ("$job", "tlsfan"), ("$instance", ".*"), ("$origin", origin)):
        text = text.replace(name, value)
    return text


def board_queries():
    """(where, PromQL) of all that the dashboard asks."""
    dashboard = board()
    found = [(p["title"], target["expr"]) for p in panels(dashboard) for target in p["targets"]]
    found += [("annotation " + a["name"], a["expr"]) for a in dashboard["annotations"]["list"]]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            found.append(("variable " + variable["name"],
                          re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]).group(1)))
    return found


def promtool(*args, **kw):
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool (Debian: prometheus)")
    return subprocess.run([program, *args], capture_output=True, text=True, timeout=60 * SLOW, **kw)


# --- alerts

@NO_PROGRAM
def test_rules_are_rules():
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert done.returncode == 0 and "SUCCESS: %d rules found" % len(alerts()) in done.stdout, done.stdout + done.stderr


@NO_PROGRAM
def test_alerts_fire_and_do_not():
    done = promtool("test", "rules", CASES)
    assert done.returncode == 0, done.stdout + done.stderr


@NO_PROGRAM
def test_every_alert_has_a_case_in_which_it_fires():
    """The one in which none does is the first of the file."""
    with open(CASES, encoding="utf-8") as f:
        cases = yaml.safe_load(f)["tests"]
    fired = set(re.findall(r'alertname="(\w+)"', json.dumps([
        sample["labels"] for case in cases for t in case["promql_expr_test"] for sample in t["exp_samples"]
        if "labels" in sample]).replace('\\"', '"')))
    assert fired == {rule["alert"] for rule in alerts()}
    quiet = [t for t in cases[0]["promql_expr_test"] if FIRING in t["expr"]]
    assert quiet and not any(t["exp_samples"] for t in quiet)


@NO_PROGRAM
@pytest.mark.parametrize("old, new", [("> 0.8", "> 0.01"), ("for: 10m", "for: 1m"), ("14 * 86400", "60 * 86400"),
                                      (">= 5", ">= 1"), (" and on (job, instance) tlsfan_build_info", ""),
                                      ('{origin!="other"}', ""), ("== 0\n", "== 2\n"), ("waiting > 0", "waiting > 30"),
                                      ("for: 15m", "for: 5m"), ("for: 6m", "for: 1m"),
                                      ("[1d]) > 0\n        for: 2m", "[1d]) >= 0\n        for: 2m"),
                                      ("[1d]) > 0\n        for: 5m", "[1d]) >= 0\n        for: 5m")])
def test_the_cases_see_faults(tmp_path, old, new):
    with open(RULES, encoding="utf-8") as f:
        text = f.read()
    assert old in text
    (tmp_path / "rules.yml").write_text(text.replace(old, new))
    with open(CASES, encoding="utf-8") as f:
        cases = f.read()
    (tmp_path / "cases.yml").write_text(re.sub(r"\S+tlsfan\.rules\.yml", "rules.yml", cases))
    assert promtool("test", "rules", "cases.yml", cwd=str(tmp_path)).returncode != 0


@NO_PROGRAM
def test_alerts_say_what_and_where():
    for rule in alerts():
        assert re.fullmatch(r"Tlsfan[A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule
        told = rule["annotations"]
        assert set(told) == {"summary", "description"}
        assert re.search(r"\$labels\.(instance|origin)|of tlsfan itself", told["summary"]), told
        assert "$labels.instance" in told["description"] and told["description"].endswith("."), told


# --- the dashboard

def schema_faults(dashboard):
    """What is wrong with it by the schemas of Grafana: of the whole, and of each panel's kind."""
    with open(SCHEMAS, encoding="utf-8") as f:
        schemas = json.load(f)

    def faults(name, thing, part=None):
        schema = schemas[name] if part is None else dict(schemas[name], **{"$ref": "#/definitions/" + part})
        return ["%s: %s" % (name, e.message[:200]) for e in jsonschema.Draft7Validator(schema).iter_errors(thing)]
    found = faults("dashboard", dashboard)
    for panel in panels(dashboard):
        if panel["type"] not in schemas:
            found.append("a panel of the unknown kind " + panel["type"])
            continue
        found += faults(panel["type"], panel["options"], "Options")
        found += [fault for target in panel["targets"] for fault in faults("prometheus", target)]
        if panel["type"] != "stat":
            found += faults(panel["type"], panel["fieldConfig"]["defaults"]["custom"], "FieldConfig")
    return found


@NO_PROGRAM
def test_the_dashboard_is_as_its_schema_says():
    assert schema_faults(board()) == []


@NO_PROGRAM
@pytest.mark.parametrize("path, value", [
    (["schemaVersion"], None), (["panels", 1, "gridPos", "w"], 25), (["panels", 1, "type"], "singlestat"),
    (["panels", 1, "options", "graphMode"], "pie"), (["panels", 1, "colour"], "red"),
    (["panels", 1, "targets", 0, "expr"], None), (["panels", 1, "targets", 0, "expression"], "1"),
    (["panels", 1, "fieldConfig", "defaults", "thresholds", "mode"], "steps"),
    (["templating", "list", 0, "type"], "source"), (["panels", 10, "fieldConfig", "defaults", "custom", "lines"], 1),
])
def test_the_schemas_see_faults(path, value):
    assert schema_faults(altered(board(), path, value))


@NO_PROGRAM
def test_the_dashboard_holds_together():
    """Ids are unique, panels neither overlap nor leave the grid, all ask the data source that is chosen above."""
    dashboard = board()
    every = [p for p in dashboard["panels"]] + [p for row in dashboard["panels"] for p in row.get("panels", [])]
    ids = [p["id"] for p in every]
    assert len(ids) == len(set(ids)) and dashboard.get("id") is None and re.fullmatch(r"[\w-]{1,40}", dashboard["uid"])
    taken = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    source = {"type": "prometheus", "uid": "${datasource}"}
    names = [v["name"] for v in dashboard["templating"]["list"]]
    first = dashboard["templating"]["list"][0]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert all(v["datasource"] == source for v in dashboard["templating"]["list"][1:])
    assert all(a["datasource"] == source for a in dashboard["annotations"]["list"])
    titles = [p["title"] for p in panels(dashboard)]
    assert len(titles) == len(set(titles))
    for panel in panels(dashboard):
        assert panel["datasource"] == source and panel["title"], panel
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)) and all(t["datasource"] == source for t in panel["targets"]), panel["title"]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - {"__rate_interval", "__all"}
    assert used == set(names)


# --- both, against what is there

@pytest.fixture
def used(make_proxy, serve, ca):
    """A proxy that has served a request, a tunnel, and failed with another."""
    server = serve(answering(lambda r, c: ok("x" * 100)))
    far = Server(answering(lambda r, c: ok()))
    leaf = ca.leaf()
    p = make_proxy('destination { connect_ports = {} }\nclient { cert = "%s"  key = "%s" }\n' % (leaf.cert, leaf.key),
                   service=True)
    closed = free_port()

    def use():
        with p.client() as c:
            assert c.get(server.url()).status == 200
            assert c.get("http://127.0.0.1:%d/" % closed).status == 502
        target = "localhost:%d" % far.port
        with p.client() as c:
            assert c.exchange("CONNECT", target, host=target).status == 200
    p.use = use
    use()
    wait_until(lambda: json.loads(p.fetch("/status"))["exchanges"] == 3, 5, "three exchanges")
    yield p
    far.stop()


def families(text):
    """{name of a sample: {label: its values}}"""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels = re.match(r"([a-z_]+)(?:\{(.*)\})? ", line).groups()
        at = found.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels or ""):
            at.setdefault(label, set()).add(value)
    return found


def asked_of(expr):
    """(metric, {label: (operator, value)}) of each selector in EXPR; `job` and `instance` are Prometheus'."""
    expr = re.sub(r"\b(by|on)\s*\([^)]*\)", "", expr)
    for name, labels in re.findall(r"\b((?:tlsfan|process)_\w+)(?:\{([^}]*)\})?", expr):
        matchers = re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"', labels)
        yield name, {label: (how, value) for label, how, value in matchers if label not in ("job", "instance")}


def test_all_that_is_asked_for_is_told(used):
    """Every metric, and every label value that is named, of dashboard and alerts."""
    told = families(used.fetch("/metrics"))
    known = re.findall(r"^# TYPE (\S+)", used.fetch("/metrics"), re.M)
    asked = board_queries() + [(rule["alert"], rule["expr"]) for rule in alerts()]
    n = 0
    for where, expr in asked:
        for name, matchers in asked_of(expr):
            n += 1
            assert name in told, "%s asks for %s" % (where, name)
            for label, (how, value) in matchers.items():
                assert label in told[name], (where, name, label)
                if how == "=":
                    assert value in told[name][label], (where, name, label, value)
    assert n > 100
    # And nothing that is told is without a place there, but for what few would look for.
    seen = {re.sub("_(bucket|sum|count)$", "", name) for _, expr in asked for name, _ in asked_of(expr)}
    assert set(known) - seen == set()


def test_prometheus_answers_every_query(used, tmp_path):
    """All of the dashboard is PromQL that gives something, but for what asks for trouble alone."""
    if PROGRAM is None:
        pytest.skip("no prometheus (Debian: prometheus)")
    server = Prometheus(tmp_path / "prometheus", used, [RULES])
    try:
        wait_until(lambda: len(server.values('count_over_time(up{job="tlsfan"}[1m]) > 5')) == 1, 30 * SLOW, "scrapes")
        used.use()
        wait_until(lambda: server.values('sum (rate(tlsfan_exchanges_total{code="2xx"}[5s])) > 0'), 30 * SLOW, "a rate")
        empty = []
        for where, expr in board_queries():
            got = server.series(resolved(expr))
            assert got is not None, (where, expr)
            if not got:
                empty.append((where, expr))
        assert not [x for x in empty if not re.search(r"> 0|changes\(", x[1])], empty
        known = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in known} == {rule["alert"] for rule in alerts()}
        wait_until(lambda: all(r["health"] == "ok" for g in server.ask("rules")["groups"] for r in g["rules"]),
                   30 * SLOW, "the rules to be judged")
        assert not server.series(FIRING)
    finally:
        server.stop()
