"""The files of a JSON folder, one for each entry. A write changes all of its files or none, and
locks the folder against other processes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote

from lakebed.errors import ConfigurationError, CorruptionError, StorageError

_MARK = ".lakebed-json"
_JOURNAL = ".journal.json"
_PLAIN = " ,;@=+()'&!~#$[]{}^`"  # characters allowed in names, besides letters, digits, _ . -
_LONGEST = 150  # the most characters of a file's name; the file itself has the whole key


class Stamp(NamedTuple):
    """The size and times of a file. If one of them differs, the file has changed."""

    mtime: int
    size: int
    inode: int


class Files:
    """The files under a folder. Make every call inside `locked`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._threads = threading.RLock()
        self._depth = 0
        try:
            names = {path.name for path in folder.iterdir()} if folder.exists() else set()
            if names and _MARK not in names:
                raise ConfigurationError(
                    f"{folder} holds other files ({min(names)!r}, …) and no sessions: name an "
                    "empty or a new folder"
                )
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / _MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"cannot open the folder {folder}: {error.strerror}") from error

    def close(self) -> None:
        """Close the lock's file."""
        with self._threads:
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude all other threads and processes. First finish the write of a killed process."""
        with self._threads:
            if self._lock < 0:
                raise StorageError(f"the folder {self.folder} is closed")
            self._depth += 1
            try:
                if self._depth == 1:
                    fcntl.flock(self._lock, fcntl.LOCK_EX)
                    self._finish()
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    fcntl.flock(self._lock, fcntl.LOCK_UN)

    def generation(self) -> int:
        """Return a number that each write increases."""
        return int(os.pread(self._lock, 32, 0) or b"0")

    def path_of(self, key: str) -> str:
        """Return the name of an entry's file, relative to the folder. No key can lead outside."""
        return "/".join(map(_part, key.split("/"))) + ".json"

    def scan(self) -> dict[str, Stamp]:
        """Return all files with their stamps."""
        found = dict[str, Stamp]()
        waiting = [""]
        while waiting:
            at = waiting.pop()
            with os.scandir(self.folder / at) as items:
                for item in items:
                    name = f"{at}{item.name}"
                    if item.name.startswith("."):
                        continue
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(f"{name}/")
                    elif name.endswith(".json") and item.is_file(follow_symlinks=False):
                        stat = item.stat(follow_symlinks=False)
                        found[name] = Stamp(stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return found

    def stamp(self, path: str) -> Stamp | None:
        """Return the stamp of a file, or None if it does not exist."""
        try:
            stat = os.lstat(self.folder / path)
        except FileNotFoundError:
            return None
        return Stamp(stat.st_mtime_ns, stat.st_size, stat.st_ino)

    def read(self, path: str) -> Any:
        """Return the JSON in a file. Raises CorruptionError if it is not JSON."""
        data = (self.folder / path).read_bytes()
        try:
            return json.loads(data, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise CorruptionError(f"{self.folder / path} is not JSON: {error}") from None

    def write(self, changes: Mapping[str, Any]) -> None:
        """Write files by their paths, all or none. A file whose content is None is deleted."""
        texts = {path: None if told is None else _text(told) for path, told in changes.items()}
        try:
            if len(texts) > 1:
                self._replace(_JOURNAL, json.dumps(texts, ensure_ascii=False))
            self._apply(texts)
            if len(texts) > 1:
                (self.folder / _JOURNAL).unlink()
            os.pwrite(self._lock, f"{self.generation() + 1:<20}".encode(), 0)
        except OSError as error:
            raise StorageError(f"{error.filename}: {error.strerror}") from error

    def _finish(self) -> None:
        """Finish the write of a process that was killed."""
        journal = self.folder / _JOURNAL
        if journal.exists():
            self._apply(json.loads(journal.read_text(encoding="utf-8")))
            journal.unlink()
            os.pwrite(self._lock, f"{self.generation() + 1:<20}".encode(), 0)

    def _apply(self, texts: Mapping[str, str | None]) -> None:
        for path, text in texts.items():
            if text is None:
                (self.folder / path).unlink(missing_ok=True)
                self._tidy(path)
            else:
                self._replace(path, text)

    def _tidy(self, path: str) -> None:
        """Remove the folders that become empty when a file is deleted."""
        for folder in list(Path(path).parents)[:-1]:
            try:
                (self.folder / folder).rmdir()
            except OSError:  # it is not empty
                return

    def _replace(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name[:100]}.new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(target)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _part(part: str) -> str:
    """Return a part of a key as the name of a file or folder."""
    safe = quote(part, safe=_PLAIN)
    if safe.startswith("."):
        safe = f"%2E{safe[1:]}"
    if len(safe) > _LONGEST or not safe:
        digest = hashlib.sha256(part.encode()).hexdigest()[:16]
        safe = f"{safe[:100].rstrip('%')}~{digest}"
    return safe


def _text(told: Any) -> str:
    return json.dumps(told, ensure_ascii=False, indent=2) + "\n"
