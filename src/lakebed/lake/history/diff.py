"""What differs between two moments of a lake."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from lakebed.lake.history.change import EntryChange
from lakebed.lake.history.diff_spool import DiffSpool, Kind
from lakebed.model import DiffRow, Progress
from lakebed.records import Entry, Report, ValueReader
from lakebed.values.tabular import Tabular

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 20
T = TypeVar("T")


class Summary(Report):
    """A diff in numbers.

    It counts entries added, removed and changed; of the changed ones, those whose content changed,
    and those of which only metadata or expiry did; and the bytes of content of these entries before
    and after.
    """

    added: int
    removed: int
    changed: int
    content_changed: int
    only_metadata_or_expiry: int
    bytes_before: int
    bytes_after: int


class _Differences(Sequence[T], Generic[T]):
    """The differences of one kind, in key order, read from the spool as they are asked for."""

    def __init__(self, spool: DiffSpool, kind: Kind, lake: ValueReader) -> None:
        self._spool = spool
        self._kind = kind
        self._lake = lake

    @abstractmethod
    def _make(self, row: DiffRow) -> T: ...

    def __len__(self) -> int:
        return self._spool.count(self._kind)

    def __iter__(self) -> Iterator[T]:
        return map(self._make, self._spool.rows(self._kind))

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"the diff has {len(self)} entries {self._kind}")
        return self._make(next(self._spool.rows(self._kind, number)))

    def __repr__(self) -> str:
        keys = ", ".join(repr(getattr(item, "key", None)) for item in islice(self, 5))
        return f"<{len(self)} {self._kind}: {keys}{', …' if len(self) > 5 else ''}>"


class _Entries(_Differences[Entry]):
    def _make(self, row: DiffRow) -> Entry:
        entry = row.after or row.before
        assert entry is not None
        return Entry(entry, self._lake)


class _Changes(_Differences[EntryChange]):
    def _make(self, row: DiffRow) -> EntryChange:
        assert row.before is not None
        assert row.after is not None
        return EntryChange(row.before, row.after, self._lake)


class Diff(Tabular):
    """Entries that differ between two moments: `added`, `changed` and `removed`, in key order.

    `added` and `removed` are sequences of entries, `changed` is a sequence of changes with `key`,
    `before` and `after`. An entry counts as changed if its content, metadata or expiry differ,
    however often it was stored in between. Large diffs are in a temporary file, and sequences read
    it as they are used. `len()` is the number of all differences.
    """

    def __init__(self, spool: DiffSpool, lake: ValueReader, names: tuple[str, str]) -> None:
        self._spool = spool
        self._names = names
        self.added: Sequence[Entry] = _Entries(spool, "added", lake)
        self.changed: Sequence[EntryChange] = _Changes(spool, "changed", lake)
        self.removed: Sequence[Entry] = _Entries(spool, "removed", lake)

    def __len__(self) -> int:
        return len(self.added) + len(self.changed) + len(self.removed)

    def summary(self) -> Summary:
        """Return the diff in numbers."""
        content_changed, bytes_before, bytes_after = self._spool.summary()
        return Summary(
            added=len(self.added),
            removed=len(self.removed),
            changed=len(self.changed),
            content_changed=content_changed,
            only_metadata_or_expiry=len(self.changed) - content_changed,
            bytes_before=bytes_before,
            bytes_after=bytes_after,
        )

    def to_arrow(self, *, progress: Progress | None = None) -> pa.Table:
        """Return the diff as an Arrow table, with one row for each difference: added, then changed,
        then removed.

        Columns: key (string), change (string), and for before and after each content_hash (string),
        byte_size (int64), metadata (string, JSON), expires_at and updated_at (timestamp[us, UTC]),
        null where the key does not exist. `progress` is called with the rows done and their total.
        """
        from lakebed.lake.history.diff_arrow import diff_to_arrow

        return diff_to_arrow(self._spool, progress)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} from {self._names[0]} to {self._names[1]}: "
            f"{len(self.added)} added, {len(self.changed)} changed, {len(self.removed)} removed>"
        )

    def _repr_html_(self) -> str:
        from lakebed.values.html import table

        more = len(self) - _SHOWN
        return table(
            repr(self)[1:-1],
            ("", "key", "what"),
            self._lines(),
            limit=_SHOWN,
            more=f"… {more} more" if more > 0 else None,
        )

    def _lines(self) -> Iterator[tuple[str, str, str]]:
        for entry in self.added:
            yield "+", entry.key, f"{entry.byte_size} bytes"
        for change in self.changed:
            parts = {
                "content": change.content_changed,
                "metadata": change.metadata_changed,
                "expiry": change.expiry_changed,
            }
            yield "~", change.key, ", ".join(name for name, differs in parts.items() if differs)
        for entry in self.removed:
            yield "-", entry.key, f"{entry.byte_size} bytes"


class Restored(Diff):
    """What `restore` did: the diff that it applied.

    `snapshot` names the snapshot of the state before, and is None in a dry run. `expired` counts
    entries of the snapshot whose expiry has passed since: they stay away.
    """

    def __init__(
        self,
        spool: DiffSpool,
        lake: ValueReader,
        names: tuple[str, str],
        snapshot: str | None,
        expired: int,
    ) -> None:
        super().__init__(spool, lake, names)
        self.snapshot = snapshot
        self.expired = expired
