"""The lake: all capabilities together."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NoReturn

from lakebed.lake.entries.batch_reading import BatchReading
from lakebed.lake.entries.batches import Batches
from lakebed.lake.search.searching import Searching
from lakebed.lake.share.presigning import Presigning
from lakebed.lake.share.publishing import Publishing
from lakebed.lake.sql.ibis_tables import IbisTables
from lakebed.lake.upkeep.maintenance import Maintenance
from lakebed.lake.upkeep.stats import Statistics
from lakebed.lake.upkeep.verifying import Verifying


class Lake(
    Batches,
    BatchReading,
    Searching,
    Publishing,
    IbisTables,
    Presigning,
    Maintenance,
    Verifying,
    Statistics,
    MutableMapping[str, Any],
):
    """Long-term memory: values under keys, in a data lake. Made by `lakebed.open`.

    Also a mutable mapping of keys to values: `lake[key]`, `lake[key] = value`, `del lake[key]`,
    `key in lake`, `len(lake)`, and iteration over the keys. Safe to use from any thread and after a
    fork. Close it, or use it in a `with` block.
    """

    def close(self) -> None:
        """Close the catalog and the storage. Calls after it raise; closing again does nothing."""
        self._ended = True
        self._close_engines()
        self._catalog.close()
        if self._objects is not None:
            self._objects.close()

    def __enter__(self) -> Lake:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a lake can be neither pickled nor copied: open it where it is used, in another "
            "process as well"
        )

    def __repr__(self) -> str:
        return f"<Lake {self.name}>"

    # Comparing two lakes entry by entry, as mappings do, is never what is meant.
    __eq__ = object.__eq__
    __hash__ = object.__hash__
