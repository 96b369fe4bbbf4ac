"""Reads entries: retrieve, entry, and the reading half of a mapping."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, ValuesView
from typing import Any, Final

from lakebed.errors import LakebedError, NotFoundError, ValidationError
from lakebed.lake.base import LakeBase
from lakebed.lake.checks import check_key
from lakebed.lake.contents.collected import CollectedError, of_newest
from lakebed.lake.entries.listing import Listing, keys_in_order
from lakebed.model import LAST_KEY, EntryRow
from lakebed.records import Entry
from lakebed.values.tables import TableLibrary, check_library, convert

_COMPLETED = 1000  # the most keys that a notebook completes


class _Missing:
    def __repr__(self) -> str:
        return "<raise NotFoundError>"


MISSING: Final = _Missing()


class Reading(LakeBase):
    """The calls of a lake that read."""

    def retrieve(self, key: str, default: Any = MISSING, *, as_: TableLibrary | None = None) -> Any:
        """Return the value of a key. A table is returned as a pyarrow Table, or as a DataFrame of
        the library that `as_` names: `"pandas"` or `"polars"`.

        If the key does not exist or has expired, `default` is returned. Without a default,
        NotFoundError is raised. Raises CorruptionError if the stored bytes are missing or damaged,
        and StorageError if the storage cannot be read. With `as_`, raises ValidationError for
        another library and for a value that is not a table, and DependencyMissingError if the
        library is not installed.
        """
        if as_ is not None:
            check_library(as_)
        found = self.read_entry(key)
        if found is not None:
            return found[1] if as_ is None else convert(found[1], as_)
        if default is MISSING:
            raise NotFoundError(f"no entry with the key {key!r}")
        return default

    def read_entry(self, key: str) -> tuple[EntryRow, Any] | None:
        """Return the row of a key and its value, read together, or None if the key does not exist.

        For faces over a lake. Raises what `retrieve` raises.
        """
        return of_newest(self._catalog, check_key(key), lambda row: (row, self.read_value(row)))

    def _ipython_key_completions_(self) -> list[str]:
        return [entry.key for entry in self.list(limit=_COMPLETED)]

    def entry(self, key: str) -> Entry | None:
        """Return the entry of a key, or None if the key does not exist.

        The entry has the metadata, hash, place, times and value.
        """
        row = self._catalog.get(check_key(key))
        return None if row is None else self._entry(row)

    def _entry(self, row: EntryRow) -> Entry:
        return Entry(row, self)

    def list(
        self,
        prefix: str = "",
        *,
        metadata_filter: dict[str, Any] | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Listing:
        """Return the entries whose key begins with `prefix`, in the order of the keys' UTF-8 bytes.

        `metadata_filter`: keep only entries whose metadata matches (see the guide on filters).
        `limit`: the most entries to return. `after`: begin after this key, such as the last one of
        an earlier listing. The listing is read in pages while it is iterated. Each page shows the
        lake as it then is.

        Raises ValidationError for a malformed filter and for a negative limit.
        """
        return Listing(
            self._catalog,
            self,
            prefix,
            metadata_filter=metadata_filter,
            limit=limit,
            after=after,
        )

    def read_listing(self, listing: Listing) -> Iterator[tuple[EntryRow, Any]]:
        """Yield the rows of a listing with their values, in order, read in bulk and in bounded
        memory.

        Entries that others delete and collect meanwhile are left out.

        For faces over a lake. Raises what `retrieve` raises, at the entry that it concerns.
        """
        for row, value in self.read_in_order(listing.rows()):
            if isinstance(value, CollectedError):
                found = self.read_entry(row.key)
                if found is not None:
                    yield found
            elif isinstance(value, LakebedError):
                raise value
            else:
                yield row, value

    def __getitem__(self, key: str) -> Any:
        return self.retrieve(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` if it does not exist."""
        # Mapping's own `get` would take a dropped snapshot for a missing key.
        return self.retrieve(key, default)

    def __contains__(self, key: object) -> bool:
        """Return whether the key exists. A value that cannot be a key, such as `""` or `5`, does
        not."""
        try:
            return self._catalog.get(check_key(key)) is not None
        except ValidationError:
            return False

    def __len__(self) -> int:
        return self._catalog.count("", LAST_KEY)

    def __iter__(self) -> Iterator[str]:
        return keys_in_order(self._catalog)

    def items(self) -> ItemsView[str, Any]:
        """Yield keys and values in key order, each read once.

        An entry that is deleted meanwhile is left out or appears as it was. It is not an error.
        """
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """Yield the values in key order, read as `items` reads them."""
        return _Values(self)


class _Items(ItemsView[str, Any]):
    def __init__(self, lake: Reading) -> None:
        super().__init__(lake)
        self._lake = lake

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((row.key, value) for row, value in self._lake.read_listing(self._lake.list()))


class _Values(ValuesView[Any]):
    def __init__(self, lake: Reading) -> None:
        super().__init__(lake)
        self._lake = lake

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._lake.read_listing(self._lake.list()))
