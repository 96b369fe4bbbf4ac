"""The place of backups: its points, its files, and the runs that work there.

    lakebed-backup.json        the id of the lake
    objects/, packs/           contents, as in the storage of a lake
    points/<id>/               the names of one moment; valid once it has point.json
    runs/<what>-<id>.json      the mark of a backup or prune that has not ended

A backup and a prune can run at once without a lock. Each first writes its mark under `runs`, and
then looks for the other's mark. So at least one of them sees the other (docs/design/backup.md).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from lakebed.errors import ConfigurationError, ConflictError, CorruptionError, NotFoundError
from lakebed.lake.backup.manifest import FILES, MANIFEST, Manifest
from lakebed.lake.lake import Lake
from lakebed.objects.names import hash_of, upload_of
from lakebed.objects.opening import open_store, parse_place
from lakebed.objects.store import ObjectStore, StoredFile

_MARK = "lakebed-backup.json"
_CONTENT = re.compile(
    r"objects/[0-9a-f]{2}/[0-9a-f]{64}-[0-9a-f]{16}\.(json|bin|parquet)|packs/[0-9a-f]{32}\.parquet"
)
_POINT = re.compile(r"points/(\d{8}T\d{6}Z-[0-9a-f]{8})/[a-z]+\.(?:sqlite|parquet|json)")
_RUN = re.compile(r"runs/(backup|prune|left)-([0-9a-f]{16})\.json")
_LAPSE = 86_400_000_000  # microseconds without a renewal after which a run counts as dead
_RENEW = 3600.0  # seconds between two renewals
_PIECE = 8 << 20

Kind = Literal["backup", "prune"]


class BackupPlace:
    """A folder, or a prefix of a bucket, that holds the backups of one lake."""

    def __init__(self, uri: str, options: Mapping[str, object]) -> None:
        self._uri = uri
        self._options = options
        self.store = open_store(uri, options)
        self.name = self.store.uri("").rstrip("/")

    def another_store(self) -> ObjectStore:
        """Open the same storage again, for a lake that will close it."""
        return open_store(self._uri, self._options)

    def prepare(self, lake: Lake) -> None:
        """Prepare an empty place, or one that has backups of the same lake.

        Raises ConflictError, and writes nothing, if the place holds anything else.
        """
        owner = self.owner()
        if owner is None:
            for file in self.store.list(""):
                if upload_of(file.path) == _MARK:  # a backup was killed while it began
                    continue
                raise ConflictError(
                    f"{self.name} holds {file.path!r}, which is not a backup: name an empty place"
                )
            with self.store.open_write(_MARK) as file_:
                file_.write(json.dumps({"format": 1, "lake_id": lake._lake_id}).encode())
        elif owner != lake._lake_id:
            raise ConflictError(
                f"{self.name} holds the backups of another lake: name another place. A lake that "
                "was restored is a new one"
            )

    def owner(self) -> str | None:
        """Return the id of the lake whose backups are here, or None if there are none."""
        try:
            data = self.store.read(_MARK)
        except FileNotFoundError:
            return None
        try:
            return str(json.loads(data)["lake_id"])
        except (ValueError, TypeError, KeyError):
            raise CorruptionError(f"{self.store.uri(_MARK)} is damaged") from None

    def points(self) -> list[Manifest]:
        """Return the points, oldest first. Raises NotFoundError if there are no backups here."""
        if self.owner() is None:
            raise NotFoundError(f"{self.name} holds no backups")
        paths = [file.path for file in self.store.list("points") if _POINT.fullmatch(file.path)]
        found = list[Manifest]()
        for path in paths:
            if path.endswith(f"/{MANIFEST}"):
                try:
                    data = self.store.read(path)
                except FileNotFoundError:  # the point was pruned since it was listed
                    continue
                found.append(Manifest.read(data, self.store.uri(path)))
        return sorted(found, key=lambda point: (point.number, point.created_at, point.id))

    def contents(self) -> dict[str, StoredFile]:
        """Return the files of contents, by path.

        The path of a file that a killed writer left contains its final path.
        """
        return {
            file.path: file
            for folder in ("objects", "packs")
            for file in self.store.list(folder)
            if _CONTENT.fullmatch(upload_of(file.path))
        }

    def files_of(self, point: Manifest) -> dict[str, int]:
        """Return the files of contents that a point needs, and their sizes."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = f"points/{point.id}/{FILES}"
        try:
            data = self.store.read(path)
            table = pq.read_table(pa.BufferReader(data))
            return dict(zip(table["path"].to_pylist(), table["byte_size"].to_pylist(), strict=True))
        except (FileNotFoundError, pa.ArrowException, OSError, KeyError) as error:
            raise CorruptionError(
                f"{self.store.uri(path)} is missing or damaged: {error}"
            ) from None

    def is_whole(self, file: StoredFile) -> bool:
        """Return whether an object has the hash in its name."""
        found = sha256()
        for offset in range(0, file.byte_size, _PIECE):
            found.update(self.store.read(file.path, offset, _PIECE))
        return found.digest() == hash_of(file.path)

    def put(self, path: str, source: BinaryIO) -> None:
        """Write a file."""
        with self.store.open_write(path) as sink:
            shutil.copyfileobj(source, sink, _PIECE)

    def fetch(self, point: Manifest, name: str, target: Path) -> None:
        """Copy a file of a point to a local path. Raises CorruptionError if it has changed."""
        path = f"points/{point.id}/{name}"
        try:
            size = self.store.size(path)
            with target.open("w+b") as file:
                file.writelines(
                    self.store.read(path, offset, min(_PIECE, size - offset))
                    for offset in range(0, size, _PIECE)
                )
                file.seek(0)
                whole = file_digest(file, "sha256").hexdigest() == point.files.get(name)
        except FileNotFoundError:
            whole = False
        if not whole:
            raise CorruptionError(f"{self.store.uri(path)} is missing or damaged")

    def remove_points(self, ids: Collection[str]) -> None:
        """Delete points, the manifest of each one first."""
        self.store.delete(f"points/{point_id}/{MANIFEST}" for point_id in ids)
        files = self._point_files() if ids else {}
        for point_id in ids:
            self.store.delete(files.get(point_id, ()))

    def unfinished(self) -> dict[str, list[str]]:
        """Return the files of unfinished points, by the id of the point."""
        return {
            point_id: files
            for point_id, files in self._point_files().items()
            if not any(path.endswith(f"/{MANIFEST}") for path in files)
        }

    def _point_files(self) -> dict[str, list[str]]:
        found = dict[str, list[str]]()
        for file in self.store.list("points"):
            if named := _POINT.fullmatch(upload_of(file.path)):
                found.setdefault(named[1], []).append(file.path)
        return found

    @contextmanager
    def at_work(self, kind: Kind) -> Iterator[Run]:
        """Keep a mark of this run during the block, so that other runs see it.

        If a backup fails or is killed, its mark stays, so that the next backup can use the files
        that it wrote.
        """
        run = Run(self.store, kind, os.urandom(8).hex())
        run.renew()
        try:
            yield run
        except BaseException:
            if kind == "prune":
                run.end()
            raise
        run.end()

    def close(self) -> None:
        """Close the storage."""
        self.store.close()


