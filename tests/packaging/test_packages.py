# SPDX-License-Identifier: Apache-2.0
"""The .deb and the .rpm: what is in them, and what lintian says. Nothing is installed here."""
import gzip
import io
import os
import re
import subprocess
import tarfile

import pytest

from conftest import ROOT, make, run

EXAMPLES = "/usr/share/doc/tlsfan/examples"
FILES = {
    "/etc/apparmor.d/tlsfan",
    "/etc/logrotate.d/tlsfan",
    "/etc/tlsfan/tlsfan.conf",
    "/lib/systemd/system/tlsfan-service.socket",
    "/lib/systemd/system/tlsfan.service",
    "/lib/systemd/system/tlsfan.socket",
    "/usr/bin/tlsfan",
    "/usr/share/bash-completion/completions/tlsfan",
    "/usr/share/doc/tlsfan/changelog.gz",
    "/usr/share/doc/tlsfan/copyright",
    *("%s/%s/%s" % (EXAMPLES, folder, name)
      for folder in ("gateway", "monitoring", "nftables")
      for name in os.listdir(os.path.join(ROOT, "packaging", folder))),
    *("%s/%s" % (EXAMPLES, name) for name in os.listdir(os.path.join(ROOT, "conf", "examples"))),
    "/usr/share/man/man5/tlsfan.conf.5.gz",
    "/usr/share/man/man7/tlsfan-errors.7.gz",
    "/usr/share/man/man8/tlsfan.8.gz",
    "/usr/share/zsh/vendor-completions/_tlsfan",
}
CONFIGURATION = {path for path in FILES if path.startswith("/etc/")}
COMPRESSED = {
    "usr/share/man/man8/tlsfan.8.gz": "tlsfan.8",
    "usr/share/man/man5/tlsfan.conf.5.gz": "tlsfan.conf.5",
    "usr/share/man/man7/tlsfan-errors.7.gz": "tlsfan-errors.7",
    "usr/share/doc/tlsfan/changelog.gz": "changelog",
}


def source(*path):
    with open(os.path.join(ROOT, *path), "rb") as f:
        return f.read()


def version_of_the_program():
    return re.search(rb"project\(tlsfan VERSION ([\d.]+)", source("CMakeLists.txt")).group(1).decode()


def test_lintian_has_nothing_to_say(packages):
    said = run("lintian", "--allow-root", "--fail-on", "error,warning", packages.deb)
    assert not re.search(r"(?m)^[EW]: ", said), said


def test_the_deb_has_its_files(packages):
    """All of root's, and writable by root alone."""
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", packages.deb], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as members:
        found = {m.name.lstrip("."): m for m in members if m.name not in (".", "./")}
    assert {name for name, m in found.items() if not m.isdir()} == FILES
    assert all(found[name].isreg() for name in FILES)
    for name, member in found.items():
        assert (member.uname, member.gname) == ("root", "root"), name
        assert member.mode == (0o755 if member.isdir() or name == "/usr/bin/tlsfan" else 0o644), name


def test_the_deb_lists_its_configuration(control):
    assert set((control / "conffiles").read_text().split()) == CONFIGURATION


def test_the_deb_depends_on_what_the_program_needs(packages, root):
    """Every library that it loads comes from a package that is named."""
    depends = run("dpkg-deb", "-f", packages.deb, "Depends")
    names = {re.split(r"[\s(]", part.strip())[0] for part in depends.split(",")}
    assert {"adduser", "ca-certificates", "procps", "libc6", "libssl3", "libnghttp2-14"} <= names
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", root / "usr/bin/tlsfan"))
    owners = dict(reversed(line.split(": ")) for line in run("dpkg", "-S", *("*/" + x for x in needed)).splitlines())
    for library in needed:
        assert names & {owner.split(":")[0] for path, owner in owners.items() if path.endswith("/" + library)}, library


def test_versions_agree(packages, root):
    version = version_of_the_program()
    assert packages.deb.endswith("/tlsfan_%s_%s.deb" % (version, run("dpkg", "--print-architecture").strip()))
    assert os.path.basename(packages.rpm).startswith("tlsfan-%s-1." % version)
    assert run("dpkg-deb", "-f", packages.deb, "Version").strip() == version
    changelog = os.path.join(ROOT, "packaging", "changelog")
    assert run("dpkg-parsechangelog", "-l", changelog, "-S", "Version").strip() == version
    assert version in run(root / "usr/bin/tlsfan", "-V")


