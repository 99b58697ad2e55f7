"""A proxy before a database server that loses the connection at a statement, as a network may."""

import contextlib
import select
import socket
import threading
from pathlib import Path
from typing import Any, Dict, Optional

# Nothing here takes long, and whatever does is to fail.
SECONDS = 10


class Proxy:
    """Forwards to the server at an address, or at a path, until it is told to cut a connection.

    It reads what clients send as text, so they must not encrypt it.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._entrance = socket.create_server(("127.0.0.1", 0))
        self.port = self._entrance.getsockname()[1]
        self.connections = 0
        self._others: Dict[socket.socket, socket.socket] = {}
        self._servers: Dict[socket.socket, bytes] = {}  # and what each was asked
        self._statement: Optional[bytes] = None
        self._answered = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def cut(self, statement: str, *, answered: bool = False) -> None:
        """Cut the connection whose client is the next to send the statement, or the start of it.

        Args:
            statement: what it sends; text within it will do.
            answered: whether the server gets it nevertheless; its answer reaches nobody.
        """
        self._statement, self._answered = statement.encode(), answered

    def __enter__(self) -> "Proxy":
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._closed = True
        self._thread.join(SECONDS)

    def _run(self) -> None:
        try:
            while not self._closed:
                for ready in select.select([self._entrance, *self._others], [], [], 0.02)[0]:
                    if ready is self._entrance:
                        self._connect()
                    elif ready in self._others:
                        self._forward(ready)
        finally:
            self._entrance.close()
            for each in self._others:
                each.close()

    def _connect(self) -> None:
        client, _ = self._entrance.accept()
        server = _connected(*self._server)
        client.settimeout(SECONDS)
        self._others.update({client: server, server: client})
        self._servers[server] = b""
        self.connections += 1

    def _forward(self, sender: socket.socket) -> None:
        receiver = self._others[sender]
        try:
            data = sender.recv(65536)
        except OSError:
            data = b""
        if not data or self._loses(sender, receiver, data):
            self._disconnect(sender, receiver)
        else:
            # One that is gone may have said why: that is forwarded next, and then its end.
            with contextlib.suppress(OSError):
                receiver.sendall(data)

    def _loses(self, sender: socket.socket, receiver: socket.socket, data: bytes) -> bool:
        """Whether this is what is not to arrive."""
        asked = self._servers[sender] if sender in self._servers else self._servers[receiver] + data
        reached = self._statement is not None and self._statement in asked
        if sender in self._servers:
            self._servers[sender] = b""
        else:
            self._servers[receiver] = asked
        if not reached or self._answered != (sender in self._servers):
            return False
        self._statement = None
        return True

    def _disconnect(self, *ends: socket.socket) -> None:
        for end in ends:
            del self._others[end]
            self._servers.pop(end, None)
            end.close()


def _connected(host: str, port: int) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), timeout=SECONDS)
    server = socket.socket(socket.AF_UNIX)
    server.settimeout(SECONDS)
    server.connect(str(Path(host, f".s.PGSQL.{port}")))  # as libpq names it
    return server
