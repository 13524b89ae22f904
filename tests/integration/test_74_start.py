# SPDX-License-Identifier: Apache-2.0
"""What -t, -V and the start say to a person: warnings of what cannot work, and whom a fault blames."""
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from testenv.ports import free_port
from testenv.proxy import binary, clean_env


@pytest.fixture
def ask(tlsfan, tmp_path):
    """ask(text, *flags, env=None): what -t does with a file of TEXT."""
    def ask(text, *flags, env=None, option="-t"):
        path = tmp_path / "t.conf"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        os.chmod(path, 0o640)
        done = tlsfan(option, "-c", str(path), *flags, env=env)
        done.path = str(path)
        return done
    return ask


def warnings(done):
    return [x.split(" warning ", 1)[1] for x in done.stderr.splitlines() if " warning " in x]


# --- what -t says

def test_ok_names_the_file(ask, tlsfan, tmp_path):
    done = ask("via = on\n")
    assert (done.stdout, done.stderr) == ("configuration ok: %s\n" % done.path, "")
    (tmp_path / "b.conf").write_text("include(\"c.conf\")\n")
    (tmp_path / "c.conf").write_text("")
    done = ask('include("b.conf")\n')
    assert done.stdout == "configuration ok: {0}/t.conf with {0}/b.conf, {0}/c.conf\n".format(tmp_path)
    assert tlsfan("-t").stdout == "configuration ok: no file, but defaults, variables and flags\n"


def test_faults_come_in_the_order_of_lines(ask, tmp_path):
    (tmp_path / "b.conf").write_text("workers = no\n")
    done = ask('rule "a" {\n port = x\n}\ninclude("b.conf")\nlog {\n level = loud\n}\nrule "b" { port = y }\nvia = z\n'
               'client {\n cert = "/nonexistent"\n}\n', "-o", "dns.family=x", "-s", "3129",
               env={"TLSFAN_MAX_MEMORY": "x"})
    places = [x.split(": ", 1)[0] for x in done.stderr.splitlines()]
    assert done.returncode == 1
    assert places == ["%s:%d" % (done.path, n) for n in (2, 6, 8, 9, 11)] + [
        "%s/b.conf:1" % tmp_path, "TLSFAN_MAX_MEMORY", "-s 3129", "-o dns.family"]


@pytest.mark.parametrize("flags, begin", [
    (["-l", "foo"], '-l foo: "foo" is no listener'),
    (["--listen=foo"], "-l foo: "),
    (["-l", "3128"], '-l 3128: "3128" is no listener: its address is missing, write 127.0.0.1:3128'),
    (["-l", "0.0.0.0:1"], "-l 0.0.0.0:1: listener 0.0.0.0:1 is open to other machines"),
    (["-o", "client.allow=10.0.0.0/8,::1"], '-o client.allow: "10.0.0.0/8,::1" is no network'),
    (["-s", "3129"], '-s 3129: "3129" is no listener: its address is missing, write 127.0.0.1:3129'),
    (["-f", "127.0.0.1:1=ftp://x"], '-f 127.0.0.1:1=ftp://x: "ftp://x" is not http(s)://'),
    (["-w", "zero"], '-w zero: "zero" is no number'),
    (["-o", "workers=zero"], '-o workers: "zero" is no number'),
    (["-o", "worker=1"], "-o worker: unknown key: did you mean workers?"),
    (["-l", "127.0.0.1:3129"], "-l 127.0.0.1:3129: listener 127.0.0.1:3129 is also the service listener (its default)"),
    (["-f", "127.0.0.1:3129=http://x"], "-f 127.0.0.1:3129=http://x: listener 127.0.0.1:3129 is also the service "
                                        "listener (its default)"),
])
def test_the_flag_that_was_used_is_blamed(tlsfan, flags, begin):
    done = tlsfan("-t", *flags)
    assert done.returncode == 1 and done.stderr.startswith(begin) and done.stderr.count("\n") == 1, done.stderr


def test_a_flag_is_blamed_at_start_too(tlsfan):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        place = "127.0.0.1:%d" % s.getsockname()[1]
        done = tlsfan("-l", place, "-s", "off")
    assert done.returncode == 3 and "(-l %s)" % place in done.stderr, done.stderr
    assert "Address already in use" in done.stderr and "ss -ltnp" in done.stderr
    done = tlsfan("-l", "192.0.2.1:1", "-s", "off", "-o", "client.allow=any")
    assert done.returncode == 3 and "no interface of this machine has it" in done.stderr


def test_a_file_without_its_flag(tlsfan, tmp_path):
    (tmp_path / "t.conf").write_text("")
    done = tlsfan(str(tmp_path / "t.conf"))
    assert done.returncode == 2 and "a configuration file is named with -c" in done.stderr


