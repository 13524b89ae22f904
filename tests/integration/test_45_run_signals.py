# SPDX-License-Identifier: Apache-2.0
"""tlsfan run: COMMAND hears what it would hear without it, from kill, from a terminal and under process 1."""
import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios

import pytest

from testenv import SLOW
from testenv.proxy import binary, clean_env
from testenv.wait import wait_until

pytestmark = pytest.mark.skipif(binary() is None, reason="no tlsfan: build it, or set TLSFAN_BIN")

SI_KERNEL = 0x80
FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS}
NOT_PASSED = FAULTS | {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE}
PASSED = sorted(signal.valid_signals() - NOT_PASSED)
END = signal.SIGTERM

# Writes the number and si_code of each signal into a file; ends on TERM with status 7.
RECORDER = r"""
import os, signal, sys
heard = set(range(1, 65)) - {9, 19, 32, 33, 17}
signal.pthread_sigmask(signal.SIG_BLOCK, heard)
if sys.argv[2] == "group":
    os.setpgid(0, 0)
with open(sys.argv[1], "a", buffering=1) as out:
    out.write("ready %d\n" % os.getpid())
    while True:
        got = signal.sigwaitinfo(heard)
        out.write("%d %d\n" % (got.si_signo, got.si_code))
        if got.si_signo == signal.SIGTERM:
            sys.exit(7)
"""


class Recorder:
    """The command line of a recorder, and what it has recorded."""

    def __init__(self, tmp_path, group="same"):
        self.path = str(tmp_path / "heard")
        self.command = [sys.executable, "-c", RECORDER, self.path, group]

    def lines(self):
        if not os.path.exists(self.path):
            return []
        with open(self.path) as f:
            return [line.split() for line in f if line.endswith("\n")]

    def wait_ready(self):
        wait_until(lambda: self.lines(), 20, "the command to begin")

    def heard(self):
        """[(number, si_code)] but for the last TERM."""
        return [(int(a), int(b)) for a, b in self.lines()[1:] if int(a) != END]

    def wait_heard(self, number):
        wait_until(lambda: number in [n for n, _ in self.heard()], 5,
                   "signal %d; heard: %s" % (number, self.heard()))

    def wait_heard_from(self, first, number):
        wait_until(lambda: number in [n for n, _ in self.heard()[first:]], 5,
                   "another signal %d; heard: %s" % (number, self.heard()))


def run_line(*command):
    # At the level warning it says what a COMMAND that asks for nothing could have done.
    return [binary(), "-o", "log.level=error", "run", "--", *command]


def start(*command, prefix=(), **kw):
    return subprocess.Popen([*prefix, *run_line(*command)], env=clean_env(), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


def finish(p, status):
    out, err = p.communicate(timeout=15 * SLOW)
    assert (p.returncode, err) == (status, b""), (out, err)
    return out


def kill_all(p):
    if p.poll() is None:
        p.kill()  # whose command may live on, with the pipes
        p.wait()
        p.stdout.close()
        p.stderr.close()


@pytest.fixture
def recorder(tmp_path):
    made = []

    def make(group="same"):
        made.append(Recorder(tmp_path, group))
        return made[-1]
    yield make
    for r in made:
        for line in r.lines()[:1]:
            try:
                os.kill(int(line[1]), signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass


def test_every_signal_is_passed_on(recorder):
    r = recorder()
    p = start(*r.command)
    try:
        r.wait_ready()
        for number in PASSED:
            if number != END:
                p.send_signal(number)
                r.wait_heard(number)
        assert [n for n, _ in r.heard()] == [n for n in PASSED if n != END]
        p.send_signal(END)
        finish(p, 7)
    finally:
        kill_all(p)


def test_no_signal_of_a_burst_is_lost(recorder):
    r = recorder()
    p = start(*r.command)
    numbers = [signal.SIGRTMIN, signal.SIGRTMIN + 3, signal.SIGRTMAX]
    try:
        r.wait_ready()
        for _ in range(100):
            for number in numbers:
                p.send_signal(number)
        wait_until(lambda: len(r.heard()) >= 300, 10, "300 signals")
        assert sorted(n for n, _ in r.heard()) == sorted(numbers * 100)
        p.send_signal(END)
        finish(p, 7)
    finally:
        kill_all(p)


@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGPWR, signal.SIGABRT, signal.SIGRTMIN + 3,
                                    signal.SIGQUIT, signal.SIGHUP])
