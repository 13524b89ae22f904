# SPDX-License-Identifier: Apache-2.0
"""A minimal Debian 12 in a directory, made with debootstrap, and commands that run in such a directory.

What apt needs to reach its packages (sources, proxy, keys) is taken from the machine that the tests run on."""
import os
import re
import shutil
import signal
import subprocess

from testenv.wait import wait_until

RELEASE = "bookworm"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Makes the directory $1 a root file system with /proc and /dev and becomes the command in it, as process 1 of
# its namespace. $2 is rw or ro, $3 UID:GID, $4 nothing or a directory that /mnt shows, $5 where it starts.
ENTER = r"""
set -eu
root=$1 mode=$2 user=$3 extra=$4 cwd=$5
shift 5
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
if [ -n "$extra" ]; then
    mount --bind "$extra" "$root/mnt"
    mount -o remount,bind,ro "$root/mnt"
fi
mount -o "remount,bind,$mode" "$root"
exec chroot --userspec="$user" --groups= "$root" sh -c 'cd "$0" && exec "$@"' "$cwd" "$@"
"""

# The same for systemd as process 1, with the network of whoever calls; nothing of it is written to $1.
BOOT = r"""
set -eu
root=$1
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/shm" "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir "$root/run/old"
cd "$root"
pivot_root . run/old
umount -l /run/old
exec /lib/systemd/systemd --log-target=journal --show-status=0
"""


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def logged(log, command, **kw):
    """Runs COMMAND with its output in the file LOG, whose end is shown where it fails."""
    with open(str(log), "ab") as f:
        done = subprocess.run([str(x) for x in command], stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT,
                              **kw)
    if done.returncode != 0:
        with open(str(log), errors="replace") as f:
            raise AssertionError("%s: status %d\n%s" % (" ".join(map(str, command)), done.returncode, f.read()[-6000:]))


def children(pid):
    """Processes whose parent is PID."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as f:
                if int(f.read().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(name))
        except OSError:
            pass
    return found


# ---- what this machine's apt knows

def repositories():
    """[(URI, file that names it)] for RELEASE and its updates; the release itself comes first."""
    form = "$(REPO_URI)\t$(RELEASE)\t$(CODENAME)\t$(COMPONENT)\t$(ORIGIN)\t$(SOURCESENTRY)"
    found = []
    for line in output("apt-get", "indextargets", "--format", form, "Created-By: Packages").splitlines():
        uri, release, codename, component, origin, entry = line.split("\t")
        suite = release if release.startswith(RELEASE) else codename
        if suite.split("-")[0] == RELEASE and component == "main" and origin in ("Debian", "$(ORIGIN)"):
            found.append((suite != RELEASE, uri, entry.rpartition(":")[0]))
    return [x[1:] for x in sorted(found)]


def copy_named_files(text, root):
    """Files that a configuration names by their paths: keys and certificates."""
    for path in set(re.findall(r"/(?:etc|usr)/[^\s\"\],;]+", text)):
        if os.path.isfile(path) and not os.path.exists(root + path):
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            shutil.copy(path, root + path)


def give_apt_settings(root):
    """Sources, with their keys and credentials, and how to reach them."""
    shutil.rmtree(root + "/etc/apt/sources.list.d", ignore_errors=True)
    os.makedirs(root + "/etc/apt/sources.list.d")
    if os.path.exists(root + "/etc/apt/sources.list"):
        os.unlink(root + "/etc/apt/sources.list")
    text = ""
    for path in {path for _, path in repositories()}:
        shutil.copy(path, root + path)
        with open(path) as f:
            text += f.read()
    wanted = re.compile(r"Acquire::(https?::|ftp::|Check-|Max-|Min-|Allow|Retries)")
    settings = "".join(x + "\n" for x in output("apt-config", "dump").splitlines() if wanted.match(x))
    with open(root + "/etc/apt/apt.conf.d/90host", "w") as f:
        f.write(settings)
    copy_named_files(text + settings, root)
    for name in ("auth.conf.d", "trusted.gpg.d"):
        for entry in os.listdir("/etc/apt/" + name):
            copy_named_files("/etc/apt/%s/%s" % (name, entry), root)
    if "https:" in text:
        copy_named_files("/etc/ssl/certs/ca-certificates.crt", root)


def apt_proxy():
    """Variables that make wget, which debootstrap uses, go apt's way."""
    env = dict(os.environ)
    for scheme in ("http", "https"):
        text = output("apt-config", "shell", "value", "Acquire::%s::Proxy" % scheme)
        value = re.match(r"value='([^']+)'", text)
        if value and value.group(1) != "DIRECT":
            env[scheme + "_proxy"] = value.group(1)
    return env