def test_unknown_variables_have_a_suggestion(ask):
    done = ask("", env={"TLSFAN_CRL_FILE": "/x"})
    assert warnings(done) == ["TLSFAN_CRL_FILE: unknown variable, ignored: did you mean TLSFAN_TLS_CRL_FILE?"]


# --- as a newcomer writes it: each with what to do

SLIPS = [
    ("worker = 2\n", 'unknown key "worker": did you mean workers?'),
    ('ca_file = "/x"\n', 'it belongs into tls { } or rule "PATTERN" { }'),
    ('tls { verify = off }\n', 'it belongs into rule "PATTERN" { }'),
    ('rule "a" { verfy = off }\n', "did you mean verify?"),
    ('rule "a" { tls { } }\n', "sections do not stand in each other: close rule { } first"),
    ("tls.ca_file = /x\n", "in a file it is written tls { ca_file = ... }"),
    ("workers: 3\n", 'a key is followed by "=", not by ":"'),
    ("client:\n  allow: any\n", "write client { }"),
    ("[client]\n", "write client { }"),
    ("workers = 3;\n", 'nothing ends with ";" here: leave it out'),
    ("workers 3\n", "write KEY = VALUE"),
    ("client = { lenient = on }\n", "write NAME { KEY = VALUE }"),
    ("include /x.conf\n", 'write include("FILE")'),
    ("rule *.a.test { }\n", 'put the whole text into them, as in "*.example.com"'),
    ('rule "https://a.test/" { }\n', "a rule is for hosts, without scheme and path"),
    ('destination { allow_hosts = ["a"] }\n', 'a list is written with braces: {"one", "two"}'),
    ('client { allow = "10.0.0.0/8, ::1" }\n', 'a list is {"ONE", "TWO"}'),
    ('destination { allow_hosts = {"a" "b"} }\n', 'is there a ",", a "=" or a quote missing before it?'),
    ('listen = "127.0.0.1"\n', "its port is missing, write 127.0.0.1:3128"),
    ('listen = "::1"\n', "its port is missing, write [::1]:3128"),
    ("listen = 3128\n", "its address is missing, write 127.0.0.1:3128"),
    ('listen = "localhost:3128"\n', "a name is no address, write 127.0.0.1:3128"),
    ("via = \u201con\u201d\n", "these quotes are a word processor's"),
    ("client {\n lenient = on\n", "this { is not closed"),
    ("drain_timeout = 30\n", "lacks a unit: ms, s, m or h"),
    ("drain_timeout = 30sec\n", "its unit must be ms, s, m or h"),
    ("max_memory = 1GB\n", "write bytes, or a number with k, m or g"),
    ("via = enabled\n", "is neither on nor off"),
    (b"\xef\xbb\xbfvia = on\n", "save it as UTF-8 without one"),
    ("via = on\n".encode("utf-16"), "save it as UTF-8"),
    ('rule "a" { request_header = {"A: {file:/nonexistent}"} }\n', "{file:/nonexistent}: No such file or directory"),
]


@pytest.mark.parametrize("text, advice", SLIPS)
def test_slips_are_answered_with_what_to_do(ask, text, advice):
    done = ask(text)
    assert done.returncode == 1 and advice in done.stderr, done.stderr
    assert done.stderr.startswith(done.path + ":") and "\x00" not in done.stderr


@pytest.mark.parametrize("text", ["via = yes\nlog { query = true }\n", "via = on\r\n", "\tvia\t=\ton\n",
                                  'rule a.test { }\n', 'listen = {127.0.0.1:0, [::1]:0}\n',
                                  "via = on log { query = off }"])
def test_what_is_meant_is_taken(ask, text):
    done = ask(text)
    assert done.returncode == 0 and done.stderr == "", done.stderr


# --- warnings

def test_a_rule_behind_one_that_has_all_its_hosts(ask):
    done = ask('rule "*.a.test" { }\nrule "b.a.test" { }\nrule "*.b.a.test:80" { }\nrule "a.test" { }\n'
               'rule "c:8080" { }\nrule "c" { }\nrule "c:443" { }\nrule "*:99" { }\nrule "d:99" { }\nrule "d" { }\n')
    got = [re.match(r'.*:(\d+): rule "(\S+)" never holds: rule "(\S+)" \(.*:(\d+)\) stands before it', x).groups()
           for x in warnings(done)]
    assert done.returncode == 0 and got == [("2", "b.a.test", "*.a.test", "1"), ("3", "*.b.a.test:80", "*.a.test", "1"),
                                            ("7", "c:443", "c", "6"), ("9", "d:99", "*:99", "8")], done.stderr


