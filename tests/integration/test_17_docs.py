# SPDX-License-Identifier: Apache-2.0
"""README, manual pages and example file say what the program does; the examples of the README run."""
import os
import re
import subprocess
import sys

import pytest

from test_06_clients import python2
from testenv.proxy import ROOT, clean_env
from testenv.scripted import answering, ok

TABLE = re.compile(r"static const struct key (global|rule|forward|oauth)_keys\[\] = \{(.*?)\n\};", re.S)


def read(*path):
    name = os.path.join(ROOT, *path)
    assert os.path.exists(name), "%s is missing" % os.path.join(*path)
    with open(name, encoding="utf-8") as f:
        return f.read()


def keys():
    """(scope, name) of the table of keys."""
    found = [(scope, name) for scope, body in TABLE.findall(read("proxy", "conf", "keys.c"))
             for name in re.findall(r'^\s*\{"([a-z0-9_.]+)"', body, re.M)]
    assert len(found) > 60 and {scope for scope, _ in found} == {"global", "rule", "forward", "oauth"}
    return found


def assignments(text):
    """{(scope, name): value} of a configuration; one assignment, one "SECTION {" or one "}" a line. Lists may go on."""
    found, section = {}, ""
    text = re.sub(r"(?m)(?<=\S)[ \t]+# .*$", "", text)
    for line in re.sub(r",\s*\n\s*", ", ", text).splitlines():
        line = line.lstrip("#").strip()
        opened = re.match(r'(\w+)(?: "[^"]*")? \{$', line)
        value = re.match(r"(\w+)\s*=\s*(.*)", line)
        if opened:
            section = opened.group(1)
        elif line == "}":
            section = ""
        elif value:
            scope = section if section in ("rule", "forward", "oauth") else "global"
            prefix = section + "." if section and scope == "global" else ""
            found[scope, prefix + value.group(1)] = value.group(2)
    return found


def readme_rows():
    """{(scope, name): default} of the tables of keys in README.md."""
    found, scope = {}, "global"
    for line in read("README.md").split("\n## Configuration\n")[1].split("\n## ")[0].splitlines():
        heading = re.match(r"### (\w+)", line)
        row = re.match(r"\| `([a-z0-9_.]+)` \| `(.*?)` \| \S", line)
        if heading:
            scope = heading.group(1) if heading.group(1) in ("rule", "forward", "oauth") else "global"
        elif row:
            found[scope, row.group(1)] = row.group(2)
    return found


def plain(value):
    return re.sub(r'[\s"]', "", value)


def manual(name):
    """A manual page without the escapes that stand for plain characters."""
    return read("packaging", name).replace("\\-", "-").replace("\\(dq", '"').replace("\\&", "")


def blocks(language):
    return re.findall(r"^```%s\n(.*?)^```" % language, read("README.md"), re.S | re.M)


def test_the_dump_has_every_key(tlsfan):
    dumped = [key for key in assignments(tlsfan("-T").stdout) if key[0] == "global"]
    assert dumped == [key for key in keys() if key[0] == "global"]


def test_the_example_file_has_every_key():
    assert sorted(assignments(read("conf", "tlsfan.conf"))) == sorted(keys())


def test_readme_has_every_key_and_its_default():
    rows, conf = readme_rows(), assignments(read("conf", "tlsfan.conf"))
    assert sorted(rows) == sorted(keys())
    differ = [key for key in rows if plain(rows[key]) != plain(conf[key]) and key != ("forward", "to")]
    assert not differ, [(key, rows[key], conf[key]) for key in differ]


def test_the_manual_page_has_every_key():
    """Set off as a term, under its plain or its dotted name, as often as there are keys of that name."""
    terms = re.findall(r"(?m)^\.(?:B|BR|BI|IB|IP|It|Ic)\b.*|\\f(?:B|\[B\])[^\\\n]*", manual("tlsfan.conf.5"))
    words = [word for term in terms for word in re.findall(r"[a-z][a-z0-9_.]*", term)]
    missing = []
    for _, name in keys():
        last = name.split(".")[-1]
        wanted = sum(1 for _, other in keys() if other.split(".")[-1] == last)
        if name not in words and sum(1 for word in words if word.split(".")[-1] == last) < wanted:
            missing.append(name)
    assert not missing, missing


def test_every_flag_is_documented(tlsfan):
    flags = set(re.findall(r"(?<![\w-])(--?[A-Za-z][\w-]*)", re.sub(r"(?m)^(?!\s+-).*$", "", tlsfan("--help").stdout)))
    assert {"-c", "--config", "-o", "--option", "--dump"} <= flags
    for name, page in (("README.md", read("README.md")), ("tlsfan.8", manual("tlsfan.8"))):
        page = re.sub(r"(?m)^\..*\bFl .*", lambda line: re.sub(r"(?<=Fl )(?=\S)|(?<=, )(?=-)", "-", line.group()), page)
        missing = [flag for flag in sorted(flags) if not re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(flag), page)]
        assert not missing, (name, missing)


def test_links_of_the_readme_lead_somewhere():
    text = read("README.md")
    titles = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)$", text)]
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if link.startswith("#"):
            assert link[1:] in titles, link
        elif "://" not in link:
            assert os.path.exists(os.path.join(ROOT, link)), link


