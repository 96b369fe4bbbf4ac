"""Rebuild a lost catalog. Names come from a backup, and contents stay where the storage has them.

Contents that were stored after the backup have no names. They are listed. They get names only if
the caller gives a prefix for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TypedDict

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.protocol import TakesHistory
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.clock import from_micros
from lakebed.errors import ConfigurationError, ConflictError, CorruptionError, ValidationError
from lakebed.lake.backup.known import all_objects, take_contents
from lakebed.lake.backup.manifest import Manifest
from lakebed.lake.backup.place import BackupPlace, keep_apart
from lakebed.lake.backup.points import opened_point
from lakebed.lake.checks import check_key
from lakebed.lake.copying.batch import store_rows
from lakebed.lake.copying.entries import EntryCopy
from lakebed.lake.copying.past import tell_past
from lakebed.lake.copying.report import CopyReport
from lakebed.lake.lake import Lake
from lakebed.lake.opening import CATALOG_FILE, History, assemble
from lakebed.lake.ownership import BESIDE, take_from_others
from lakebed.model import Content, ContentId, EntryRow, ObjectRow, Progress
from lakebed.objects.finding import contents_of
from lakebed.objects.names import is_ours
from lakebed.objects.opening import open_store
from lakebed.objects.store import ObjectStore, StoredFile
from lakebed.records import Report
from lakebed.values.parts import TABLE

_SETTING = "rebuilding"
_LEFT_BY_SQLITE = ("-wal", "-journal")
_SPARED = 30 * 86_400_000_000  # microseconds in which `collect` does not look for unknown files


class UnnamedContent(TypedDict):
    """A content in the storage to which no name of the backup refers."""

    uri: str
    content_hash: str
    format: str
    byte_size: int
    modified: datetime


class LaterVersion(TypedDict):
    """A key that was stored after the backup. The search index in the storage has it.

    `content_hash`: None unless the index has it. Only an index for a search by meaning does.
    """

    key: str
    version: int
    content_hash: str | None


class RebuildReport(Report):
    """What `lakebed.rebuild_catalog` did.

    | field | |
    | --- | --- |
    | `point` | the id of the point that gave the names |
    | `moment` | the time of the point: later stores, changes and deletes are not in the lake |
    | `entries`, `snapshots`, `versions` | how many of each the lake has now |
    | `in_storage` | how many contents the storage still had |
    | `from_backup` | how many contents the storage had lost and the backup gave back |
    | `missing` | keys of entries whose content neither has: they are left out |
    | `later` | keys that were stored after the backup (`LaterVersion`) |
    | `unnamed` | contents of the storage that are not in the point (`UnnamedContent`) |
    | `named` | how many of these got a name under the prefix `found` |
    | `damaged` | files in the storage whose content does not match their name |
    """

    point: str
    moment: datetime
    entries: int
    snapshots: int
    versions: int
    in_storage: int
    from_backup: int
    missing: list[str]
    later: list[LaterVersion]
    unnamed: list[UnnamedContent]
    named: int
    damaged: list[str]


def create_in_folder(folder: str, history: History | None, retention: int | None) -> None:
    """Make an empty catalog in the folder of a lake that has lost its own."""
    path = Path(folder, CATALOG_FILE)
    if path.exists() or not Path(folder).is_dir():
        return
    for end in _LEFT_BY_SQLITE:
        if Path(f"{path}{end}").exists():
            raise ConfigurationError(f"{path}{end} belongs to the lost catalog: move it away first")
    opened = open_sqlite(path, CatalogOptions())
    assemble(opened, open_store(folder), BESIDE, None, history, retention).close()


def take_identity(lake: Lake, point: Manifest) -> None:
    """Give a new lake the identity of the one whose catalog is lost. Open it again afterwards.

    Raises ConflictError if the lake is not empty, unless an earlier rebuild from the same point
    began to fill it.
    """
    lake._must_write("rebuild_catalog")
    catalog = lake._catalog
    if lake._objects is None or not isinstance(catalog, TakesHistory):
        raise ValidationError(
            "rebuild_catalog needs a lake with the storage of the lost one, and a catalog that can "
            f"take over its past; {lake.name} lacks one of the two"
        )

    def begin(found: str | None) -> str:
        if found != point.id:
            stats = lake.stats()
            if found or stats.entries or stats.expired or stats.history or stats.snapshots:
                raise ConflictError(
                    f"a catalog can be rebuilt only in an empty one, and {lake.name} is not empty: "
                    "name a new catalog"
                )
        return point.id

    catalog.change_setting(_SETTING, begin)
    catalog.change_setting("lake_id", lambda _: point.lake_id)


def rebuild(
    place: BackupPlace,
    point: Manifest,
    lake: Lake,
    found: str | None,
    progress: Progress | None,
) -> RebuildReport:
    """Fill an empty catalog. `lakebed.rebuild_catalog` describes it."""
    if found is not None:
        check_key(found)
    keep_apart(place, lake)
    # This catalog now knows what the lost one knew about the storage.
    if lake._owner is not None:
        lake.adopt()
    elif lake._objects is not None:
        take_from_others(lake._catalog, lake._objects, lake._lake_id, lake.name)
    with opened_point(place, point) as source:
        rebuilding = _Rebuilding(place, point, source, lake, progress)
        rebuilding.look()
        rebuilding.fill()
        return rebuilding.report(found)


class _Rebuilding:
    """One rebuild. `source` is the lake of the point, `lake` the one to fill."""

    def __init__(
        self,
        place: BackupPlace,
        point: Manifest,
        source: Lake,
        lake: Lake,
        progress: Progress | None,
    ) -> None:
        assert lake._objects is not None
        self._place = place
        self._point = point
        self._source = source
        self._lake = lake
        self._store: ObjectStore = lake._objects
        self._progress = progress
        self._wanted: dict[ContentId, int] = {
            _id_of(row): row.byte_size for row in all_objects(source)
        }
        self._files = dict[str, StoredFile]()
        self._found = dict[ContentId, Content]()
        self._damaged = list[str]()
        self._lost = set[ContentId]()
        self._missing = list[str]()

    def look(self) -> None:
        """Find the contents that the storage has."""
        self._files = {
            file.path: file
            for folder in ("objects", "packs")
            for file in self._store.list(folder)
            if is_ours(file.path)
        }
        for number, file in enumerate(self._files.values(), 1):
            try:
                for content in contents_of(self._store, file.path, file.byte_size):
                    wanted = self._wanted.get(content.id, content.byte_size)
                    if content.byte_size != wanted:
                        raise CorruptionError(f"{file.path} has another size than its content")
                    self._found.setdefault(content.id, content)
            except (CorruptionError, FileNotFoundError):
                self._damaged.append(file.path)
            if self._progress:
                self._progress(number, len(self._files))

    def fill(self) -> None:
        """Store the names of the point, each with its content where the storage has it."""
        if self._point.history == "none":  # otherwise the past cannot be copied without them
            self._look_for_lost()
        sizes = {path: file.byte_size for path, file in self._files.items()}
        there = (content for name, content in self._found.items() if name in self._wanted)
        self._taken = take_contents(self._lake, there, sizes)
        # Contents that the point does not name are not garbage: their owner must look first.
        self._lake._catalog.note_orphans_listed(self._lake._catalog.now() + _SPARED)
        if self._point.history == "none":
            self._done = self._fill_present()
        else:
            self._done = tell_past(
                self._source, self._source, None, self._lake, "", self._progress, private=True
            )

    def _fill_present(self) -> CopyReport:
        copy = EntryCopy(self._source, self._lake, "fail", self._progress, private=True)
        copy.run(self._present(), len(self._source))
        self._missing = [row.key for row in self._source.list().rows() if _id_of(row) in self._lost]
        return copy.report(copy.verify(self._present()))

    def _present(self) -> Iterator[EntryRow]:
        for row in self._source.list().rows():
            if _id_of(row) not in self._lost:
                yield row

    def _look_for_lost(self) -> None:
        """Find the contents that neither the storage nor the backup has, and the tables with such
        parts. The other parts of these tables count as unnamed, because nothing needs them now."""
        needed, there = self._place.files_of(self._point), self._place.contents()
        whole = {p for p, size in needed.items() if p in there and there[p].byte_size == size}
        rows = [*all_objects(self._source)]
        self._lost = {
            _id_of(row)
            for row in rows
            if _id_of(row) not in self._found and row.uri is not None and row.uri not in whole
        }
        tables = {_id_of(row): self._parts_of(row) for row in rows if row.format == TABLE}
        broken = {table for table, parts in tables.items() if parts & self._lost}
        self._lost |= broken
        used = {_id_of(row) for row in self._source.list().rows()} if broken else set[ContentId]()
        used.update(*(parts for table, parts in tables.items() if table not in broken))
        for part in set[ContentId]().union(*(tables[table] for table in broken)) - used:
            del self._wanted[part]

    def _parts_of(self, table: ObjectRow) -> set[ContentId]:
        return {part.id for part in self._source._catalog.parts(_id_of(table))}

    def report(self, found: str | None) -> RebuildReport:
        """Return the report. If `found` is given, first name the other contents under it."""
        unnamed = [
            content
            for name, content in sorted(self._found.items())
            if name not in self._wanted and content.format != "segment"
        ]
        named = 0 if found is None else self._name(found, unnamed)
        stored = sum(name in self._found for name in self._wanted)
        return RebuildReport(
            point=self._point.id,
            moment=from_micros(self._point.created_at),
            entries=self._done.entries,
            snapshots=len(self._lake.snapshots()),
            versions=self._done.versions,
            in_storage=stored,
            from_backup=len(self._wanted.keys() - self._found.keys() - self._lost),
            missing=self._missing,
            later=later_versions(self._store, self._files, self._point.version),
            unnamed=[self._described(content) for content in unnamed],
            named=named,
            damaged=[self._store.uri(path) for path in self._damaged],
        )

    def _name(self, prefix: str, contents: list[Content]) -> int:
        """Give each content a key: the prefix and its hash."""
        sizes = {path: file.byte_size for path, file in self._files.items()}
        take_contents(self._lake, contents, sizes)
        rows = (
            EntryRow(
                f"{prefix}{content.content_hash.hex()}.{content.format}",
                0,
                "{}",
                None,
                modified := self._files[content.uri or ""].modified,
                modified,
                *content[:3],
                None,
                None,
                None,
            )
            for content in contents
        )
        store_rows(self._lake, self._lake, rows, private=True)
        return len(contents)

    def _described(self, content: Content) -> UnnamedContent:
        path = content.uri or ""
        return UnnamedContent(
            uri=self._lake.full_uri(path, content.position) or path,
            content_hash=f"sha256:{content.content_hash.hex()}",
            format=content.format,
            byte_size=content.byte_size,
            modified=from_micros(self._files[path].modified),
        )


def _id_of(row: EntryRow | ObjectRow) -> ContentId:
    return row.content_hash, row.format


def later_versions(store: ObjectStore, files: Iterable[str], version: int) -> list[LaterVersion]:
    """Return the keys that the search index in a storage has in versions above this one, with the
    last version of each."""
    from lakebed.search.format import UnreadableSegmentError
    from lakebed.search.segment import Segment

    found = dict[str, LaterVersion]()
    for path in files:
        if not path.endswith(".segment"):
            continue
        try:
            segment = Segment(memoryview(store.read(path)))
        except (UnreadableSegmentError, FileNotFoundError):
            continue  # a segment of another release, which this one cannot read
        for document in (segment.versions > version).nonzero()[0]:
            key, at = segment.key(int(document)), int(segment.versions[document])
            if key not in found or found[key]["version"] < at:
                content = None
                if segment.header.embedder is not None:
                    content = f"sha256:{segment.contents[document].tobytes().hex()}"
                found[key] = LaterVersion(key=key, version=at, content_hash=content)
    return [found[key] for key in sorted(found)]
