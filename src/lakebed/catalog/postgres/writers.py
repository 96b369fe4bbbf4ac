"""Tells the commits of a connection apart, to settle a commit whose answer was lost."""

from __future__ import annotations

import secrets
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection


class Writer:
    """A connection's row in the table `writer`. `token`: the number of its latest commit."""

    __slots__ = ("__weakref__", "id", "token")

    def __init__(self) -> None:
        self.id = secrets.randbits(63)
        self.token = 0


class Writers:
    """The writers of a pool's connections."""

    def __init__(self) -> None:
        self._found: weakref.WeakKeyDictionary[Connection[Any], Writer]
        self._found = weakref.WeakKeyDictionary()

    def of(self, connection: Connection[Any]) -> Writer:
        """Return the connection's own writer. The connection's commits are noted in its row."""
        found = self._found.get(connection)
        if found is None:
            found = self._found[connection] = Writer()
        return found
