# SPDX-License-Identifier: Apache-2.0
"""tests/lint sees what it is there for: on a copy with a break of each rule, it tells of these alone."""
import os
import shutil
import subprocess
import sys

import pytest

from testenv.proxy import ROOT

pytestmark = pytest.mark.unsanitized("the program is not there")
HEAD = "/* SPDX-License-Identifier: Apache-2.0 */\n"
INCLUDE = '#include "%s"\n'

# What is added: path -> text.
FILES = {
    "proxy/base/one.h": HEAD + "void one(void);\n",
    "proxy/base/one.c": HEAD + INCLUDE % "base/one.h" + INCLUDE % "base/two.h",
    "proxy/base/two.h": HEAD + INCLUDE % "base/three.h",
    "proxy/base/two.c": HEAD + INCLUDE % "base/two.h",
    "proxy/base/three.h": HEAD + INCLUDE % "base/one.h",
    "proxy/net/three_impl.h": HEAD,
    "proxy/net/three.c": HEAD + INCLUDE % "net/three_impl.h",
    "proxy/client/three.c": HEAD + INCLUDE % "net/three_impl.h",
    "proxy/base/state.c": HEAD + """
static void one_set_state(struct one *x, int to)
{
    x->state = to;
}

static void one_close(struct one *x)
{
    if (x->state == 1)
        x->state = 2;
    x[0].state |= 4;
}
""",
    "proxy/base/states.c": HEAD + """
static void twos_close(struct two *x)
{
    x->inner.state = 2;
}

static void one_close(void)
{
}
""",
    "proxy/base/long.c": HEAD + "\n" * 500,
    "proxy/base/untested.c": HEAD,
    "proxy/base/elsewhere.c": HEAD,
    **{f"tests/unit/test_{name}.c": HEAD for name in ("one", "two", "three", "state", "states", "long")},
}

# What is written into the tables: (file, table, entry).
ENTRIES = [
    ("tests/lint", "LIBRARIES = [", '    (r"gone/", r"net/"),'),
    ("tests/lint", "OPERATORS_FILES = {", '    "proxy/net/gone.c",'),
    ("tests/lint", "PARSERS = {", '    "proxy/http/gone.c",'),
    ("tests/lint_known.py", "CLOSES_CIRCLE = {", '    "proxy/base/gone.c": "",\n    "proxy/base/two.c": "",'),
    ("tests/lint_known.py", "TESTED_BY = {", '    "proxy/base/gone.c": "unit/test_one.c",\n'
     '    "proxy/base/one.c": "unit/test_two.c",\n    "proxy/base/elsewhere.c": "unit/test_gone.c",'),
]

EXPECTED = {
    " has no line",
    "proxy/base/one.c:3: closes a circle of includes: base/one -> base/two -> base/three -> base/one",
    'proxy/client/three.c:2: "net/three_impl.h" is private to its folder',
    "proxy/base/state.c:11: a state is assigned outside of a function x_set_state()",
    "proxy/base/state.c:12: a state is assigned outside of a function x_set_state()",
    "proxy/base/states.c:5: a state is assigned outside of a function x_set_state()",
    "proxy/base/state.c:8: one_close() is static in base/states.c, too: give it its module's prefix",
    "proxy/base/long.c:500: 501 lines, 500 at most: a file that grows beyond is two files",
    "proxy/base/untested.c:1: no test: write tests/unit/test_untested.c, or name in known.TESTED_BY the test that "
    "holds it",
    "proxy/base/one.c:1: known.TESTED_BY names unit/test_two.c, but there is tests/unit/test_one.c",
    "proxy/base/elsewhere.c:1: known.TESTED_BY: there is no tests/unit/test_gone.c",
    "LIBRARIES: nothing needs 'gone/' any more",
    "OPERATORS_FILES: nothing needs 'proxy/net/gone.c' any more",
    "PARSERS: nothing needs 'proxy/http/gone.c' any more",
    "CLOSES_CIRCLE: nothing needs 'proxy/base/gone.c' any more",
    "CLOSES_CIRCLE: nothing needs 'proxy/base/two.c' any more",
    "TESTED_BY: nothing needs 'proxy/base/gone.c' any more",
}


@pytest.fixture
def copy(tmp_path):
    """The proxy and its unit tests, as git would take them."""
    for folder in ("proxy", os.path.join("tests", "unit")):
        shutil.copytree(os.path.join(ROOT, folder), tmp_path / folder)
    for name in ("lint", "lint_known.py"):
        shutil.copy(os.path.join(ROOT, "tests", name), tmp_path / "tests")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def lint(folder):
    """The faults but those of comments, which short files have. Without clang-format, which takes longest."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    if not (tools / "git").exists():
        (tools / "git").symlink_to(shutil.which("git"))
    run = subprocess.run([sys.executable, str(folder / "tests" / "lint")], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, universal_newlines=True, env={"PATH": str(tools)})
    assert run.stderr == ""
    assert run.returncode == (1 if run.stdout else 0)
    return {line for line in run.stdout.splitlines() if "comment lines in 100" not in line}


def test_lint_sees_each_break(copy):
    before = lint(copy)
    for path, text in FILES.items():
        (copy / path).write_text(text)
    for path, table, entry in ENTRIES:
        text = (copy / path).read_text()
        assert text.count("\n" + table) == 1
        (copy / path).write_text(text.replace("\n" + table, "\n" + table + "\n" + entry))
    found = lint(copy) - before
    missing = [e for e in EXPECTED if not any(f.endswith(e) for f in found)]
    others = [f for f in found if not any(f.endswith(e) for e in EXPECTED)]
    assert (missing, others) == ([], [])