def make_base(cache, log):
    """The directory of a fresh minimal Debian below CACHE; made only where it is not there yet."""
    base = os.path.join(str(cache), RELEASE)
    if os.path.exists(base):
        return base
    os.makedirs(str(cache), exist_ok=True)
    new = base + ".new"
    shutil.rmtree(new, ignore_errors=True)
    mirror, path = repositories()[0]
    with open(path) as f:
        keyring = re.search(r"(?i)signed-by\s*[:=]\s*(/\S+\.gpg)", f.read())
    options = ["--keyring=" + keyring.group(1).rstrip("]")] if keyring else []
    logged(log, ["debootstrap", "--variant=minbase", *options, RELEASE, new, mirror], env=apt_proxy())
    give_apt_settings(new)
    Machine(new).run("apt-get", "clean")
    shutil.rmtree(new + "/var/lib/apt/lists")
    os.mkdir(new + "/var/lib/apt/lists")
    os.rename(new, base)
    return base


def end(process):
    """Ends what Machine.start() started, if that still runs. A process 1 of another user outlives its unshare."""
    if process.poll() is None:
        for pid in children(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.kill()
    process.wait()


class Machine:
    """A root file system in a directory, and commands in it.

    Each command has mounts and processes of its own, which end with it, and the network of whoever calls."""

    def __init__(self, root, mode="rw"):
        self.root, self.mode = str(root), mode

    @classmethod
    def copy(cls, base, root):
        subprocess.run(["cp", "-a", base, str(root)], check=True)
        for name in ("resolv.conf", "hosts"):
            shutil.copy("/etc/" + name, os.path.join(str(root), "etc", name))
        return cls(root)

    def start(self, command, env=None, user="0:0", extra="", cwd="/", **kw):
        """A Popen of unshare(1), which hands on the exit status."""
        environment = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"} if env is None else env
        return subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh",
                                 self.root, self.mode, user, str(extra), cwd, *command],
                                stdin=subprocess.DEVNULL, env=environment, **kw)

    def run(self, *command, timeout=600, env=None, check=True, **kw):
        """Runs COMMAND to its end, and returns what it printed."""
        environment = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        process = self.start(command, dict(environment, **(env or {})), stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace", **kw)
        try:
            text, _ = process.communicate(timeout=timeout)
        finally:
            end(process)
        assert not check or process.returncode == 0, "%s: status %d\n%s" % (command, process.returncode, text[-6000:])
        return text

    def trust(self, ca):
        """Puts the certificate in the file CA where ca-certificates takes it from when it is installed."""
        where = os.path.join(self.root, "usr/local/share/ca-certificates")
        os.makedirs(where, exist_ok=True)
        shutil.copy(ca, os.path.join(where, "test.crt"))

    def install(self, *packages):
        self.run("apt-get", "update", "-qq")
        return self.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)


class Booted:
    """A machine on which systemd runs. Its own network, if any, is that of whoever starts it."""

    def __init__(self, machine):
        self.root = machine.root
        self.process = subprocess.Popen(["unshare", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--fork",
                                         "--kill-child", "sh", "-c", BOOT, "sh", self.root],
                                        env={"PATH": PATH, "container": "test"}, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL)

    def run(self, *command, check=True, timeout=120):
        """Runs COMMAND beside systemd, and returns what it printed."""
        inside = wait_until(lambda: self.process.poll() is not None or children(self.process.pid), 5, "systemd")
        assert inside is not True, "systemd has ended"
        done = subprocess.run(["nsenter", "--target", str(inside[0]), "--all", "--root", "--wd", *command],
                              env={"PATH": PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=timeout)
        assert not check or done.returncode == 0, "%s: status %d\n%s" % (command, done.returncode, done.stdout[-4000:])
        return done.stdout

    def state(self):
        """What systemctl says of it."""
        if self.process.poll() is not None:
            return "dead"
        return self.run("systemctl", "is-system-running", check=False).strip()

    def end(self):
        end(self.process)
