"""An HTTP proxy that answers in a server's place as told: for what emulators do not refuse."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import NamedTuple

_OF_A_CONNECTION = {"connection", "transfer-encoding", "content-length", "date", "server"}


class Request(NamedTuple):
    """What a client asked for; the names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


class Answer(NamedTuple):
    """What is answered."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class HttpProxy(ThreadingHTTPServer):
    """Passes requests on to a server of the loopback address.

    `refuse`: gives an answer in place of the server's, or None. `alter`: what the server is asked
    in place of what the client asked. `ahead`: seconds that the header
    Date is ahead of this machine's clock. `heard`: all requests.
    """

    daemon_threads = True

    def __init__(self, server: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = server
        self.refuse: Callable[[Request], Answer | None] = lambda _: None
        self.alter: Callable[[Request], Request] = lambda request: request
        self.ahead = 0.0
        self.heard: list[Request] = []

    @property
    def port(self) -> int:
        return self.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, request: Request, body: bytes) -> Answer:
        """The answer to a request."""
        self.heard.append(request)
        refused = self.refuse(request)
        if refused is not None:
            return refused
        request = self.alter(request)
        with closing(http.client.HTTPConnection("127.0.0.1", self.server, timeout=60)) as there:
            there.request(request.method, request.path, body, dict(request.headers))
            answer = there.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, answer.read(), found)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: HttpProxy

    def _pass_on(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._body(headers)
        answer = self.server.answer(Request(self.command, self.path, headers), body)
        self.send_response_only(answer.status)
        told = {name.lower(): value for name, value in answer.headers.items()}
        for name, value in told.items():
            if name not in _OF_A_CONNECTION:
                self.send_header(name, value)
        length = told.get("content-length") if self.command == "HEAD" else None
        self.send_header("Date", formatdate(time() + self.server.ahead, usegmt=True))
        if answer.status not in (204, 304):
            self.send_header("Content-Length", length or str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.pop("expect", "") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
            self.wfile.flush()
        if headers.pop("transfer-encoding", "") != "chunked":
            return self.rfile.read(int(headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        body = b"".join(parts)
        headers["content-length"] = str(len(body))
        return body

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _pass_on  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def http_proxy(port: int) -> Iterator[HttpProxy]:
    """A proxy to a server at a port of the loopback address."""
    with HttpProxy(port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
