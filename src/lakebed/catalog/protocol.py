"""What the lake asks of a catalog. Everything above works with everything that offers this."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, runtime_checkable

from lakebed.catalog.search_rows import NewSegment, SearchReading, SegmentRow, SegmentState, Waiting
from lakebed.errors import CatalogError
from lakebed.model import (
    BrokenReference,
    Change,
    Collected,
    ContentId,
    DiffRow,
    EntryRow,
    Moment,
    Move,
    Naming,
    ObjectRow,
    Outcome,
    PackRow,
    Purged,
    PurgePreview,
    SnapshotRow,
    Upload,
    VersionRow,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from lakebed.catalog.scan import CatalogScan, Scan
    from lakebed.catalog.signals import Signals
    from lakebed.filters import Filter

T = TypeVar("T")


class MissingContentError(CatalogError):
    """A commit meant to reuse content, or claim an upload, that is no longer there: upload again.

    The lake catches it; it never reaches a caller.
    """


class GoneObjectsError(MissingContentError):
    """Objects that were to be moved are not there any more; `ids` are their numbers."""

    def __init__(self, ids: set[int]) -> None:
        super().__init__(f"{len(ids)} objects that were to be moved are gone")
        self.ids = ids


class CatalogStats(NamedTuple):
    """Totals over a catalog; sizes in bytes. `used_bytes`: of the objects behind entries that are
    visible; the others await their collection, or are there for snapshots and history. `estimated`:
    the names of those that are not counted."""

    entries: int
    expired: int
    entry_bytes: int
    objects: int
    object_bytes: int
    inline_objects: int
    inline_bytes: int
    packs: int
    snapshots: int
    history: int
    used_bytes: int
    estimated: tuple[str, ...] = ()


class StagedRow(NamedTuple):
    """An entry of a batch, ready to commit; times in microseconds. Without `inline_value` and `uri`
    its content must be known to the catalog."""

    key: str
    content_hash: bytes
    format: str
    byte_size: int
    inline_value: bytes | None
    uri: str | None
    position: str | None
    metadata: str
    ttl: int | None
    expires_at: int | None


class BatchCounts(NamedTuple):
    """What a batch did: entries that are new, that changed, that were as they are now already, and
    contents that the lake held already."""

    created: int
    changed: int
    unchanged: int
    deduplicated: int


class Place(NamedTuple):
    """Where an object's bytes are: inline, in a file of their own, or at a position in a pack."""

    inline_value: bytes | None
    uri: str | None
    position: str | None


class CatalogReads(Protocol):
    """The reading calls, of the present or of an earlier moment.

    Expired entries are invisible from the moment of their expiry. Keys are ordered by their UTF-8
    bytes. Times are microseconds since the epoch.
    """

    def get(self, key: str) -> EntryRow | None:
        """The entry of a key."""
        ...

    def get_many(self, keys: Sequence[str]) -> Sequence[EntryRow]:
        """The entries of those keys that are there, in any order."""
        ...

    def page(
        self, low: str, high: str, limit: int, metadata_filter: "Filter | None" = None
    ) -> tuple[Sequence[EntryRow], bool]:
        """Up to `limit` entries with `low <= key < high`, by key, and whether more may follow;
        without any, none do.

        With a filter, entries that do not match may be left out; the caller decides the others.
        """
        ...

    def count(self, low: str, high: str) -> int:
        """How many entries have `low <= key < high`."""
        ...

    def search(self, look: Callable[[SearchReading], T]) -> T:
        """What `look` makes of a reading of one moment. It may be called again."""
        ...

    def locate(self, content: ContentId) -> Place | None:
        """Where an object lies now; None if the catalog does not hold it."""
        ...

    def stats(self, *, exact: bool = False) -> CatalogStats:
        """Totals; unless `exact`, some may be estimated where counting would take long."""
        ...


@runtime_checkable
class Scannable(Protocol):
    """What gives whole relations at once, faster than page by page."""

    def scan(self, wanted: "Sequence[Scan]") -> "AbstractContextManager[CatalogScan]":
        """A transaction in which a query engine reads whole relations, those of `wanted`."""
        ...


