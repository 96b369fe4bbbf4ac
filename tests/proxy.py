"""A TCP proxy that goes wrong as it is told: it delays, cuts, half-closes and swallows."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE = 65536
BODY = 2000  # bytes; shorter pieces are headers
SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 71\r\n"
    b"Connection: close\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"
)


class FaultyProxy:
    """Passes bytes between clients and a server on the loopback address.

    `delay`: seconds before each piece is passed on. `swallow`: nothing is passed on, and nobody is
    told. `lose_answers`: what clients say is passed on, what the server says is not;
    `lose_answers_to`: from the moment on that a client says this. `cut_before`: who says this is
    cut off before the server hears it, once.

    Of HTTP: so many of the next requests are refused with 503 (`refuse`), so many of the next long
    answers are cut in the middle (`halve`), so many of the next answers never arrive (`lose`); the
    connection ends with each. `hold`: the next request by one of these methods stays on the way
    until `deliver` is called, and its client hears nothing but the end of the connection.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.delay = 0.0
        self.swallow = False
        self.lose_answers = False
        self.lose_answers_to = b""
        self.cut_before = b""
        self.refuse = self.halve = self.lose = 0
        self.hold: tuple[bytes, ...] = ()
        self._held: list[bytes] = []
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                return
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((client, server))
            for source, sink in ((client, server), (server, client)):
                answers = source is server
                threading.Thread(
                    target=self._pass_on, args=(source, sink, answers), daemon=True
                ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(PIECE):
                if self.delay:
                    time.sleep(self.delay)
                while self.swallow:
                    time.sleep(0.02)
                if not self._passes(data, source, sink, answers):
                    break
                if not answers and self.lose_answers_to and self.lose_answers_to in data:
                    self.lose_answers = True
                if not answers and self.cut_before and self.cut_before in data:
                    self.cut_before = b""
                    break
                if not (answers and self.lose_answers):
                    sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()  # the sink is the other thread's

    def _passes(
        self, data: bytes, source: socket.socket, sink: socket.socket, answers: bool
    ) -> bool:
        """Whether this piece is passed on; if not, what happens instead has happened."""
        if not answers and self.hold and data.startswith(self.hold):
            self.hold = ()
            self._held.append(_whole_request(data, source))
            return False
        if not answers and self.refuse:
            self.refuse -= 1
            source.sendall(SLOW_DOWN)
            return False
        if answers and self.halve and len(data) > BODY:
            self.halve -= 1
            sink.sendall(data[: len(data) // 2])
            return False
        if answers and self.lose:
            self.lose -= 1
            return False
        return True

    def deliver(self) -> int:
        """The requests that were held arrive now; how many there were."""
        held, self._held = self._held, []
        for request in held:
            with socket.create_connection(("127.0.0.1", self._server), 30) as server:
                server.sendall(request)
                assert server.recv(PIECE).startswith(b"HTTP/1.1 20")
        return len(held)

    def cut(self) -> None:
        """End all connections, at both ends."""
        for pair in self._take():
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def half_close(self) -> None:
        """Tell clients that the server has nothing more to say, and keep listening to them."""
        for client, _ in self._take():
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)

    def _take(self) -> list[tuple[socket.socket, socket.socket]]:
        pairs, self._pairs = self._pairs, []
        return pairs

    def close(self) -> None:
        self.swallow = False
        with suppress(OSError):  # else the thread that waits there lets one more in
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()  # it may have let one in that is in no pair yet
        self.cut()


def _whole_request(data: bytes, source: socket.socket) -> bytes:
    """A request to the end of its body, of which this is the first piece."""
    while b"\r\n\r\n" not in data:
        data += source.recv(PIECE)
    head, _, body = data.partition(b"\r\n\r\n")
    if expect := re.search(rb"\r\nexpect: 100-continue", head, re.IGNORECASE):
        source.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = head.replace(expect[0], b"")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        body += source.recv(PIECE)
    return head + b"\r\n\r\n" + body


@contextmanager
def faulty_proxy(port: int) -> Iterator[FaultyProxy]:
    """A proxy to a port of the loopback address."""
    proxy = FaultyProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
