"""What the lake asks of a catalog. All that stands above works with every catalog that offers
this."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from lakebed.catalog.rows import (
    BatchCounts,
    CatalogStats,
    GoneObjectsError,
    MissingContentError,
    Place,
    StagedRow,
)
from lakebed.catalog.search_rows import SearchReading
from lakebed.catalog.searchable import Searchable
from lakebed.catalog.upkeep import Upkeep
from lakebed.clock import Clock
from lakebed.model import (
    Change,
    Content,
    ContentId,
    DiffRow,
    EntryRow,
    Moment,
    Outcome,
    SnapshotRow,
    Upload,
    VersionRow,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from lakebed.catalog.scan import CatalogScan, Scan
    from lakebed.catalog.signals import Signals
    from lakebed.filters import Filter

__all__ = [
    "BatchCounts",
    "Catalog",
    "CatalogReads",
    "CatalogStats",
    "GoneObjectsError",
    "MissingContentError",
    "Place",
    "Scannable",
    "Searchable",
    "StagedRow",
    "TakesHistory",
    "Upkeep",
]

T = TypeVar("T")


class CatalogReads(Protocol):
    """The calls that read, in the present or at an earlier moment.

    An expired entry is invisible from the moment of its expiry. Keys are ordered by their UTF-8
    bytes. Times are microseconds since the epoch.
    """

    def get(self, key: str) -> EntryRow | None:
        """Return the entry of a key, or None."""
        ...

    def get_many(self, keys: Sequence[str]) -> Sequence[EntryRow]:
        """Return the entries of these keys, in any order. Missing ones are left out."""
        ...

    def page(
        self, low: str, high: str, limit: int, metadata_filter: "Filter | None" = None
    ) -> tuple[Sequence[EntryRow], bool]:
        """Return up to `limit` entries with `low <= key < high` in key order, and whether more may
        follow. If there are no entries, none follow.

        With a filter, entries that do not match may be left out. The caller checks the rest.
        """
        ...

    def keys(self, low: str, high: str, limit: int) -> Sequence[str]:
        """Return the first `limit` keys with `low <= key < high`, in order. If there are fewer,
        none follow."""
        ...

    def count(self, low: str, high: str) -> int:
        """Return the number of entries with `low <= key < high`."""
        ...

    def search(self, look: Callable[[SearchReading], T]) -> T:
        """Call `look` with a reading of one moment, and return its result. It may be called
        again."""
        ...

    def locate(self, content: ContentId) -> Place | None:
        """Return where an object is now, or None if the catalog does not hold it."""
        ...

    def parts(self, content: ContentId) -> Sequence[Content]:
        """Return the parts that a table of parts lists, each once and in any order, with where they
        are now. There are none if the catalog does not hold it."""
        ...

    def stats(self, *, exact: bool = False) -> CatalogStats:
        """Return the totals. Unless `exact`, those that take long to count may be estimated."""
        ...


@runtime_checkable
class Scannable(Protocol):
    """A catalog that gives whole relations at once, which is faster than page by page."""

    def scan(self, wanted: "Sequence[Scan]") -> "AbstractContextManager[CatalogScan]":
        """Open a transaction in which a query engine reads the relations in `wanted`."""
        ...


class Catalog(CatalogReads, Scannable, Searchable, Upkeep, Protocol):
    """Keeps the names, and where their contents are. Safe to use from any thread and after a
    fork."""

    def now(self) -> int:
        """Return the catalog's time."""
        ...

    def settings(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        """Create the catalog if it is new, with `wanted` as its settings, and return its
        settings."""
        ...

    def commit(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        """Apply all changes, or none, in one short transaction. Return their outcomes in the same
        order.

        Changes of one key apply in their order. Raises ConflictError if a condition does not hold,
        and MissingContentError if content must be uploaded again.
        """
        ...

    def touch(self, key: str, ttl: int | None, expires_at: int | None) -> EntryRow | None:
        """Give an entry another expiry, as a `Put` would, in one transaction. Return the entry as
        it is then, or None if there is none."""
        ...

    def take(self, low: str, high: str, cut: int, into: str) -> EntryRow | None:
        """Rename the first entry with `low <= key < high`: replace the first `cut` characters of
        its key by `into`. Return None if there is no such entry, or if others are taking all there
        are.

        If several clients call this at once, each entry goes to one of them. Raises ConflictError
        if the new key exists.
        """
        ...

    def signal(self, topic: str) -> None:
        """Wake those who listen to a topic, if the database can do that."""
        ...

    def listen(self, topic: str) -> "AbstractContextManager[Signals]":
        """Return a block in which signals of a topic are heard, from its beginning on."""
        ...

    def commit_batch(
        self, rows: Iterable[StagedRow], uploads: Sequence[Upload] = ()
    ) -> BatchCounts:
        """Store all entries of a batch, or none, in one transaction that is as short as their
        number allows.

        `rows` come in key order, each key once, from memory or a local file. They are read while
        the write lock is held, and read again if the commit has to be repeated. Raises
        MissingContentError as `commit` does.
        """
        ...

    def lease(self, paths: Iterable[str], seconds: float) -> None:
        """Announce uploads before their first byte, so that no collector takes them for orphans."""
        ...

    def discard(self, paths: Iterable[str]) -> None:
        """Give up uploads that no commit will claim. Their bytes become trash."""
        ...

    def known(self, contents: Iterable[ContentId]) -> set[ContentId]:
        """Return those of these contents that the catalog holds."""
        ...

    def places(self, contents: Iterable[ContentId]) -> Mapping[ContentId, Place]:
        """Return where these contents are, as far as the catalog holds them. An inline content has
        no `uri`, and its bytes are left out."""
        ...

    def expire(self, limit: int) -> int:
        """Remove up to `limit` expired entries, and return how many."""
        ...

    def remember(self, name: str, value: str, *, keep: bool = True) -> str:
        """Return a setting that all clients share. If it does not exist, return `value`, and with
        `keep` store it."""
        ...

    def tidy_metadata(self, is_over: Callable[[], bool]) -> None:
        """Bring the metadata index up to date and remove its stale rows, until `is_over`."""
        ...

    def expired(self) -> int:
        """Return how many expired entries wait for their removal."""
        ...

    def create_snapshot(
        self,
        snapshot_id: str,
        name: str,
        message: str | None,
        author: str | None,
        *,
        replace: bool = False,
    ) -> SnapshotRow:
        """Keep the present state under a name.

        Raises ConflictError if the name is taken, unless the new snapshot is to `replace` that one.
        """
        ...

    def snapshots(self) -> Sequence[SnapshotRow]:
        """Return all snapshots, the oldest first."""
        ...

    def find_snapshot(self, name: str) -> SnapshotRow | None:
        """Return the snapshot with this name or id, or None."""
        ...

    def drop_snapshot(self, snapshot_id: str) -> bool:
        """Remove a snapshot, and return whether it existed."""
        ...

    def at(self, moment: Moment) -> CatalogReads:
        """Return the reading calls as of a moment. They raise NotFoundError once it can no longer
        be read."""
        ...

    def moment(self, *, version: int | None = None, time: int | None = None) -> Moment:
        """Return the state after a version, or at a time. Raises NotFoundError if its history is
        not kept."""
        ...

    def diff(self, a: Moment, b: Moment | None, low: str, high: str) -> Generator[DiffRow]:
        """Yield the keys that differ between two moments (None is now), in key order.

        All is read in one transaction, which ends with the iterator: exhaust or close it at once.
        """
        ...

    def restore(
        self,
        moment: Moment,
        low: str,
        high: str,
        keep: tuple[str, str],
        collect: Callable[[Iterator[DiffRow]], None],
    ) -> tuple[SnapshotRow, int]:
        """Make the keys of a range what they were at a moment, in one transaction.

        The present is first kept as a snapshot with the id and name in `keep`. The rows in which it
        differs from the result are passed to `collect`. Returns that snapshot, and how many entries
        of the moment have expired since.
        """
        ...

    def preview_restore(
        self,
        moment: Moment,
        low: str,
        high: str,
        collect: Callable[[Iterator[DiffRow]], None],
    ) -> int:
        """Pass to `collect` what `restore` would, and return what it would count as expired.
        Nothing changes."""
        ...

    def history(
        self, key: str, limit: int | None = None, before: int | None = None
    ) -> Sequence[VersionRow]:
        """Return up to `limit` kept versions of a key below `before`, the newest first."""
        ...

    def prune(
        self, horizon: int, after: int, limit: int, *, dry_run: bool = False
    ) -> tuple[int, int | None]:
        """Remove up to `limit` versions that ended by `horizon` and that no snapshot sees.

        Looks at versions above `after`, in their order. Returns how many were removed, and the
        version to continue after, None at the end.
        """
        ...

    def close(self) -> None:
        """Close the connections. Later calls raise CatalogError."""
        ...


@runtime_checkable
class RemovesGarbage(Protocol):
    """A catalog whose writes remove contents that have lost their last name."""

    def leave_garbage(self) -> None:
        """Leave such contents to `collect` from now on."""
        ...


@runtime_checkable
class ChangesSettings(Protocol):
    """A catalog with settings that change while clients use it."""

    def change_setting(self, name: str, change: Callable[[str | None], str]) -> str:
        """Set what `change` makes of the value of a setting, None if there is none, in one
        transaction. Return the new value. `change` may be called again."""
        ...


@runtime_checkable
class TakesHistory(ChangesSettings, Protocol):
    """A catalog to which the past of another can be told."""

    def at_time(self, clock: Clock) -> "AbstractContextManager[None]":
        """Return a block in which `clock` tells the catalog's time. Nobody else may use the catalog
        meanwhile."""
        ...

    def history_since(self) -> int:
        """Return the time, in microseconds, before which versions may be lacking."""
        ...

    def lack_history(self, time: int) -> None:
        """Note that versions before a time may be lacking. `moment` refuses it from then on."""
        ...


@runtime_checkable
class TakesContents(Protocol):
    """A catalog to which contents can be given that lie in the storage already, without names."""

    def name_contents(self, contents: Sequence[Content], uploads: Sequence[Upload]) -> None:
        """Take contents and the leased files that they lie in, each of which holds one of them that
        the catalog lacks. Those that no entry has come to name are collected."""
        ...
