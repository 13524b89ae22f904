# SPDX-License-Identifier: Apache-2.0
"""What costs what: instructions are counted, by callgrind, on N and on 4 N bytes of one thing."""
import os
import re
import shutil
import subprocess

import pytest

from testenv import SANITIZED
from testenv.proxy import ROOT, binary, clean_env

VALGRIND = shutil.which("valgrind")
DRIVER = os.path.join(os.path.dirname(binary() or ""), "test_linear")
SOURCE = os.path.join(ROOT, "tests", "unit", "test_linear.c")
GROWTH = 1.5  # of what a byte costs, when there are four times as many
PER_BYTE = 300  # instructions; names to look up, origins, and items of a batch of a few bytes each, cost more
TINY = {"names": 1500, "read_commas": 2000, "read_items": 1500, "read_urls": 1500,
        "turns": 7000, "together": 3000}
BUSY = {"together": 2.5}  # growth: dials come back in few turns of the loop or in many, as the machine is busy

pytestmark = [
    pytest.mark.skipif(VALGRIND is None, reason="no valgrind"),
    pytest.mark.skipif(SANITIZED, reason="sanitizers do not run under valgrind"),
]


def callgrind(tmp, command, *flags, statuses=(0,)):
    done = subprocess.run(
        [VALGRIND, "--tool=callgrind", "--callgrind-out-file=%s" % (tmp / "out"), *flags, *command],
        capture_output=True, text=True, env=clean_env(), timeout=1200)
    assert done.returncode in statuses, done.stderr[-2000:]
    return done


def cases():
    with open(SOURCE) as f:
        table = f.read().split("struct linear cases[] = {", 1)[1]
    return re.findall(r"^    \{\"(\w+)\",", table, re.M)


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """{case: [(instructions, bytes) of many, of few]}, all from one run."""
    if not os.access(DRIVER, os.X_OK):
        pytest.skip("the unit tests are not built beside the program")
    tmp = tmp_path_factory.mktemp("linear")
    done = callgrind(tmp, [DRIVER, "count"], "--toggle-collect=measured", "--dump-after=measured")
    found = {}
    for n, line in enumerate(done.stdout.splitlines(), 1):
        name, size = line.split()
        with open("%s.%d" % (tmp / "out", n)) as f:
            count = int(re.search(r"^(?:totals|summary): (\d+)", f.read(), re.M).group(1))
        found.setdefault(name, []).append((count, int(size)))
    return found


@pytest.mark.parametrize("case", cases())
def test_work_is_linear_in_the_bytes(costs, case):
    (many, many_bytes), (few, few_bytes) = costs[case]
    assert many / many_bytes <= TINY.get(case, PER_BYTE)
    if many > 100000:  # else fixed costs, or a refusal, are all there is
        assert many / many_bytes <= BUSY.get(case, GROWTH) * few / few_bytes, (few, few_bytes, many, many_bytes)


def rules(n):
    return "".join('rule "h%d.example" { verify = off }\n' % i for i in range(n))


def wrong_rules(n):
    return "".join('rule "h%d.example" { port = x }\n' % i for i in range(n))


def same_rules(n):
    return "".join('rule "h%d" { }\nrule "H%d" { }\n' % (i, i) for i in range(n))


def covered_rules(n):
    """Half of them, and it is warned of them."""
    return "".join('rule "*.h%d.example" { }\nrule "a.b.h%d.example:80" { }\n' % (i, i) for i in range(n))


def networks(n):
    return "client { allow = {%s} }\n" % ", ".join('"10.%d.%d.0/24"' % (i >> 8, i & 255) for i in range(n))


def names(n):
    return "destination { deny_hosts = {%s} }\n" % ", ".join('"h%d.example"' % i for i in range(n))


def connects(n):
    return "connect_to = {%s}\n" % ", ".join('"h%d:80:127.0.0.1:1"' % i for i in range(n))


def comments(n):
    return "/* { */ # }\n" * n


def sections(n):
    return "client { }\n" * n


@pytest.fixture(scope="module")
def read_cost(tmp_path_factory):
    """read_cost(text, flags): instructions of -t, less those for a file that says nothing."""
    tmp = tmp_path_factory.mktemp("read")

    def cost(more, given):
        conf = tmp / "conf"
        conf.write_text('listen = {"127.0.0.1:0"}\nservice = off\n' + more)
        # A store of no certificates, or reading the system's would be most of it.
        done = callgrind(tmp, [binary(), "-t", "-c", str(conf), "-o", "tls.ca_dir=%s" % tmp, *given],
                         statuses=(0, 1))
        return int(re.search(r"refs:\s+([\d,]+)", done.stderr).group(1).replace(",", ""))

    nothing = cost("", ())
    return lambda text, flags=(): cost(text, flags) - nothing


@pytest.mark.parametrize("make", [rules, wrong_rules, same_rules, covered_rules,
                                  networks, names, connects, comments, sections])
def test_reading_the_configuration_is_linear(read_cost, make):
    few, many = (read_cost(make(n)) for n in (1000, 4000))
    assert many < 6 * few, (few, many)


def test_options_for_many_rules_are_linear(read_cost):
    def flags(n):
        return [x for i in range(n) for x in ("-o", "rule[h%d.example].verify=off" % i)]

    few, many = (read_cost("", flags(n)) for n in (1000, 4000))
    assert many < 6 * few, (few, many)


def test_a_file_of_many_users_is_linear(read_cost, tmp_path):
    def cost(n):
        users = tmp_path / "users"
        users.write_text("".join("user%d:$2y$05$%s\n" % (i, "a" * 53) for i in range(n)))
        return read_cost('client { auth_file = "%s" }\n' % users)

    few, many = cost(5000), cost(20000)
    assert many < 6 * few, (few, many)


def test_all_faults_are_counted_but_not_all_shown(tmp_path):
    conf = tmp_path / "conf"
    conf.write_text(wrong_rules(1000))
    done = subprocess.run([binary(), "-t", "-c", str(conf)], capture_output=True, text=True, env=clean_env())
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and len(lines) == 201
    assert "not shown" in lines[-1] and not any("not shown" in x for x in lines[:-1])


@pytest.mark.h1_only("no origin is asked")
def test_a_long_list_of_clients_is_walked_once_a_connection(make_proxy, tmp_path):
    """Not for each of its requests."""
    def cost(requests):
        out = tmp_path / ("asked%d" % requests)
        p = make_proxy("workers = 1\n" + networks(10000).replace("}", ', "127.0.0.1"}', 1),
                       prefix=[VALGRIND, "--tool=callgrind", "--callgrind-out-file=%s" % out])
        with p.client(timeout=60) as c:
            for _ in range(requests):
                c.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
                assert c.response("OPTIONS").status == 200
        p.stop()
        with open(out) as f:
            return int(re.search(r"^(?:totals|summary): (\d+)", f.read(), re.M).group(1))
    assert cost(320) - cost(20) <= 300 * 50000
