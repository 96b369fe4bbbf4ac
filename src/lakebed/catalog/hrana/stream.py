"""A stream: a connection to SQLite that the server keeps between requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lakebed.catalog.hrana.protocol import (
    Result,
    Statement,
    batch_of,
    refusal_of,
    results_of,
)
from lakebed.catalog.hrana.server import Server
from lakebed.errors import LakebedError

_CLOSE = {"type": "close"}


class Stream:
    """One stream of a server, used by one thread at a time. It opens with its first request."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._baton: str | None = None
        self._base: str | None = None

    def send(self, statements: Sequence[Statement], *, last: bool = False) -> list[Result]:
        """Run statements, each only if the one before it succeeded. With `last`, close the stream.

        Raises the Refusal of the statement that failed.
        """
        requests: list[dict[str, Any]] = [batch_of(statements)] if statements else []
        said = self._ask([*requests, _CLOSE] if last else requests)
        if not statements:
            return []
        answer = said["results"][0]
        if answer["type"] == "error":
            raise refusal_of(answer["error"])
        return results_of(answer["response"]["result"])

    def _ask(self, requests: Sequence[dict[str, Any]]) -> dict[str, Any]:
        baton, self._baton = self._baton, None  # a baton is valid once
        said = self.server.ask({"baton": baton, "requests": requests}, self._base)
        self._baton = said.get("baton")
        self._base = said.get("base_url") or self._base
        return said

    def close(self) -> None:
        """Close the stream, if it is open. The server rolls back what was not committed."""
        if self._baton is None:
            return
        try:
            self._ask([_CLOSE])
        except LakebedError:
            self._baton = None  # the server ends an idle stream by itself
