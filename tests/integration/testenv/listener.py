# SPDX-License-Identifier: Apache-2.0
"""What every server of the tests begins with: a listening socket and a thread for each connection that comes."""
import socket
import threading


def shut(sock):
    """Wakes whoever waits for it; it stays to be closed by its owner."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Listener:
    """listen() accepts at once: on_accept(sock) in the accepting thread, so in the order of connections, then
    serve() of what that gave in a thread of its own. stop() ends the listening alone."""

    accepted = 0  # connections of TCP

    def listen(self, host="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family, backlog=512)
        self.host, self.port = host, self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(self.on_accept(sock),), daemon=True).start()

    def on_accept(self, sock):
        self.accepted += 1
        return sock

    def url(self, path="/", host="localhost"):
        return "http://%s:%d%s" % (host, self.port, path)

    def stop(self):
        shut(self.listener)
        self.listener.close()
