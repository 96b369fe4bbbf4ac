"""The file that holds a client's copy of the catalog. Each process has its own.

Each log has a folder with numbered files. A process locks the first free file, so no other process
reads or writes it. That way, no other process sees a commit whose put is not settled. A process
that closes its lake notes what its file holds, and the next process continues from there. If a
process was killed, its file has no note and is filled again from the start.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from lakebed.catalog.log.image import Image
from lakebed.errors import StorageError

if sys.platform != "win32":  # on Windows, each process makes a file and deletes it
    import fcntl


_NEW = "-new"  # the end of the name of a file that is being filled


class Position(NamedTuple):
    """The last commit that a file holds: its number and its token."""

    n: int = 0
    token: str = ""


class CacheFile:
    """This process's own file. `position`: the last commit that an earlier process left in it."""

    def __init__(self, path: Path, lock: int | None) -> None:
        self._path = path
        self._lock = lock
        self.path = str(path)
        self.position = self._take_note()

    def _take_note(self) -> Position:
        note = self._path.with_suffix(".json")
        try:
            found = json.loads(note.read_text())
            position = Position(int(found["n"]), str(found["token"]))
            note.unlink()  # before the file changes
        except (OSError, ValueError, KeyError, TypeError):
            position = Position()
        if not (position.n and self._path.exists()) or self._has_log():
            self.begin_anew()
            return Position()
        return position

    def _has_log(self) -> bool:
        return any(Path(f"{self.path}{end}").exists() for end in ("-wal", "-shm"))

    def begin_anew(self) -> None:
        """Delete what the file holds. No connection to it may be open."""
        for end in ("", "-wal", "-shm", _NEW):
            Path(self.path + end).unlink(missing_ok=True)

    @contextmanager
    def filling(self, page_bytes: int) -> Iterator[Image]:
        """Open a new database to fill. It replaces the file if the block ends without an error.

        No connection to the file may be open. Raises StorageError if the database cannot be
        written, for example because the disk is full.
        """
        new = Path(self.path + _NEW)
        try:
            with new.open("wb+") as file:
                image = Image(file, page_bytes)
                yield image
                image.write()
            new.replace(self._path)
        except OSError as error:
            raise StorageError(
                f"cannot write a copy of the catalog to {self.path}: {error.strerror}"
            ) from error

    def release(self, position: Position | None) -> None:
        """Leave the file to the next process, with a note of its position.

        Without a position there is no note, and the next process fills the file again. No
        connection to the file may be open.
        """
        try:
            if position is None or not position.n or self._lock is None or self._has_log():
                self.begin_anew()
                return
            with self._path.open("rb+") as file:
                os.fsync(file.fileno())
            self._path.with_suffix(".json").write_text(json.dumps(position._asdict()))
        except OSError:  # a full disk, or a folder that somebody has deleted
            with suppress(OSError):
                self.begin_anew()
        finally:
            self.leave()

    def leave(self) -> None:
        """Close this process's handle of the lock. After a fork, the parent still holds the
        lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def open_cache(folder: str, place: str) -> CacheFile:
    """Open a file for the log at `place`.

    It is in `folder`, or in the system's folder for temporary files if `folder` cannot be written.
    Raises StorageError if neither can be written.
    """
    name = sha256(place.encode()).hexdigest()[:24]
    user = os.getuid() if hasattr(os, "getuid") else 0
    fallback = Path(tempfile.gettempdir()) / f"lakebed-{user}"
    for base in (Path(folder), fallback):
        try:
            return _first_free(base / "logs" / name)
        except OSError as error:
            problem = error
    raise StorageError(
        f"cannot keep a copy of the catalog in {folder} or {fallback}: {problem.strerror}; name a "
        "folder with cache="
    )


def _first_free(folder: Path) -> CacheFile:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform == "win32":
        handle, path = tempfile.mkstemp(".db", dir=folder)
        os.close(handle)
        return CacheFile(Path(path), None)
    number = 0
    while True:
        lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if not isinstance(error, BlockingIOError):
                raise
            number += 1
            continue
        return CacheFile(folder / f"{number}.db", lock)
