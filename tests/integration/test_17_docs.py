# SPDX-License-Identifier: Apache-2.0
"""README files, manual pages and example file say what the program does; their examples run."""
import os
import re
import shutil
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


SCOPES = {"GLOBAL KEYS": "", "RULES": "rule", "FORWARDS": "forward", "SECRETS": "oauth"}


def manual_keys():
    """{(scope, name): default} of the lists of keys in tlsfan.conf(5)."""
    found = {}
    for title, text in re.findall(r"(?ms)^\.Sh ([^\n]+)\n(.*?)(?=^\.Sh |\Z)", manual("tlsfan.conf.5")):
        scope = SCOPES.get(title, title.lower() + ".")
        for name, said, default in re.findall(r"(?ms)^\.It Ic (\w+)\n(.*?)^Default:\n(?:\.Li )?([^\n]*)$", text):
            key = ("global", scope + name) if scope in ("", title.lower() + ".") else (scope, name)
            assert said.strip() and key not in found, key
            found[key] = default
    return found


def plain(value):
    return re.sub(r'[\s"{}]', "", value)


def manual(name):
    """A manual page without the escapes that stand for plain characters."""
    return unescaped(read("packaging", name))


def unescaped(text):
    return text.replace("\\-", "-").replace("\\(dq", '"').replace("\\&", "").replace("\\e", "\\")


def displays(name):
    """What stands in a manual page as it is: configurations, commands, programs."""
    return [unescaped(text) for text in re.findall(r"(?ms)^\.Bd -literal[^\n]*\n(.*?)^\.Ed", read("packaging", name))]


def blocks(language, *path):
    return re.findall(r"^```%s\n(.*?)^```" % language, read(*(path or ("README.md",))), re.S | re.M)


def test_the_dump_has_every_key(tlsfan):
    dumped = [key for key in assignments(tlsfan("-T").stdout) if key[0] == "global"]
    assert dumped == [key for key in keys() if key[0] == "global"]


def test_the_example_file_has_every_key():
    assert sorted(assignments(read("conf", "tlsfan.conf"))) == sorted(keys())


def test_the_manual_page_has_every_key_and_its_default():
    """In the section of its own, and none that there is not."""
    rows, conf = manual_keys(), assignments(read("conf", "tlsfan.conf"))
    assert sorted(rows) == sorted(keys())
    must = {key for key in rows if rows[key] == "none,\\ it\\ must\\ be\\ set"}
    assert must == {("forward", "to"), ("oauth", "token_url"), ("oauth", "client_id"), ("oauth", "client_secret")}
    differ = [key for key in rows if plain(rows[key]) != plain(conf[key]) and key not in must]
    assert not differ, [(key, rows[key], conf[key]) for key in differ]


def faults():
    """{"STATUS TYPE"} of the table of faults, without the status where there is no answer."""
    rows = re.findall(r'\[FAULT_\w+\] =\s*\{(\d+),\s*"(\w+)"', read("proxy", "base", "fault.c"))
    assert len(rows) > 30
    return {status + " " + name if status != "0" else name for status, name in rows}


def test_the_manual_page_has_every_error():
    """Each status and error of the table of faults, and no other; each says what is wrong and what to do."""
    terms = re.split(r"(?m)^\.It ", manual("tlsfan-errors.7"))[1:]
    found = {}
    for term in terms:
        line, text = term.split("\n", 1)
        name = re.fullmatch(r"(?:Li )?((?:[45]\d\d )?[a-z_]+)", line)
        if name and "_" in line:
            found.setdefault(name.group(1), []).append(text.split("\n.El")[0])
    assert set(found) == faults(), set(found) ^ faults()
    for name, texts in found.items():
        assert all(len(re.split(r"(?m)^\.br$", text)) == 2 for text in texts), name


def test_the_manual_page_has_what_certificates_lack():
    """The sentences for checks that fail, each to where it begins to explain itself."""
    text = manual("tlsfan-errors.7")
    rows = dict(re.findall(r'\{(?:X509_V_ERR_)?(\w+),\s*"([^":;]+)', read("proxy", "net", "tls_verdict.c")))
    for code in ("DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_GET_ISSUER_CERT",
                 "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "CERT_REVOKED", "INVALID_CA",
                 "INVALID_PURPOSE", "CERT_SIGNATURE_FAILURE", "PATH_LENGTH_EXCEEDED", "CERT_CHAIN_TOO_LONG"):
        assert rows[code] in text, rows[code]


