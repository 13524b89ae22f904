# SPDX-License-Identifier: Apache-2.0
"""The codec against Node's llhttp: both read the cases of tests/differential/cases.txt, whole and byte by byte, and
agree but where the case says why not. Node must be there, the codec is built from its sources."""
import collections
import os
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.join(ROOT, "tests", "differential")
SOURCES = ["tests/differential/codec.c", "proxy/http/chars.c", "proxy/http/fields.c", "proxy/http/h1_parse.c",
           "proxy/http/h1_body.c", "proxy/http/h1_framing.c", "proxy/http/chunk_ext.c", "proxy/base/str.c",
           "proxy/base/mem.c", "proxy/base/fault.c"]
WHOLE, BYTEWISE = 0, 1
pytestmark = pytest.mark.unsanitized("it builds the codec by itself")
OLDEST = 8  # of llhttp: Node 20

Case = collections.namedtuple("Case", "line verdict kind data reason")


def read_cases():
    cases = []
    with open(os.path.join(HERE, "cases.txt"), encoding="ascii") as lines:
        for number, line in enumerate(lines, 1):
            if line.startswith("#"):
                continue
            verdict, kind, text, reason = (line.rstrip("\n").split("\t") + [""])[:4]
            data = text.encode("ascii").decode("unicode_escape").encode("latin-1")
            cases.append(Case(number, verdict, kind, data, reason))
    return cases


def run(command, cases, piece):
    """One canonical line a case."""
    text = "".join("%s %d %s\n" % (case.kind, piece, case.data.hex()) for case in cases)
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(cases), done.stderr
    return lines


def verdict(ours, theirs):
    if ours == theirs:
        return "same"
    if ours.endswith("E") != theirs.endswith("E"):
        return "stricter" if ours.endswith("E") else "wider"
    return "other"


def differences(cases, ours, theirs):
    return ["cases.txt:%d is %s, not %s\n  codec  %s\n  llhttp %s" % (c.line, verdict(o, t), c.verdict, o, t)
            for c, o, t in zip(cases, ours, theirs) if verdict(o, t) != c.verdict]


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    path = tmp_path_factory.mktemp("llhttp") / "codec"
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-I", os.path.join(ROOT, "proxy"),
                    "-o", str(path)] + [os.path.join(ROOT, source) for source in SOURCES], check=True)
    return [str(path)]


@pytest.fixture(scope="module")
def llhttp():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: it is the other parser")
    version = subprocess.run([node, "-p", "process.versions.llhttp"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout.strip()
    if int(version.split(".")[0]) < OLDEST:
        pytest.skip("Node's llhttp %s is laxer than %d, which the cases were held against" % (version, OLDEST))
    return [node, os.path.join(HERE, "llhttp.js")]


def test_cases_are_told_apart():
    cases = read_cases()
    assert len(cases) >= 200
    assert len({(case.kind, case.data) for case in cases}) == len(cases)
    assert not [case.line for case in cases if (case.verdict == "same") != (case.reason == "")]


def test_pieces_change_nothing(codec, llhttp):
    cases = read_cases()
    for command in codec, llhttp:
        assert run(command, cases, WHOLE) == run(command, cases, BYTEWISE)


@pytest.mark.parametrize("piece", [WHOLE, BYTEWISE], ids=["whole", "bytewise"])
def test_codec_agrees_with_llhttp(codec, llhttp, piece, capsys):
    cases = read_cases()
    wrong = differences(cases, run(codec, cases, piece), run(llhttp, cases, piece))
    counts = collections.Counter(case.verdict for case in cases)
    with capsys.disabled():
        print("\n%d framing cases against llhttp: %s" % (
            len(cases), ", ".join("%d %s" % (n, v) for v, n in counts.most_common())))
    assert not wrong, "\n".join(wrong)
