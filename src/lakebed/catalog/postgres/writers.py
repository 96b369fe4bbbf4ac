"""The writers of the connections of a pool."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from lakebed.catalog.statements.writer import Writer

if TYPE_CHECKING:
    from psycopg import Connection


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