def test_the_readme_names_what_there_is_to_copy():
    """Manifests, and folders with a page of their own."""
    text = read("README.md")
    for folder, _, names in os.walk(os.path.join(ROOT, "packaging")):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), ROOT)
            if name.endswith((".yaml", ".md")):
                assert "](%s)" % path in text, path


def test_variables_of_the_readme_exist():
    names = {"TLSFAN_" + name.upper().replace(".", "_") for scope, name in keys() if scope == "global"}
    assert set(re.findall(r"\bTLSFAN_[A-Z][A-Z_]*", read("README.md"))) <= names | {"TLSFAN_FORWARD", "TLSFAN_BIN"}


def test_the_image_has_the_version_of_the_program():
    version, = re.findall(r"project\(tlsfan VERSION ([0-9.]+)", read("CMakeLists.txt"))
    assert "ARG VERSION=%s\n" % version in read("Dockerfile")


SHA512_CRYPT = ("$6$salt$wZU8LXJfJJqoagopbB7RuK6JEotEMZ0CQDy0phpPAu"
                "LMYQFcmf6L6BdAbs/Q7w7o1qsZ9pFqFVY4yuUSWgaYt1\n")
HELD = re.compile(r"/(?:etc/tlsfan|etc/ssl|run/secrets)/[\w.-]+")


def stand_in(text, ca, tmp_path):
    """TEXT with files of the test's own in the place of those that it names."""
    cert, key = ca.leaf()
    secret, users = tmp_path / "secret", tmp_path / "users"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    users.write_text("otto:" + SHA512_CRYPT)

    there = (("proxy.pem", cert), ("client.pem", cert), (".pem", ca.root), (".key", key), (".crl", ca.crl()),
             ("users", users), ("", secret))
    return HELD.sub(lambda held: str(next(path for end, path in there if held.group().endswith(end))), text)


# What an example is about, and addresses that are the reader's.
MEANT = re.compile(r"has (security_level|verify) =|tls\.keylog = |upstream\.bind = |could not be opened here")


def check_conf(tlsfan, ca, tmp_path, text):
    path = tmp_path / "example.conf"
    path.write_text(stand_in(text, ca, tmp_path))
    done = tlsfan("-t", "-c", str(path), env={"API_TOKEN": "t", "CRM_SECRET": "s"})
    told = [x for x in done.stderr.splitlines() if "warning" in x and not MEANT.search(x)]
    assert done.returncode == 0 and told == [], (text, done.stderr)


def test_configurations_of_the_readme_are_good(tlsfan, ca, tmp_path):
    assert len(blocks("conf")) > 5
    for text in blocks("conf"):
        check_conf(tlsfan, ca, tmp_path, text)


EXAMPLES = sorted(os.listdir(os.path.join(ROOT, "conf", "examples")))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_good(tlsfan, ca, tmp_path, name):
    text, readme = read("conf", "examples", name), read("README.md")
    check_conf(tlsfan, ca, tmp_path, text)
    assert "](conf/examples/%s)" % name in readme
    sections = re.findall(r'"([^"]*)"', re.search(r"README: (.*)", text).group(1))
    assert sections and all(re.search(r"(?m)^#+ %s" % re.escape(title), readme) for title in sections), sections


@pytest.mark.parametrize("find", [lambda: sys.executable, python2], ids=["python3", "python2"])
def test_the_pipelining_example_runs(find, proxy, origin, tmp_path):
    """The two blocks of it, one behind the other, against the test's proxy and origin."""
    python = find()
    if python is None:
        pytest.skip("no Python 2.7 here")
    code = "\n".join(block for block in blocks("python") if "3128))" in block or "HTTPResponse" in block)
    script = tmp_path / "example.py"
    script.write_text(code.replace("api.example.com", "origin.test").replace("3128))", "%d))" % proxy.port))
    done = subprocess.run([python, str(script)], capture_output=True, text=True, timeout=60, env=clean_env())
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("100 answers, ") and len(lines) == 101, lines
    for n, line in enumerate(lines[1:], 1):
        size = len("/items?page=%d" % n)
        assert line == "http://origin.test/items?page=%d 200 %d bytes" % (n, size)


@pytest.mark.parametrize("find", [lambda: sys.executable, python2], ids=["python3", "python2"])
def test_the_batch_examples_run(find, make_proxy, serve, tmp_path):
    """The Python block and the curl line, against a service listener of the test's own; the answers are not ASCII."""
    python = find()
    if python is None:
        pytest.skip("no Python 2.7 here")
    origin = serve(answering(lambda request, conn: ok("h\u00e9llo")))
    proxy = make_proxy('rule "*" { connect_to = "127.0.0.1:%d" sni = "localhost" }' % origin.port, service=True)
    script = tmp_path / "example.py"
    code, = [block for block in blocks("python") if "/batch" in block]
    script.write_text(code.replace(":3129", ":%d" % proxy.service_port))
    done = subprocess.run([python, str(script)], capture_output=True, text=True, timeout=60, env=clean_env())
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [[str(n), "200", "5"] for n in range(100)]
    line, = [block for block in blocks("sh") if "/batch" in block]
    done = subprocess.run(["sh", "-c", line.replace(":3129", ":%d" % proxy.service_port)], capture_output=True,
                          text=True, timeout=60, env=clean_env())
    assert done.stdout.count('"status":200') == 2, done
