"""Verification: read everything again, and name each problem."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Literal

from lakebed.catalog.protocol import Place
from lakebed.errors import CorruptionError, ValidationError
from lakebed.lake.base import PresentLake
from lakebed.lake.checks import check_flag
from lakebed.lake.contents.uploading import LEASE_SECONDS
from lakebed.model import Naming, ObjectRow, Progress, Upload
from lakebed.objects.names import object_path
from lakebed.objects.packs import Position, read_values
from lakebed.records import Report
from lakebed.values.hash import digest

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_PAGE = 500
_READERS = 8
_AT_ONCE = 32  # files per task, because a task costs as much as hashing a small file

Kind = Literal[
    "damaged", "missing", "no object", "trash in use", "lease in use", "miscounted pack", "unnoted"
]


class Problem(Report):
    """A problem that `verify` found."""

    kind: Kind
    entry_keys: Sequence[str]
    snapshots: Sequence[str]
    content_hash: str | None
    uri: str | None
    repaired: bool
    text: str

    def __str__(self) -> str:
        return self.text


class VerifyReport(Report):
    """The result of `verify`: the objects and bytes read, and `problems`, empty if all is well."""

    objects: int
    byte_size: int
    problems: Sequence[Problem]


class Verifying(PresentLake):
    """The call `verify`."""

    def verify(
        self,
        sample: float = 1.0,
        *,
        repair: bool = False,
        progress: Progress | None = None,
    ) -> VerifyReport:
        """Read objects again, compare them with their hashes, and check every reference.

        `sample`: the share of objects to read, above 0 and up to 1, chosen at random. All
        references are always checked. `repair`: restore a damaged content from another file in the
        storage with the same hash, drop unreferenced rows, and correct counts. Entries never
        change. If there is no such file, store the value again, under any key, to repair the
        content. `progress` is called with the number of objects read, and None as the total.

        Writers, compaction and collection can run meanwhile. Contents that they move are looked up
        again. Raises ValidationError if `sample` is out of range, and ReadOnlyError for `repair` in
        a read-only lake.
        """
        if isinstance(sample, bool) or not isinstance(sample, (int, float)) or not 0 < sample <= 1:
            raise ValidationError(f"sample must be above 0 and at most 1, got {sample!r}")
        if check_flag("repair", repair):
            self._must_write("verify(repair=True)")
        problems = [*self._check_references(repair), *self._check_segments(repair)]
        objects = byte_size = 0
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_READERS) as readers:
            for rows in self._sampled(sample):
                for row, error in self._check_objects(rows, readers):
                    objects, byte_size = objects + 1, byte_size + row.byte_size
                    if error is not None:
                        problems.extend(self._judge(row, error, repair))
                if progress:
                    progress(objects, None)
        return VerifyReport(objects=objects, byte_size=byte_size, problems=problems)

    def _sampled(self, sample: float) -> Iterator[list[ObjectRow]]:
        import random

        after = 0
        while rows := self._catalog.objects(after, _PAGE):
            after = rows[-1].id
            yield [row for row in rows if sample == 1 or random.random() < sample]  # noqa: S311

    def _check_objects(
        self, rows: Sequence[ObjectRow], readers: ThreadPoolExecutor
    ) -> Iterator[tuple[ObjectRow, str | None]]:
        """Yield each object with its error, or None. Several files are read at once."""
        packs = defaultdict[str, list[ObjectRow]](list)
        single: list[ObjectRow] = []
        for row in rows:
            if row.uri is not None and row.position is not None:
                packs[row.uri].append(row)
            else:
                single.append(row)
        some = [single[start : start + _AT_ONCE] for start in range(0, len(single), _AT_ONCE)]
        for checked, errors in zip(some, readers.map(self._check_some, some), strict=True):
            yield from zip(checked, errors, strict=True)
        for uri, packed in packs.items():
            yield from self._check_pack(uri, packed)

    def _check_some(self, rows: Sequence[ObjectRow]) -> list[str | None]:
        return [self._check_single(row) for row in rows]

    def _check_single(self, row: ObjectRow) -> str | None:
        try:
            data = row.inline_value
            if data is None:
                data = self._read_place(row.uri, row.position)
        except FileNotFoundError:
            return "missing"
        except CorruptionError as error:
            return str(error)
        return _check_bytes(row, data)

    def _check_pack(
        self, uri: str, rows: Sequence[ObjectRow]
    ) -> Iterator[tuple[ObjectRow, str | None]]:
        assert self._objects is not None
        places = defaultdict[Position, list[ObjectRow]](list)
        for row in rows:
            try:
                places[Position.parse(row.position or "")].append(row)
            except CorruptionError as error:
                yield row, str(error)
        for _, place, data in read_values(self._objects, {uri: places}):
            for row in places[place]:
                if isinstance(data, bytes):
                    yield row, _check_bytes(row, data)
                elif isinstance(data, FileNotFoundError):
                    yield row, "missing"
                elif isinstance(data, CorruptionError):
                    yield row, str(data)
                else:
                    raise data

    def _judge(self, row: ObjectRow, error: str, repair: bool) -> Iterator[Problem]:
        """Return a problem, unless the object has moved or gone since it was read."""
        place = self._catalog.locate((row.content_hash, row.format))
        if place is None:
            return
        if tuple(place) != tuple(row[4:]):
            row = ObjectRow(*row[:4], *place)
            found = self._check_single(row)
            if found is None:
                return
            error = found
        self._witness.missed((row.content_hash, row.format))
        keys, snapshots, who = self._named(row.id)
        content_hash = f"sha256:{row.content_hash.hex()}"
        uri = None if row.uri is None or self._objects is None else self._objects.uri(row.uri)
        missing = error == "missing"
        repaired = repair and self._repair(row)
        yield Problem(
            kind="missing" if missing else "damaged",
            entry_keys=keys,
            snapshots=snapshots,
            content_hash=content_hash,
            uri=uri,
            repaired=repaired,
            text=(
                f"{who}content {content_hash} "
                + ("is missing" if missing else f"is damaged: {error}")
                + (f" ({uri or 'in the catalog'})")
                + (": repaired" if repaired else "")
            ),
        )

    def _named(self, object_id: int) -> tuple[list[str], list[str], str]:
        """Return the current keys of an object, the snapshots that have it, and a text on both.

        The text also has the keys of earlier versions.
        """
        names = self._catalog.names(object_id)
        keys = [name.key for name in names if name.end_version is None]
        earlier = sorted({name.key for name in names} - set(keys))
        snapshots = self._seen_by(names)
        named = (("key", keys), ("earlier value of key", earlier), ("snapshot", snapshots))
        return keys, snapshots, "".join(_shown(word, some) for word, some in named)

    def _seen_by(self, names: Iterable[Naming]) -> list[str]:
        names = list(names)
        return [
            snapshot.name
            for snapshot in self._catalog.snapshots()
            if any(
                name.version <= snapshot.version
                and (name.end_version is None or snapshot.version < name.end_version)
                for name in names
            )
        ]

    def _repair(self, row: ObjectRow) -> bool:
        """Write the content again from another file with the same hash, such as one in the
        trash."""
        if self._objects is None:
            return False
        digits = row.content_hash.hex()
        for file in self._objects.list(f"objects/{digits[:2]}"):
            if file.path == row.uri or not file.path.startswith(f"objects/{digits[:2]}/{digits}-"):
                continue
            try:
                data = self._objects.read(file.path)
            except (FileNotFoundError, CorruptionError):
                continue
            if digest(data) == row.content_hash:
                path = object_path(row.content_hash, row.format)
                self._catalog.lease([path], LEASE_SECONDS)
                self._objects.write(path, data)
                place = Place(row.inline_value, row.uri, row.position)
                upload = Upload(path, len(data))
                return self._catalog.replace((row.content_hash, row.format), place, upload)
        return False

    def _check_segments(self, repair: bool) -> Iterator[Problem]:
        for row, error, repaired in self._searcher().check(repair=repair):
            content_hash = f"sha256:{(row.content_hash or b'').hex()}"
            uri = self.full_uri(row.uri, None)
            missing = error == "missing"
            yield Problem(
                kind="missing" if missing else "damaged",
                entry_keys=[],
                snapshots=[],
                content_hash=content_hash,
                uri=uri,
                repaired=repaired,
                text=f"the search index's segment {row.id} "
                + (f"is missing ({uri})" if missing else f"is damaged: {error}")
                + (": repaired" if repaired else ": the next search builds it anew"),
            )

    def _check_references(self, repair: bool) -> Iterator[Problem]:
        for broken in self._catalog.check_references():
            kind, key, uri, number = broken
            repaired = repair and self._catalog.mend(broken)
            keys, snapshots, who = [] if key is None else [key], list[str](), ""
            if kind == "no object" and number is not None:
                keys, snapshots, who = self._named(number)
            yield Problem(
                kind=kind,
                entry_keys=keys,
                snapshots=snapshots,
                content_hash=None,
                uri=uri if uri is None or self._objects is None else self._objects.uri(uri),
                repaired=repaired,
                text=f"{who}{kind}: {uri or number}" + (": repaired" if repaired else ""),
            )


def _check_bytes(row: ObjectRow, data: bytes) -> str | None:
    if digest(data) == row.content_hash:
        if len(data) == row.byte_size:
            return None
        return f"it takes {len(data)} bytes, the catalog says {row.byte_size}"
    return f"{len(data)} bytes with another hash, {row.byte_size} were stored"


def _shown(word: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(repr(name) for name in islice(names, 5))
    return f"{word} {shown}{', …' if len(names) > 5 else ''}: "