def test_a_command_that_a_signal_ends(number):
    p = start("sh", "-c", "ulimit -c 0; echo up; exec sleep 60")
    try:
        assert p.stdout.readline() == b"up\n"
        p.send_signal(number)
        finish(p, 128 + number)
    finally:
        kill_all(p)


def test_an_alarm_that_was_set_for_the_command(recorder):
    """perl -e 'alarm 60; exec @ARGV' COMMAND: an exec keeps the alarm, which is for one process alone."""
    r = recorder()
    p = start(*r.command, preexec_fn=lambda: signal.setitimer(signal.ITIMER_REAL, 3 * SLOW))
    try:
        r.wait_ready()
        wait_until(r.heard, 10 * SLOW, "the alarm")
        assert r.heard() == [(signal.SIGALRM, 0)]
        p.send_signal(END)
        finish(p, 7)
    finally:
        kill_all(p)


def signal_sets(text):
    """{"SigBlk": ...}, but for the two signals that belong to the C library."""
    return {a.decode(): int(b, 16) & ~(3 << 31) for a, b in re.findall(rb"(Sig\w+):\s+(\w+)", text)}


def test_the_mask_and_what_is_ignored_stay_as_they_were():
    """nohup, a parent that blocks: COMMAND finds what it would find without tlsfan."""
    blocked = {signal.SIGUSR1, signal.SIGRTMIN + 1, signal.SIGCONT}
    ignored = [signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH]

    def prepare():
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    look = ["sh", "-c", "grep ^Sig[BIC] /proc/self/status; echo up; read x; exit 3"]
    alone = subprocess.run(look, stdin=subprocess.DEVNULL, capture_output=True, preexec_fn=prepare)
    p = subprocess.Popen(run_line(*look), env=clean_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, preexec_fn=prepare)
    try:
        seen = b""
        while not seen.endswith(b"up\n"):
            seen += p.stdout.readline()
        assert signal_sets(seen) == signal_sets(alone.stdout) and len(signal_sets(seen)) == 3
        p.send_signal(signal.SIGHUP)  # ends neither
        p.send_signal(signal.SIGQUIT)
        p.stdin.close()
        p.stdin = None
        finish(p, 3)
    finally:
        kill_all(p)


def start_slowly(terminal, fifo, *command):
    """COMMAND waits for what is written to FIFO; tlsfan hears signals already."""
    os.mkfifo(fifo)
    t = terminal(binary(), "-c", fifo, "run", "--", *command)
    wait_until(lambda: "SigBlk" in (s := open("/proc/%d/status" % t.pid).read())
               and int(re.search(r"SigBlk:\s+(\w+)", s).group(1), 16) & 2, 10, "the signals to be taken")
    return t


@pytest.mark.parametrize("on_terminal", [False, True])
def test_a_signal_before_there_is_a_command(tmp_path, terminal, on_terminal):
    """The start waits for its configuration, during which INT comes by kill or as Ctrl-C."""
    fifo = str(tmp_path / "conf")
    t = start_slowly(terminal, fifo, "sleep", "60")
    if on_terminal:
        t.type(b"\x03")
        t.wait_seen(b"^C")
    else:
        os.kill(t.pid, signal.SIGINT)
    with open(fifo, "w") as f:
        f.write("workers = 1\n")
    t.wait(128 + signal.SIGINT)