def test_many_such_rules_are_counted(ask):
    done = ask('rule "*" { }\n' + "".join('rule "h%d" { }\n' % i for i in range(1000)))
    assert len(warnings(done)) == 21 and warnings(done)[-1] == "980 more rules never hold for the same reason"


@pytest.mark.parametrize("text, warning", [
    ('rule "a" { verify = off }\n', 'rule "a" has verify = off'),
    ('rule "a" { security_level = 0 }\n', 'rule "a" has security_level = 0'),
    ('listen = "192.0.2.1:3128"\nclient { allow = any }\n', "listener 192.0.2.1:3128 could not be opened here: Cannot "
                                                            "assign requested address (no interface of this machine"),
    ('listen = "unix:/nonexistent/x"\n', "listener unix:/nonexistent/x could not be opened here: No such file"),
    ('upstream { bind = "192.0.2.1" }\n', "upstream.bind = 192.0.2.1 cannot be used"),
    ('forward "127.0.0.1:9001" { to = "http://localhost:3128" }\n', "to leads to 127.0.0.1:3128, which is a listener"),
    ('rule "a" { connect_to = "127.0.0.1:3129" }\n', "connect_to leads to 127.0.0.1:3129, which is a listener"),
    ('connect_to = {"a:443:127.0.0.1:3129"}\n', "connect_to leads to 127.0.0.1:3129, which is a listener"),
    ('upstream { proxy = "http://127.0.0.1:3128" }\n', "upstream.proxy leads to 127.0.0.1:3128, which is a listener"),
    ("client { allow = {} }\n", "client.allow is empty"),
    ('rule "a:80" { upgrade = off }\n', 'is matched as port 443: leave ":80" out'),
    ("destination { ports = {80, 8080} }\n", "destination.ports has 80 and not 443"),
    ('oauth "x" { token_url = "https://h/x" client_id = a client_secret = "{env:HOME}" }\n', 'oauth "x" is used by no'),
])
def test_what_cannot_work_is_warned_of(ask, text, warning):
    done = ask(text)
    assert done.returncode == 0 and done.stdout.startswith("configuration ok: "), done.stderr
    assert len(warnings(done)) == 1 and warning in warnings(done)[0], done.stderr


@pytest.mark.parametrize("text", [
    "destination { ports = {80, 443} }\n", "destination { ports = {8080} }\n",
    'destination { ports = {80} }\nrule "a" { upgrade = off }\n', 'rule "a:80" { http2 = off }\n'])
def test_port_80_where_it_is_used(ask, text):
    done = ask(text)
    assert done.returncode == 0 and done.stderr == ""


def test_a_revocation_list_that_has_expired(ask, ca):
    now = time.time()
    done = ask('tls { crl_file = "%s" }\n' % ca.short_crl(now - 200, now - 100))
    assert len(warnings(done)) == 2 and done.returncode == 0, done.stderr
    assert all("short.crl: a revocation list has expired: " in x for x in warnings(done))
    assert warnings(ask('tls { crl_file = "%s" }\n' % ca.crl())) == []