def test_the_configuration_is_the_example_and_good(root):
    assert (root / "etc/tlsfan/tlsfan.conf").read_bytes() == source("conf", "tlsfan.conf")
    run(root / "usr/bin/tlsfan", "-t", "-c", root / "etc/tlsfan/tlsfan.conf")


@pytest.mark.parametrize("path", sorted(COMPRESSED))
def test_texts_are_compressed_reproducibly(root, path):
    """gzip -9n: no time in the header, and 2 for the best compression."""
    data = (root / path).read_bytes()
    assert data[4:9] == b"\0\0\0\0\2"
    assert gzip.decompress(data) == source("packaging", COMPRESSED[path])


def test_the_rpm_has_the_same_files(packages, root, tmp_path):
    listed = set(run("rpm", "-qpl", packages.rpm).split())
    folders = {path for path in listed if any(other.startswith(path + "/") for other in FILES)}
    assert listed - folders == FILES
    own = {"/etc/tlsfan", "/usr/share/doc/tlsfan", EXAMPLES, EXAMPLES + "/gateway", EXAMPLES + "/monitoring",
           EXAMPLES + "/nftables"}
    assert folders == own, "folders of other packages"
    archive = run("sh", "-c", 'rpm2cpio "$1" | cpio -t --quiet', "sh", packages.rpm)
    assert {path.lstrip(".") for path in archive.split()} - folders == FILES
    run("sh", "-c", 'rpm2cpio "$1" | cpio -id --quiet', "sh", packages.rpm, cwd=tmp_path)
    for path in FILES:
        assert (tmp_path / path[1:]).read_bytes() == (root / path[1:]).read_bytes(), path


def test_the_rpm_keeps_configuration(packages):
    assert set(run("rpm", "-qpc", packages.rpm).split()) == CONFIGURATION
    flags = run("rpm", "-qp", "--qf", "[%{FILENAMES} %{FILEFLAGS:fflags}\n]", packages.rpm)
    assert {line.split()[0] for line in flags.splitlines() if line.endswith(" cn")} == CONFIGURATION
    owners = run("rpm", "-qp", "--qf", "[%{FILEUSERNAME}:%{FILEGROUPNAME}\n]", packages.rpm)
    assert set(owners.split()) == {"root:root"}


def test_both_packages_describe_the_program(packages):
    deb = run("dpkg-deb", "-f", packages.deb, "Description")
    rpm = run("rpm", "-qp", "--qf", "%{SUMMARY}\n%{DESCRIPTION}\n%{PREFIXES}\n", packages.rpm)
    assert re.sub(r"(?m)^ \.?", "", deb).split() == rpm.replace("(none)", "").split()


def test_the_rpm_names_what_it_needs(packages):
    needs = run("rpm", "-qp", "--requires", packages.rpm)
    for need in ("ca-certificates", "/usr/sbin/useradd", "libssl.so.3", "libnghttp2.so.14"):
        assert need in needs, needs


def test_scripts_are_shell(packages, control):
    scripts = [control / name for name in ("postinst", "prerm", "postrm")]
    scripts += [os.path.join(ROOT, "packaging", "rpm", name) for name in ("pre", "post", "preun", "postun")]
    for script in scripts:
        run("sh", "-n", script)
    carried = run("rpm", "-qp", "--scripts", packages.rpm)
    names = re.findall(r"(?m)^(\w+) scriptlet", carried)
    assert names == ["preinstall", "postinstall", "preuninstall", "postuninstall"]


def test_packages_may_have_another_version(packages, tmp_path):
    """For a test of upgrades; nothing is compiled again."""
    other = make(tmp_path, "9.8.7", build=packages.build)
    assert run("dpkg-deb", "-f", other.deb, "Version").strip() == "9.8.7"
    assert "/tlsfan_9.8.7_" in other.deb and "/tlsfan-9.8.7-1." in other.rpm


def test_an_install_without_packages_is_what_it_was(packages, tmp_path):
    """`cmake --install` leaves out what is Debian's or systemd's."""
    run("cmake", "--install", packages.build, "--prefix", tmp_path)
    found = {
        os.path.relpath(os.path.join(folder, name), tmp_path)
        for folder, _, names in os.walk(tmp_path)
        for name in names
    }
    assert found == {"bin/tlsfan", "etc/tlsfan/tlsfan.conf", "share/man/man5/tlsfan.conf.5",
                     "share/man/man7/tlsfan-errors.7", "share/man/man8/tlsfan.8"}
