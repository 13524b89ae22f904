# SPDX-License-Identifier: Apache-2.0
"""Completions know every option of the program and every key of the configuration."""
import os
import re
import subprocess

import pytest

from conftest import ROOT, run

ASK = """
. "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_tlsfan
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def keys():
    with open(os.path.join(ROOT, "proxy", "conf", "keys.c")) as f:
        table = re.search(r"struct key global_keys\[\] = \{(.*?)\n\};", f.read(), re.S).group(1)
    found = re.findall(r'(?m)^\s*\{"([a-z0-9_.]+)"', table)
    assert len(found) > 40
    return found


@pytest.fixture(scope="module")
def flags(root):
    text = run(root / "usr/bin/tlsfan", "--help")
    found = set(re.findall(r"(?m)^ +(-\w), (?:--[\w-]+)", text)) | set(
        re.findall(r"(?m)^ +(?:-\w, )?(--[\w-]+)", text)
    )
    assert {"-c", "--config", "--check-health"} <= found
    return found


@pytest.fixture(scope="module")
def complete(root):
    """complete(word, ...): what bash offers for the last word."""
    script = root / "usr/share/bash-completion/completions/tlsfan"

    def ask(*words):
        return set(run("bash", "-c", ASK, "bash", script, "tlsfan", *words).split())

    return ask


def test_bash_knows_the_function(root):
    script = root / "usr/share/bash-completion/completions/tlsfan"
    assert run("bash", "-c", '. "$1" && complete -p tlsfan', "bash", script) == "complete -F _tlsfan tlsfan\n"


def test_bash_offers_every_flag(complete, flags):
    of_run = {"--intercept", "--capture", "--read-ahead"}
    assert complete("-") == flags - of_run
    assert complete("") == flags - of_run | {"run"}
    assert complete("run", "-") == flags | {"--"}
    assert complete("run", "--intercept", "--r") == {"--read-ahead"}
    assert complete("run", "--intercept", "=", "") == set()


def test_bash_offers_directories(complete, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "only.pem").touch()
    assert complete("--make-ca", str(tmp_path / "on")) == {str(tmp_path / "one")}


@pytest.mark.parametrize("before", [("-o",), ("--option",), ("--option", "=")])
def test_bash_offers_every_key(complete, keys, before):
    assert complete(*before, "") == {key + "=" for key in keys}
    assert complete(*before, "client.max_") == {key + "=" for key in keys if key.startswith("client.max_")}


@pytest.mark.parametrize("before", [("-c",), ("--config", "="), ("-o", "tls.ca_file", "=")])
def test_bash_offers_files(complete, tmp_path, before):
    (tmp_path / "one.pem").touch()
    assert complete(*before, str(tmp_path / "on")) == {str(tmp_path / "one.pem")}


def test_bash_offers_commands(complete):
    assert "readelf" in complete("run", "--", "reade")
    assert complete("-c", "run", "ru") == {"run"}


def test_bash_completion_loads_it(root):
    """By the name of the file, as in a shell that somebody uses."""
    loaded = ". /usr/share/bash-completion/bash_completion && _completion_loader tlsfan; complete -p tlsfan"
    env = {"BASH_COMPLETION_USER_DIR": str(root / "usr/share/bash-completion")}
    assert "_tlsfan tlsfan" in run("bash", "-c", loaded, env=env)


def test_zsh_takes_its_file(root, flags, keys):
    script = root / "usr/share/zsh/vendor-completions/_tlsfan"
    run("zsh", "-f", "-n", script)
    text = script.read_text()
    assert text.startswith("#compdef tlsfan\n")
    offered = re.findall(r"(?<![\w-])(--?[a-zA-Z][\w-]*)(?=[+=,}\[])", text.split("_arguments")[1])
    assert set(offered) == flags
    assert re.search(r"keys=\((.*?)\)", text).group(1).split() == keys


def test_zsh_offers_keys(root, keys, tmp_path):
    """In a shell on a terminal of its own: what is unique is completed, with the = of a key."""
    drive = """
        zmodload zsh/zpty && zpty shell "zsh -f -i"
        zpty -w shell "PS1=; fpath=(${(q)1} \\$fpath); autoload -U compinit; compinit -u -D; echo rea''dy"
        zpty -r shell line '*ready*'
        zpty -w -n shell $'tlsfan -o dns.neg\\t'
        zpty -r shell line '*dns.negative_ttl=*' && print -r -- "$line"
    """
    done = subprocess.run(
        ["zsh", "-f", "-c", drive, "zsh", str(root / "usr/share/zsh/vendor-completions")],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ, TERM="dumb"),
    )
    assert "tlsfan -o dns.negative_ttl=" in done.stdout, done