PAGES = ("tlsfan.8", "tlsfan.conf.5", "tlsfan-errors.7")


@pytest.mark.parametrize("name", PAGES)
def test_manual_pages_are_well_formed(name):
    path = os.path.join(ROOT, "packaging", name)
    if shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-Tlint", "-W", "warning", path], capture_output=True, text=True)
        assert done.returncode == 0 and not done.stdout, done.stdout
    shown = subprocess.run(["man", "-l", "--warnings", path], capture_output=True, text=True,
                           env=dict(clean_env(), MANWIDTH="100", LC_ALL="C.UTF-8"))
    assert shown.returncode == 0 and not shown.stderr, shown.stderr
    assert len(shown.stdout.splitlines()) > 100
    assert "@@" not in shown.stdout and "\u2014" not in shown.stdout.split("DESCRIPTION", 1)[1]


@pytest.mark.parametrize("name", PAGES)
def test_commands_of_manual_pages_can_be_copied(name):
    """Of a bare apostrophe, or hyphen before an option, some groffs make signs that no shell knows."""
    text = read("packaging", name)
    lines = re.findall(r"(?m)^\.(?:Li|Dl) .*", text)
    lines += [x for block in re.findall(r"(?ms)^\.Bd -literal[^\n]*\n(.*?)^\.Ed", text) for x in block.splitlines()]
    assert len(lines) > 30
    assert not [x for x in lines if re.search(r"'|(?<![\w\\-])-[-a-z]", x)]


@pytest.mark.parametrize("name", PAGES)
def test_manual_pages_name_sections_and_pages_that_there_are(name):
    text = manual(name)
    titles = set(re.findall(r"(?m)^\.S[hs] (.*)$", text))
    assert {x.rstrip(" .,;)") for x in re.findall(r"(?m)^\.Sx (.*)$", text)} <= titles
    own = {tuple(page.rsplit(".", 1)) for page in PAGES}
    for page in re.findall(r"(?m)^\.Xr (tlsfan\S*) (\d)", text):
        assert page in own, page


def test_documents_name_sections_of_the_manual_that_there_are():
    """As README does, a link and capitals: [tlsfan(8)][man8], RUN."""
    named = re.findall(r"\[tlsfan(?:\.conf|-errors)?\((\d)\)\]\[\w+\],\s([A-Z][A-Z -]+[A-Z])", read("README.md"))
    assert len(named) > 10
    pages = {page[-1]: set(re.findall(r"(?m)^\.Sh (.*)$", manual(page))) for page in PAGES}
    for number, title in named:
        assert " ".join(title.split()) in pages[number], (number, title)


def test_every_flag_is_documented(tlsfan):
    flags = set(re.findall(r"(?<![\w-])(--?[A-Za-z][\w-]*)", re.sub(r"(?m)^(?!\s+-).*$", "", tlsfan("--help").stdout)))
    assert {"-c", "--config", "-o", "--option", "--dump"} <= flags
    page = manual("tlsfan.8")
    page = re.sub(r"(?m)^\..*\bFl .*", lambda line: re.sub(r"(?<=Fl )(?=\S)|(?<=, )(?=-)", "-", line.group()), page)
    missing = [flag for flag in sorted(flags) if not re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(flag), page)]
    assert not missing, missing


READMES = ["README.md", "packaging/README.md", "packaging/gateway/README.md", "proxy/README.md", "tests/README.md",
           "tests/replay/README.md"]


def titles(text):
    """The anchors of its headings."""
    text = re.sub(r"(?ms)^```.*?^```", "", text)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)$", text)]


def links(text):
    """Inline ones, and those that are named and stand at the end; each name that is used is there."""
    text = re.sub(r"(?ms)^```.*?^```", "", text)
    named = dict(re.findall(r"(?m)^\[([^\]]+)\]: (\S+)$", text))
    assert set(re.findall(r"\]\[([^\]]+)\]", text)) == set(named)
    return re.findall(r"\]\(([^)\s]+)\)", text) + list(named.values())


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name):
    text = read(name)
    for link in links(text):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        path = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
        assert os.path.exists(os.path.join(ROOT, path)), link
        assert not anchor or anchor in titles(read(path)), link