def test_passwords_that_anybody_can_read(ask, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    os.chmod(secret, 0o644)
    conf = 'upstream { proxy = "http://u:%s@h.test:3128" }\n'
    done = ask(conf % ("{file:%s}" % secret))
    warning, = warnings(done)
    assert "{file:%s} can be read by every user of this machine: chmod o-r" % secret in warning
    os.chmod(secret, 0o640)
    assert warnings(ask(conf % ("{file:%s}" % secret))) == []
    done = ask(conf % "hunter2")
    assert warnings(done) == [] and "hunter2" not in done.stderr
    extra = tmp_path / "extra.conf"
    extra.write_text(conf % "hunter2")
    os.chmod(extra, 0o644)
    done = ask('include("extra.conf")\n')
    assert len(warnings(done)) == 1 and warnings(done)[0].startswith("%s:1: every user" % extra)
    done = ask("", "-o", "upstream.proxy=http://u:hunter2@h.test:1")
    assert len(warnings(done)) == 1 and "in the list of processes" in done.stderr and "hunter2" not in done.stderr


def test_a_store_without_any_ca(ask, ca, tmp_path, make_proxy):
    (tmp_path / "certs").mkdir()
    os.symlink("/nonexistent", tmp_path / "certs" / "0a1b2c3d.0")
    none = {"SSL_CERT_FILE": "/nonexistent.pem", "SSL_CERT_DIR": str(tmp_path / "certs")}
    done = ask("", env=none)
    assert done.returncode == 0 and len(warnings(done)) == 1
    for part in ("/nonexistent.pem (SSL_CERT_FILE)", "%s/certs (SSL_CERT_DIR)" % tmp_path, "ca-certificates",
                 "tls.ca_file"):
        assert part in done.stderr
    assert warnings(ask('rule "a" { sni = b }\ntls { ca_file = "%s" }\n' % ca.root, env=none)) == []
    assert warnings(ask('tls { ca_extra = "%s" }\n' % ca.root, env=none)) == []
    assert warnings(ask("", env=dict(none, SSL_CERT_FILE=ca.root))) == []
    all_hosts = 'rule "*" { ca_file = "%s" }\n' % ca.root
    assert warnings(ask(all_hosts, env=none)) == [] and warnings(ask('rule "*" { upgrade = off }\n', env=none)) == []
    for other in ('rule "a" { sni = b }\n' + all_hosts, all_hosts.replace("*", "*.test")):
        assert len(warnings(ask(other, env=none))) == 1
    os.unlink(tmp_path / "certs" / "0a1b2c3d.0")
    shutil.copy(ca.root, tmp_path / "certs" / "0a1b2c3d.0")
    assert warnings(ask("", env=none)) == []


def test_run_has_no_use_for_all_of_a_file(ask, ca):
    """The CA of --intercept is made for the run, and not to test it; listeners of the file are not opened."""
    text = 'rule "a.test" { http2 = off }\nlisten = "tls:127.0.0.1:3130"\nclient { cert = "%s" key = "%s" }\n'
    done = ask(text % tuple(ca.leaf()), "run", "--intercept", "--", "true")
    assert done.returncode == 0 and done.stderr == ""


def test_what_the_service_manager_makes_is_no_warning(ask):
    done = ask('listen = "unix:/run/made-at-start/tlsfan.sock"\n')
    assert done.returncode == 0 and done.stderr == ""


def test_a_used_port_is_no_warning(ask):
    """The tlsfan that is about to reload this has it."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        done = ask('listen = "127.0.0.1:%d"\n' % s.getsockname()[1])
    assert done.returncode == 0 and done.stderr == ""


def test_what_root_can_read_and_the_service_cannot(ask, tmp_path):
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("not root, or no unshare")
    users = tmp_path / "passwd"
    users.write_text("root:x:0:0::/:/bin/sh\ntlsfan:x:54321:54321::/:/bin/false\n")
    conf, log = tmp_path / "t.conf", tmp_path / "log"
    log.mkdir()
    conf.write_text('log { access = "%s/access.log" }\n' % log)
    for path in (log, tmp_path, *tmp_path.parents):
        if os.stat(path).st_mode & 0o055 != 0o055:
            os.chmod(path, 0o755)
    script = 'mount --bind "$1" /etc/passwd && shift && exec "$@"'

    def run(*prefix):
        return subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", str(users), *prefix, binary(), "-t", "-c",
                               str(conf)], capture_output=True, text=True, env=clean_env())
    os.chmod(conf, 0o600)
    done = run()
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0 and len(warnings(done)) == 2, done.stderr
    assert "%s cannot be read by the user tlsfan" % conf in done.stderr
    assert "%s/access.log cannot be written by the user tlsfan" % log in done.stderr
    # In a container root may have no capability: then it cannot ask as another user.
    done = run("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    assert done.returncode == 0 and done.stdout.startswith("configuration ok: ") and done.stderr == ""
    os.chmod(conf, 0o644)
    os.chown(log, 54321, 54321)
    assert warnings(run()) == []


def test_the_start_warns_too(make_proxy):
    p = make_proxy('rule "*" { }\nrule "a.test" { }\n')
    p.wait_log('rule "a.test" never holds')


def test_dump_reads_back_where_there_are_warnings(ask):
    done = ask('rule "*" { }\nrule "a.test" { }\n', option="-T")
    assert done.returncode == 0 and done.stdout.startswith("listen = ") and "never holds" in done.stderr
    assert ask(done.stdout, option="-T").stdout == done.stdout


# --- -V

def test_version_names_the_libraries(tlsfan):
    lines = tlsfan("-V").stdout.splitlines()
    assert re.match(r"tlsfan \d+\.\d+", lines[0])
    names = [x.split()[0] for x in lines[1:]]
    assert names == ["OpenSSL", "libevent", "nghttp2", "c-ares", "libConfuse", "Jansson", "libevhtp"]
    assert all(re.match(r"\S+ \d+(\.\d+)*", x) for x in lines[1:]), lines


def test_listeners_that_cannot_both_be(tlsfan):
    port = free_port()
    done = tlsfan("-t", "-l", "0.0.0.0:%d" % port, "-l", "127.0.0.1:%d" % port, "-o", "client.allow=any")
    assert done.returncode == 1 and "takes the port of the proxy listener 0.0.0.0:%d" % port in done.stderr
    assert tlsfan("-t", "-l", "0.0.0.0:%d" % port, "-l", "[::]:%d" % port, "-o", "client.allow=any").returncode == 0