class Catalog(CatalogReads, Scannable, Protocol):
    """Names, and where their contents are. Safe to use from any thread and after a fork."""

    def now(self) -> int:
        """The catalog's time."""
        ...

    def settings(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        """Create the catalog if it is new, with `wanted` as its settings; those it has now."""
        ...

    def commit(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        """Apply changes, all or none, in one short transaction; outcomes in the order of `changes`.

        Changes of one key apply in their order. ConflictError if a condition does not hold,
        MissingContentError if content must be uploaded again.
        """
        ...

    def take(self, low: str, high: str, cut: int, into: str) -> EntryRow | None:
        """Rename the first entry with `low <= key < high`: `into` stands for the first `cut`
        characters of its key. None if there is none, or others are taking all there are.

        Each entry is taken by one of several callers. ConflictError if the new key is there.
        """
        ...

    def signal(self, topic: str) -> None:
        """Wake those who listen to a topic, where the database can do that."""
        ...

    def listen(self, topic: str) -> "AbstractContextManager[Signals]":
        """A block in which signals of a topic are heard, those from its beginning on."""
        ...

    def commit_batch(
        self, rows: Iterable[StagedRow], uploads: Sequence[Upload] = ()
    ) -> BatchCounts:
        """Store many entries, all or none, in one transaction as short as their number allows.

        `rows` come in key order, no key twice, from memory or a local file: they are read while the
        write lock is held, and again if the commit has to be repeated. MissingContentError as for
        `commit`.
        """
        ...

    def lease(self, paths: Iterable[str], seconds: float) -> None:
        """Announce uploads before their first byte, so that no collector takes them for orphans."""
        ...

    def discard(self, paths: Iterable[str]) -> None:
        """Give up uploads that no commit will claim: their bytes become trash."""
        ...

    def known(self, contents: Iterable[ContentId]) -> set[ContentId]:
        """Which of these contents the catalog holds."""
        ...

    def places(self, contents: Iterable[ContentId]) -> Mapping[ContentId, Place]:
        """Where those of these contents lie that the catalog holds; without the bytes of those that
        lie inline, which have no `uri`."""
        ...

    def expire(self, limit: int) -> int:
        """Remove up to `limit` expired entries; how many."""
        ...

    def segments(self) -> Sequence[SegmentRow]:
        """The segments."""
        ...

    def segment_bytes(self, segment_id: str) -> bytes | None:
        """The bytes of a segment that lies in the catalog."""
        ...

    def segment_ends(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """What had ended when these segments were written, by their ids; see `NewSegment`. Those
        that are gone are left out."""
        ...

    def segments_now(self) -> tuple[SegmentState, Sequence[SegmentRow]]:
        """The segments, with their state at the same moment."""
        ...

    def ended(self) -> Sequence[tuple[int, int]]:
        """What has ended since; see `SearchReading`."""
        ...

    def count_waiting(self, cap: int) -> int:
        """How many versions wait for a segment; it may stop counting at `cap`."""
        ...

    def next_waiting(self, limit: int) -> Waiting:
        """The next versions that wait for a segment, about `limit` at most."""
        ...

    def get_versions(self, versions: Sequence[int]) -> Sequence[VersionRow]:
        """The rows of those versions that stand or are history, in any order."""
        ...

    def add_segment(
        self,
        new: NewSegment | None,
        waiting: Waiting,
        standing: Sequence[int],
        queue: Sequence[int],
        *,
        patient: bool = True,
    ) -> bool:
        """Name a segment of what waited; False, and its upload is trash, if somebody was faster.

        `new`: None if nothing that waited is there any more. `standing`: its versions that stood
        when they were read. `queue`: those of `waiting` that it does not hold, which wait on.
        """
        ...

    def replace_segments(
        self,
        old: Sequence[SegmentRow],
        new: NewSegment | None,
        state: SegmentState,
        *,
        settled: Sequence[int] = (),
        queue: Sequence[int] = (),
        at_once: bool = False,
        patient: bool = True,
    ) -> bool:
        """Name one segment in place of others; False, and its upload is trash, if one of them is
        gone or something was purged since `state`.

        `settled`: versions whose end no longer matters. `queue`: versions that wait again. With
        `at_once` no grace spares the old files.
        """
        ...

    def kept_versions(self, versions: Sequence[int]) -> set[int]:
        """Which of these versions the history still has."""
        ...

    def unheld_versions(self, held: Iterable[int]) -> Sequence[int]:
        """The versions that stand or are history, do not wait, and are not `held`."""
        ...

    def remember(self, name: str, value: str, *, keep: bool = True) -> str:
        """A setting that all clients share: what it is, or `value` if there is none yet, which is
        kept then if `keep`."""
        ...

    def tidy_metadata(self, is_over: Callable[[], bool]) -> None:
        """Bring the metadata index up to date, and drop what is stale of it, until `is_over`."""
        ...

    def expired(self) -> int:
        """How many expired entries wait for removal."""
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
        """Keep the present state under a name. ConflictError if the name is taken, unless the new
        snapshot is to `replace` the one that has it."""
        ...

    def snapshots(self) -> Sequence[SnapshotRow]:
        """All snapshots, oldest first."""
        ...

    def find_snapshot(self, name: str) -> SnapshotRow | None:
        """The snapshot of this name or id."""
        ...

    def drop_snapshot(self, snapshot_id: str) -> bool:
        """Remove a snapshot; whether it was there."""
        ...

    def at(self, moment: Moment) -> CatalogReads:
        """The reading calls as of a moment; NotFoundError once it can no longer be read."""
        ...

    def moment(self, *, version: int | None = None, time: int | None = None) -> Moment:
        """The state after a version, or at a time. NotFoundError if its history is not kept."""
        ...

    def diff(self, a: Moment, b: Moment | None, low: str, high: str) -> Iterator[DiffRow]:
        """The keys that differ between two moments (None is now), in key order.

        Reads inside one transaction, which ends with the iterator: exhaust it at once.
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
        """Make the keys in the range what they were, in one transaction.

        First keeps the present as a snapshot of the id and name `keep`. Passes the rows that differ
        between it and the result to `collect`. Returns it, and how many entries of the moment have
        expired since.
        """
        ...

    def preview_restore(
        self,
        moment: Moment,
        low: str,
        high: str,
        collect: Callable[[Iterator[DiffRow]], None],
    ) -> int:
        """What `restore` would pass to `collect` and count as expired; changes nothing."""
        ...

    def history(
        self, key: str, limit: int | None = None, before: int | None = None
    ) -> Sequence[VersionRow]:
        """The versions of a key that are kept, newest first: `limit` at most, below `before`."""
        ...

    def prune(
        self, horizon: int, after: int, limit: int, *, dry_run: bool = False
    ) -> tuple[int, int | None]:
        """Forget up to `limit` versions that ended by `horizon` and that no snapshot sees.

        Looks at versions above `after`, in their order; how many it forgot, and where to go on,
        None at the end.
        """
        ...

    def lapse_leases(self, limit: int) -> int:
        """Give up as many uploads whose lease has run out; how many."""
        ...

    def collect(self, after: int, limit: int, *, dry_run: bool = False) -> Collected:
        """Judge candidates with numbers above `after`: remove the objects that nothing refers to,
        and make their files trash."""
        ...

    def preview_collect(self) -> int:
        """How many files a collection would give up: of uploads whose lease has run out, of objects
        that nothing refers to, and packs in which only such objects live."""
        ...

    def due_trash(self, horizon: int, after: str, limit: int) -> Sequence[str]:
        """Files that became trash by `horizon`, in the order of their paths."""
        ...

    def trash(self) -> int:
        """How many files are trash."""
        ...

    def add_trash(self, paths: Iterable[str]) -> None:
        """Files that nothing refers to."""
        ...

    def forget_trash(self, paths: Iterable[str]) -> None:
        """Files that are gone."""
        ...

    def unknown(self, paths: Iterable[str]) -> Sequence[str]:
        """Which of these files no row knows: no object, pack, lease or trash."""
        ...

    def orphans_listed(self) -> int:
        """When the storage was last listed for orphans."""
        ...

    def note_orphans_listed(self, time: int) -> None:
        """The storage has been listed."""
        ...

    def inline_objects(
        self, after: int, horizon: int, least: int, limit: int
    ) -> Sequence[ObjectRow]:
        """Inline objects with numbers above `after`, of `least` bytes or more, as of `horizon`."""
        ...

    def worn_packs(self, small: int) -> Sequence[PackRow]:
        """Packs that are mostly dead, or take less than `small` bytes."""
        ...

    def pack_objects(self, pack_id: int, uri: str) -> Sequence[ObjectRow]:
        """The objects that live in a pack."""
        ...

    def move(self, moves: Sequence[Move], upload: Upload) -> int:
        """Point objects to their new pack, those that are still where they were; how many.

        GoneObjectsError, and nothing is moved, if some are nowhere any more: what lies in the
        upload may have been purged. MissingContentError if the upload's lease is gone.
        """
        ...

    def objects(self, after: int, limit: int) -> Sequence[ObjectRow]:
        """Objects with numbers above `after`, in their order."""
        ...

    def names(self, object_id: int) -> Sequence[Naming]:
        """What an object stands under."""
        ...

    def purge(self, low: str, high: str, limit: int) -> Purged:
        """Remove up to `limit` keys of the range from the present, the history and every snapshot,
        and what only they held. Nothing removed means that nothing is left."""
        ...

    def preview_purge(self, low: str, high: str) -> PurgePreview:
        """What a purge of all keys of the range would remove; changes nothing."""
        ...

    def wear(self, pack: PackRow) -> None:
        """Have the next compaction rewrite a pack."""
        ...

    def packs_with_dead(self, after: int, limit: int) -> Sequence[PackRow]:
        """Packs with numbers above `after` in which bytes lie that no object names."""
        ...

    def uploads(self) -> Sequence[str]:
        """The files that are leased: no commit has claimed them so far."""
        ...

    def expedite(self, paths: Iterable[str]) -> None:
        """Trash that is due at once: it counts as trash since time 0."""
        ...

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        """Leave nothing of deleted rows in the database's own files: the places, in words, where
        something of them may be left. If not `thorough`, only what is quick and waits for nobody.
        """
        ...

    def check_references(self) -> Sequence[BrokenReference]:
        """References between rows that do not hold."""
        ...

    def mend(self, broken: BrokenReference) -> bool:
        """Mend one of them, where that changes no name; whether it did."""
        ...

    def replace(self, content: ContentId, place: Place, new: Upload | bytes) -> bool:
        """Point an object to a new file with the same content, or put its bytes inline, if it still
        lies at `place`; whether it did. What lay there becomes trash."""
        ...

    def close(self) -> None:
        """Close connections. Later calls raise CatalogError."""
        ...