def test_a_signal_before_there_is_a_command_changes_no_later_one(tmp_path, terminal, recorder):
    """What the terminal tells is told once, though the same signal had come early by kill."""
    fifo = str(tmp_path / "conf")
    r = recorder()
    t = start_slowly(terminal, fifo, *r.command)
    os.kill(t.pid, signal.SIGWINCH)  # does nothing to a command that has not begun
    with open(fifo, "w") as f:
        f.write("workers = 1\n")
    r.wait_ready()
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # what is early has been told by then
        os.kill(t.pid, number)
        r.wait_heard(number)
    known = len(r.heard())
    fcntl.ioctl(t.master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
    r.wait_heard_from(known, signal.SIGWINCH)
    os.kill(t.pid, signal.SIGUSR1)
    r.wait_heard_from(known, signal.SIGUSR1)
    assert r.heard()[known:] == [(signal.SIGWINCH, SI_KERNEL), (signal.SIGUSR1, 0)]
    os.kill(t.pid, END)
    t.wait(7)


# ---- a terminal

@pytest.mark.parametrize("group", ["same", "group"])
def test_a_hangup_reaches_the_command(recorder, terminal, group):
    """As with ssh -t host tlsfan run -- COMMAND: tlsfan leads the session, and is told alone."""
    r = recorder(group)
    t = terminal(*run_line(*r.command))
    r.wait_ready()
    t.hang_up()
    r.wait_heard(signal.SIGHUP)
    os.kill(t.pid, END)
    t.wait(7)


def test_a_hangup_ends_both(terminal):
    t = terminal(*run_line("sh", "-c", "echo up; exec sleep 60"))
    t.wait_seen(b"up")
    t.hang_up()
    t.wait(128 + signal.SIGHUP)


def type_keys(t, r):
    t.type(b"\x03")
    r.wait_heard(signal.SIGINT)
    t.type(b"\x1c")
    r.wait_heard(signal.SIGQUIT)
    fcntl.ioctl(t.master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
    r.wait_heard(signal.SIGWINCH)
    os.kill(t.pid, signal.SIGUSR1)  # behind them: what else came for those is here by now
    r.wait_heard(signal.SIGUSR1)


def test_keys_reach_a_command_with_a_group_of_its_own(recorder, terminal):
    r = recorder("group")
    t = terminal(*run_line(*r.command))
    r.wait_ready()
    type_keys(t, r)
    assert [n for n, _ in r.heard()] == [signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, signal.SIGUSR1]
    os.kill(t.pid, END)
    t.wait(7)


def test_keys_reach_a_command_of_the_same_group_once(recorder, terminal):
    r = recorder()
    t = terminal(*run_line(*r.command))
    r.wait_ready()
    type_keys(t, r)
    assert r.heard() == [(signal.SIGINT, SI_KERNEL), (signal.SIGQUIT, SI_KERNEL), (signal.SIGWINCH, SI_KERNEL),
                         (signal.SIGUSR1, 0)]
    os.kill(t.pid, END)
    t.wait(7)


@pytest.mark.parametrize("command", ["timeout 60 sleep 60", "setsid -w sleep 60", "sleep 60"])
def test_control_c_ends(terminal, command):
    ended = 124 if command.startswith("timeout") else 130
    t = terminal(*run_line("sh", "-c", "echo up; exec " + command))
    t.wait_seen(b"up")
    own = command != "sleep 60"

    def is_on():
        children = open("/proc/%d/task/%d/children" % (t.pid, t.pid)).read().split()
        names = [open("/proc/%s/comm" % c).read().strip() for c in children]
        return names and names[0] in ("timeout", "sleep") and (not own or os.getpgid(int(children[0])) != t.pid)
    wait_until(is_on, 10, "the command")
    t.type(b"\x03")
    wait_until(lambda: t.poll() is not None, 10, "the end of the session")
    assert t.status in (ended, 130), t.seen


def run_and_fg(terminal, command):
    """A shell with job control that runs COMMAND by tlsfan; once both have stopped, fg."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    script = "%s run -- %s; echo stopped=$?; fg; echo ended=$?" % (binary(), command)
    return terminal(bash, "--norc", "-m", "-c", script)


@pytest.mark.parametrize("group", ["", "os.setpgid(0, 0); "])
def test_control_z_gives_the_shell_its_terminal_back(terminal, group):
    """And fg has both go on."""
    program = "import os, time; %sprint('up', flush=True); time.sleep(60)" % group
    t = run_and_fg(terminal, "%s -c \"%s\"" % (sys.executable, program))
    t.wait_seen(b"up")
    t.stop_and_go_on()


def test_suspend_gives_the_shell_its_terminal_back(terminal):
    """The command is a shell with job control, which stops itself and keeps the terminal; fg gives it back to it."""
    t = run_and_fg(terminal, "bash --norc --noprofile -i")
    t.type(b"echo in=$((1+1))\n")
    t.wait_seen(b"in=2")
    t.type(b"suspend\n")
    t.wait_seen(b"stopped=%d" % (128 + signal.SIGSTOP))
    t.type(b"echo again=$((2+2)); exit 5\n")
    t.wait_seen(b"again=4")
    t.wait_seen(b"ended=5")
    t.wait(0)


def test_a_command_that_stops_itself_stops_both(terminal):
    """As links and elinks do at Ctrl-Z, by SIGSTOP; fg has both go on."""
    inner = "kill -STOP \\$\\$; echo on=$((1+1)); exit 5"
    t = run_and_fg(terminal, "sh -c \"%s\"" % inner)
    t.wait_seen(b"stopped=%d" % (128 + signal.SIGSTOP))
    t.wait_seen(b"on=2")
    t.wait_seen(b"ended=5")
    t.wait(0)


def test_control_z_where_no_shell_looks_stops_nothing(recorder, terminal):
    r = recorder("group")
    t = terminal(*run_line(*r.command))
    r.wait_ready()
    t.type(b"\x1a")
    t.wait_seen(b"^Z")
    os.kill(t.pid, signal.SIGUSR1)
    r.wait_heard(signal.SIGUSR1)
    assert signal.SIGTSTP not in [n for n, _ in r.heard()]
    os.kill(t.pid, END)
    t.wait(7)


# ---- process 1

NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


@pytest.fixture
def namespace():
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root makes process namespaces, with unshare")
    if subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode != 0:
        pytest.skip("this system makes no process namespaces")
    return NAMESPACE


def child_of(p):
    path = "/proc/%d/task/%d/children" % (p.pid, p.pid)
    return int(wait_until(lambda: open(path).read().split(), 10, "a child")[0])


def test_every_signal_is_passed_on_by_process_1(recorder, namespace):
    r = recorder()
    p = start(*r.command, prefix=namespace)
    try:
        r.wait_ready()
        first = child_of(p)
        for number in PASSED:
            if number != END:
                os.kill(first, number)
                r.wait_heard(number)
        os.kill(first, END)
        finish(p, 7)
    finally:
        kill_all(p)


ORPHANS = r"""
import os, signal, sys
assert os.getppid() == 1
gone = []
for i in range(20):
    r, w = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.close(r)
            while os.getppid() != 1:
                pass
            os.write(w, b"%d " % os.getpid())
            os._exit(9)
        os._exit(0)
    os.close(w)
    os.wait()
    gone.append(int(os.read(r, 100)))
while any(os.path.exists("/proc/%d" % pid) for pid in gone):
    pass
number = signal.SIGRTMIN + 3
signal.pthread_sigmask(signal.SIG_BLOCK, {number})
os.kill(1, number)
signal.sigwait({number})
sys.exit(5)
"""


def test_process_1_buries_orphans_and_keeps_the_status(namespace):
    p = start(sys.executable, "-c", ORPHANS, prefix=namespace)
    try:
        finish(p, 5)
    finally:
        kill_all(p)
