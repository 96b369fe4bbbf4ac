"""Contents that are collected between the reading of an entry and that of its content."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lakebed.catalog.protocol import CatalogReads
from lakebed.errors import NotFoundError
from lakebed.model import EntryRow

T = TypeVar("T")


class CollectedError(NotFoundError):
    """A content has been collected since its entry was read: nothing names it any more."""


def of_newest(catalog: CatalogReads, key: str, read: Callable[[EntryRow], T]) -> T | None:
    """Return what `read` makes of the row of a key, or None if there is none.

    If the content was collected between the two reads, somebody has replaced or deleted the entry:
    what is there now is read instead. Raises CollectedError if nobody has, as in the view of a
    snapshot that was dropped.
    """
    gone = None
    while (row := catalog.get(key)) is not None:
        try:
            return read(row)
        except CollectedError:
            if row.version == gone:
                raise
            gone = row.version
    return None
