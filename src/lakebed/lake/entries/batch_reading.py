"""Retrieves many entries in one call."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lakebed.errors import LakebedError
from lakebed.lake.base import LakeBase
from lakebed.lake.checks import check_iterable, check_key
from lakebed.lake.contents.collected import CollectedError
from lakebed.model import EntryRow


class BatchReading(LakeBase):
    """The call that reads many values."""

    def retrieve_batch(self, keys: Iterable[str]) -> Retrieved:
        """Return the values of many keys, with few queries and grouped reads.

        The result maps the existing keys to their values, in the order of `keys`. `missing` has the
        keys that do not exist. `errors` has, by key, the error of each value that could not be
        read.
        """
        check_iterable("keys", keys)
        wanted = list(dict.fromkeys(map(check_key, keys)))
        rows = {row.key: row for row in self._catalog.get_many(wanted)}
        found = dict(self._read_values(rows.values()))
        gone = _collected(found)
        while gone:  # replaced or deleted, and collected, between two reads: look again
            again = {row.key: row for row in self._catalog.get_many(gone)}
            for key in gone:
                if key not in again:
                    del found[key]
            newer = [row for key, row in again.items() if row.version != rows[key].version]
            rows |= again
            read = dict(self._read_values(newer))
            found |= read
            gone = _collected(read)
        values, missing, errors = dict[str, Any](), list[str](), dict[str, LakebedError]()
        for key in wanted:
            value = found.get(key, _MISSING)
            if value is _MISSING:
                missing.append(key)
            elif isinstance(value, LakebedError):
                errors[key] = value
            else:
                values[key] = value
        return Retrieved(values, missing, errors, rows)


_MISSING = object()


def _collected(values: Mapping[str, Any]) -> list[str]:
    return [key for key, value in values.items() if isinstance(value, CollectedError)]


class Retrieved(Mapping[str, Any]):
    """Values by key. `missing` has the keys that do not exist, `errors` what could not be read.

    `rows`: the rows that were read with the values, by key, for faces over a lake.
    """

    def __init__(
        self,
        values: dict[str, Any],
        missing: Sequence[str],
        errors: Mapping[str, LakebedError],
        rows: Mapping[str, EntryRow],
    ) -> None:
        self._values = values
        self.rows = rows
        self.missing = missing
        self.errors = errors

    def __getitem__(self, key: str) -> Any:
        if key in self.errors:
            raise self.errors[key]
        return self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def items(self) -> ItemsView[str, Any]:
        """Return keys with their values."""
        return self._values.items()  # three times as fast as that of Mapping

    def __repr__(self) -> str:
        return (
            f"<Retrieved: {len(self._values)} values, {len(self.missing)} missing, "
            f"{len(self.errors)} errors>"
        )
