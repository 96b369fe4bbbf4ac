"""The file that holds a client's copy of the catalog. Each process has its own.

Each log has a folder with numbered files. A process locks the first free one. So nobody else reads
or writes it, and no other process sees a commit whose put is not settled. A process that closes its
lake notes what its file holds, and the next process continues from there. A file without a note,
from a process that was killed, is filled again from the start.
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

if sys.platform != "win32":  # there, every process has a file that it deletes
    import fcntl


_NEW = "-new"  # the end of the name of a file that is being filled


class Position(NamedTuple):
    """The commit up to which a file has come, and the token of that commit."""

    n: int = 0
    token: str = ""


class CacheFile:
    """This process's own file. `position`: what it holds from an earlier process."""

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
            note.unlink()  # before anything changes
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
        """Open a database to write. It replaces the file's if the block ends without an error. No
        connection may be open.

        Raises StorageError if there is no space for it.
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
        """Leave the file to the next process, with a note of what it holds. Without a note, the
        file will be filled again. No connection to it may be open."""
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
        """Give up the lock. In a forked child, it still belongs to the parent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def open_cache(folder: str, place: str) -> CacheFile:
    """Open a file for the log at `place`, in a folder for caches, or if that cannot be written, in
    the system's folder for temporary files."""
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
