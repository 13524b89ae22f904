# SPDX-License-Identifier: Apache-2.0
"""The container image, built by buildah without a container engine, and its program run as an engine would run it.

buildah's storage and settings live in a directory of the test's, so nothing of the machine's is used or changed."""
import json
import os
import shutil
import signal
import subprocess

from debian import Machine, children, end, logged
from testenv.proxy import ROOT
from testenv.wait import wait_until

# Addresses of the network that a test with a container gets: where its clients come from, and no private one.
PRIVATE, STRANGER = "10.0.0.1", "203.0.113.1"

BASE = "docker.io/library/debian:bookworm-slim"

# As the image of that name: no documentation, no translations, and no package installs any.
SLIM = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian")

SETTINGS = {
    "policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
    "registries.conf": 'unqualified-search-registries = ["docker.io"]\n',
    "storage.conf": '[storage]\ndriver = "vfs"\ngraphroot = "%(dir)s/storage"\nrunroot = "%(dir)s/run"\n',
    "containers.conf": '[engine]\ncgroup_manager = "cgroupfs"\n',
}

# What buildah writes outside of its storage goes to a file system that ends with the command.
PRIVATELY = 'mount -t tmpfs tmpfs /var/lib && exec "$@"'


class Buildah:
    def __init__(self, directory):
        self.dir = str(directory)
        self.log = os.path.join(self.dir, "log")
        os.makedirs(os.path.join(self.dir, "tmp"))
        for name, text in SETTINGS.items():
            with open(os.path.join(self.dir, name), "w") as f:
                f.write(text % {"dir": self.dir} if "%(" in text else text)
        path = self.dir + "/"
        self.env = dict(os.environ, HOME=self.dir, XDG_RUNTIME_DIR=path + "tmp", XDG_DATA_HOME=path + "tmp",
                        TMPDIR=path + "tmp", CONTAINERS_CONF=path + "containers.conf",
                        CONTAINERS_STORAGE_CONF=path + "storage.conf",
                        CONTAINERS_REGISTRIES_CONF=path + "registries.conf")

    def command(self, verb, *arguments):
        policy = ["--signature-policy", self.dir + "/policy.json"] if verb in ("bud", "from", "commit") else []
        return ["unshare", "--mount", "sh", "-c", PRIVATELY, "sh", "buildah", "--storage-driver", "vfs", "--root",
                self.dir + "/storage", "--runroot", self.dir + "/run", verb, *policy, *arguments]

    def ask(self, verb, *arguments):
        done = subprocess.run(self.command(verb, *arguments), env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.strip()

    def run(self, verb, *arguments):
        logged(self.log, self.command(verb, *arguments), env=self.env)

    def import_base(self, base):
        """Puts the Debian in the directory BASE under the name that the Dockerfile begins with."""
        archive = os.path.join(self.dir, "base.tar")
        exclude = os.path.join(self.dir, "slim")
        with open(exclude, "w") as f:
            f.write("".join("path-exclude /%s/*\n" % x for x in SLIM) + "path-include /usr/share/doc/*/copyright\n")
        subprocess.run(["tar", "-C", base, "-cf", archive, "--numeric-owner", "--exclude=./dev/*",
                        *("--exclude=./%s/*" % x for x in SLIM), "."], check=True)
        container = self.ask("from", "scratch")
        self.run("add", container, archive, "/")
        self.run("copy", container, exclude, "/etc/dpkg/dpkg.cfg.d/slim")
        self.run("config", "--cmd", "bash", container)
        self.run("commit", container, BASE)
        self.run("rm", container)
        os.unlink(archive)

    def build(self, name):
        self.run("bud", "--isolation", "chroot", "--network", "host", "--pull-never", "--format", "docker",
                 "-t", name, ROOT)

    def open(self, name):
        """The root file system of a container of NAME, as a directory."""
        return self.ask("mount", self.ask("from", "--pull-never", name))

    def clean(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Image:
    """What an engine would know of it."""

    def __init__(self, buildah, name):
        self.about = json.loads(buildah.ask("inspect", "--type", "image", name))
        self.config = self.about["Docker"]["config"]
        self.layers = self.about["Docker"]["rootfs"]["diff_ids"]
        self.root = buildah.open(name)
        self.base_root = buildah.open(BASE)
        self.env = dict(x.split("=", 1) for x in self.config["Env"])

    def size(self, root=None):
        """MB on disk."""
        text = subprocess.run(["du", "-sxm", root or self.root], check=True, capture_output=True, text=True).stdout
        return int(text.split()[0])


class Container:
    """The image's program as process 1 of a container: its user and environment, a root that nobody can write to,
    not even /tmp. DATA is a directory that is seen as /mnt."""

    def __init__(self, image, *arguments, env=None, data="", log=None):
        self.image, self.env = image, dict(image.env, **(env or {}))
        self.log_path = str(log)
        command = image.config["Entrypoint"] + list(arguments or image.config.get("Cmd") or [])
        with open(self.log_path, "ab") as f:
            self.process = Machine(image.root, "ro").start(
                command, self.env, image.config["User"], data, image.config.get("WorkingDir") or "/",
                stdout=subprocess.PIPE, stderr=f, text=True)

    @property
    def pid(self):
        """Process 1, by its number outside."""
        return wait_until(lambda: children(self.process.pid), 5, "process 1")[0]

    def exec(self, *command, timeout=20):
        """As `docker exec`: (status, text). What COMMAND leaves behind becomes process 1's."""
        user, group = self.image.config["User"].split(":")
        done = subprocess.run(["nsenter", "--target", str(self.pid), "--mount", "--pid", "--root", "--wd", "--setuid",
                               user, "--setgid", group, *command], env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
        return done.returncode, done.stdout

    def health(self):
        kind, *command = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.exec(*command)

    def wait_healthy(self):
        wait_until(lambda: self.process.poll() is not None or self.health()[0] == 0, 10, "the health check")
        assert self.process.poll() is None, self.log()

    def zombies(self):
        """Lines of /proc/PID/stat, seen from inside, of processes that ended and were not waited for."""
        text = self.exec("sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null; true")[1]
        return [line for line in text.splitlines() if line.rpartition(") ")[2].startswith("Z")]

    def kill(self, number=signal.SIGTERM):
        """As `docker stop` does first."""
        os.kill(self.pid, number)

    def wait(self, timeout=20):
        """(exit status, what it wrote to stdout)."""
        text, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode, text

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def end(self):
        end(self.process)
        self.process.stdout.close()