class Others(NamedTuple):
    """The ids of other runs that have not ended.

    `dead`: the runs of either kind that have not renewed their mark for a day. `left`: backups that
    a prune has found dead.
    """

    backups: set[str]
    prunes: set[str]
    dead: set[str]
    left: set[str]

    def alive(self, kind: Kind) -> bool:
        """Return whether there are runs of this kind that are not dead."""
        return bool((self.backups if kind == "backup" else self.prunes) - self.dead)


class Run:
    """A running backup or prune."""

    def __init__(self, store: ObjectStore, kind: Kind, run_id: str) -> None:
        self._store = store
        self._path = f"runs/{kind}-{run_id}.json"
        self._renewed = 0.0
        self.id = run_id

    def renew(self) -> None:
        """Renew the mark, if the last renewal is an hour old."""
        if self._renewed and time.monotonic() - self._renewed < _RENEW:
            return
        self._renewed = time.monotonic()
        with self._store.open_write(self._path) as file:
            file.write(b"{}")

    def others(self) -> Others:
        """Look for other runs."""
        files = {file.path: file for file in self._store.list("runs")}
        if self._path not in files:
            raise self.lost()
        now = files.pop(self._path).modified  # the times of all marks are by the storage's clock
        found = Others(set(), set(), set(), set())
        kinds = {"backup": found.backups, "prune": found.prunes, "left": found.left}
        for path, file in files.items():
            if named := _RUN.fullmatch(path):
                kinds[named[1]].add(named[2])
                if named[1] != "left" and now - file.modified >= _LAPSE:
                    found.dead.add(named[2])
        return found

    def put_aside(self, others: Others) -> None:
        """Move the marks of dead backups aside, and remove those of dead prunes.

        The next backup drops the snapshot that a dead one left in the lake. A prune has no lake.
        """
        for run in others.dead & others.backups:
            with self._store.open_write(f"runs/left-{run}.json") as file:
                file.write(b"{}")
        self._remove(others.dead, ("backup", "prune"))

    def forget(self, others: Others) -> None:
        """Remove the marks of dead runs, once their snapshots are gone from the lake."""
        self._remove(others.dead | others.left, ("backup", "prune", "left"))

    def _remove(self, runs: set[str], kinds: Collection[str]) -> None:
        self._store.delete(f"runs/{kind}-{run}.json" for run in runs for kind in kinds)

    def is_alive(self) -> bool:
        """Return whether no other run has declared this one dead."""
        try:
            self._store.size(self._path)
        except FileNotFoundError:
            return False
        return True

    def lost(self) -> ConflictError:
        """Return the error for a run that was declared dead."""
        return ConflictError(
            f"this run gave no sign of life for a day, and was taken for dead ({self._path} is "
            "gone): run it again"
        )

    def end(self) -> None:
        """Remove the mark."""
        self._store.delete([self._path])


def open_place(destination: object, options: Callable[[str], Mapping[str, object]]) -> BackupPlace:
    """Open a place of backups.

    `options`: returns the options of a filesystem for a URI. They are used unless the destination
    has its own.
    """
    uri, given = parse_place("destination", destination)
    return BackupPlace(uri, given or options(uri))


def keep_apart(place: BackupPlace, lake: Lake) -> None:
    """Raise ConfigurationError if a place overlaps the storage of a lake."""
    own = lake._objects
    if own is not None and own.site().overlaps(place.store.site()):
        raise ConfigurationError(
            f"destination {place.name} and the lake's storage {own.uri('')} overlap: backups need "
            "a place of their own"
        )


def new_point_id(now: int) -> str:
    """Return a name for the point of a moment, which is given in microseconds."""
    when = datetime.fromtimestamp(now // 1_000_000, UTC)
    return f"{when:%Y%m%dT%H%M%SZ}-{os.urandom(4).hex()}"
