# SPDX-License-Identifier: Apache-2.0
"""Two network namespaces with a link between them that delays, and loses packets: what is far away, on one machine."""
import os
import subprocess

NEAR, FAR = "10.77.0.1", "10.77.0.2"


def why_not():
    """Why no such link can be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if subprocess.run(["unshare", "-n", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        return "no network namespace can be made here"
    return None if os.path.exists("/dev/net/tun") else "there is no /dev/net/tun"


class FarLink:
    """PROGRAM is driver/farlink.c, compiled; a round trip takes MS milliseconds; of packets LOSS is lost (0.01: 1 %).

    near and far are what begins a command that shall run there; the addresses are NEAR and FAR."""

    def __init__(self, program, ms, loss=0.0):
        self.holders, self.relay = [], None
        try:
            self.relay = self._start([program, str(ms * 500), str(int(loss * 1e6))])
            assert self.relay.stdout.readline() == b"ready\n"
            for device, address in ("near0", NEAR), ("far0", FAR):
                holder = self._start(["sh", "-c", "echo ready; exec sleep 1000000"])
                self.holders.append(holder)
                assert holder.stdout.readline() == b"ready\n"
                within = ["nsenter", "-t", str(holder.pid), "-n"]
                relay = ["nsenter", "-t", str(self.relay.pid), "-n"]
                for prefix, command in ((relay, "ip link set %s netns %d" % (device, holder.pid)),
                                        (within, "ip addr add %s/24 dev %s" % (address, device)),
                                        (within, "ip link set %s up txqueuelen 20000" % device),
                                        (within, "ip link set lo up")):
                    subprocess.run(prefix + command.split(), check=True)
            self.near, self.far = (["nsenter", "-t", str(h.pid), "-n"] for h in self.holders)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _start(command):
        return subprocess.Popen(["unshare", "-n", *command], stdout=subprocess.PIPE)

    def close(self):
        for process in [self.relay, *self.holders]:
            if process is not None:
                process.kill()
                process.wait()
                process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