def test_the_first_readme_stays_readable():
    """In one sitting, in a terminal, in plain words; a link to each of the others."""
    text = read("README.md")
    lines = text.splitlines()
    assert len(lines) <= 405 and max(map(len, lines)) <= 100, [x for x in lines if len(x) > 100]
    for page in ("packaging/README.md", "tests/README.md", "proxy/README.md", "conf/tlsfan.conf",
                 *("packaging/" + name for name in PAGES)):
        assert page in {link.partition("#")[0] for link in links(text)}, page
    for name in ("README.md", "packaging/README.md", "tests/README.md"):
        assert "\u2014" not in read(name), name


def test_the_readmes_name_what_there_is_to_copy():
    """Manifests, and folders with a page of their own."""
    text = read("packaging", "README.md")
    for folder, _, names in os.walk(os.path.join(ROOT, "packaging")):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), os.path.join(ROOT, "packaging"))
            if name.endswith((".yaml", ".md")) and path != "README.md":
                assert "](%s)" % path in text, path


def test_variables_of_the_documents_exist():
    names = {"TLSFAN_" + name.upper().replace(".", "_") for scope, name in keys() if scope == "global"}
    named = set().union(*(re.findall(r"\bTLSFAN_[A-Z][A-Z_]*", text) for text in
                          [read("README.md"), read("packaging", "README.md")] + [manual(page) for page in PAGES]))
    assert named >= {"TLSFAN_LISTEN", "TLSFAN_CLIENT_ALLOW"}
    assert named <= names | {"TLSFAN_FORWARD", "TLSFAN_"}, named - names


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
    assert len(blocks("conf")) >= 5
    for text in blocks("conf"):
        check_conf(tlsfan, ca, tmp_path, text)


def test_configurations_of_the_manual_are_good(tlsfan, ca, tmp_path):
    """All displays that begin as one does; interception needs a CA's own key, which no leaf has."""
    sections = r"(listen|rule|upstream|tls|forward|client) ?[\"={]"
    texts = [text for text in displays("tlsfan.conf.5") if re.match(sections, text)]
    assert len(texts) > 9
    for text in texts:
        check_conf(tlsfan, ca, tmp_path, text)


EXAMPLES = sorted(os.listdir(os.path.join(ROOT, "conf", "examples")))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_good(tlsfan, ca, tmp_path, name):
    text, readme = read("conf", "examples", name), read("README.md")
    check_conf(tlsfan, ca, tmp_path, text)
    assert "](conf/examples/%s)" % name in readme
    sections = re.findall(r'"([^"]*)"', re.search(r"README: (.*)", text).group(1))
    assert sections and all(re.search(r"(?m)^#+ %s" % re.escape(title), readme) for title in sections), sections
    said = re.findall(r"(tlsfan(?:\.conf|-errors)?)\((\d)\), ([A-Z][A-Z -]+[A-Z])", text)
    assert said, "no section of the manual"
    for page, number, title in said:
        assert ".Sh %s\n" % title in manual("%s.%s" % (page, number)), title


@pytest.mark.parametrize("find", [lambda: sys.executable, python2], ids=["python3", "python2"])
def test_the_pipelining_example_runs(find, proxy, origin, tmp_path):
    """It stands in the manual, whole; against the test's proxy and origin."""
    python = find()
    if python is None:
        pytest.skip("no Python 2.7 here")
    code, = [text for text in displays("tlsfan.8") if "HTTPResponse" in text]
    script = tmp_path / "example.py"
    script.write_text(code.replace("api.example.com", "origin.test").replace("3128))", "%d))" % proxy.port))
    done = subprocess.run([python, str(script)], capture_output=True, text=True, timeout=60, env=clean_env())
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 100, lines
    for n, line in enumerate(lines, 1):
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
    code, = [text for text in displays("tlsfan.8") if "urllib2" in text and "/batch" in text]
    script.write_text(code.replace(":3129", ":%d" % proxy.service_port))
    done = subprocess.run([python, str(script)], capture_output=True, text=True, timeout=60, env=clean_env())
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [[str(n), "200", "5"] for n in range(100)]
    line, = [block for block in blocks("sh") if "/batch" in block]
    done = subprocess.run(["sh", "-c", line.replace(":3129", ":%d" % proxy.service_port)], capture_output=True,
                          text=True, timeout=60, env=clean_env())
    assert done.stdout.count('"status":200') == 2, done
