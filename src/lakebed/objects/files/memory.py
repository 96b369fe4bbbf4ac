"""Files in the memory of this process, for tests and temporary files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from lakebed.clock import system_clock
from lakebed.errors import ConfigurationError, ConflictError, LakebedError
from lakebed.objects.files.rules import expired, only_expiry
from lakebed.objects.files.store import (
    Condition,
    FileRow,
    Headers,
    Method,
    Page,
    Rule,
    Signed,
    page_of,
)


class _File(NamedTuple):
    row: FileRow
    data: bytes


class MemoryFiles:
    """Files in a dictionary. Threads share it. A forked child has its own copy."""

    def __init__(self) -> None:
        self.name = "memory"
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._rules: list[Rule] = []
        self._written = 0

    def put(self, path: str, data: bytes, headers: Headers, condition: Condition) -> FileRow:
        digest = sha256(data).digest()
        with self._lock:
            old = self._files.get(path)
            if condition.if_absent and old is not None:
                raise condition.refused(path)
            if condition.if_match is not None and (
                old is None or old.row.etag != condition.if_match
            ):
                raise condition.refused(path)
            self._written += 1
            row = FileRow(
                path,
                len(data),
                f"{digest[:8].hex()}-{self._written}",
                system_clock(),
                headers.content_type,
                dict(headers.metadata),
                checksum=("sha256", digest),
            )
            self._files[path] = _File(row, data)
        return row

    def begin(
        self, path: str, size: int | None, part_size: int, headers: Headers, condition: Condition
    ) -> MemoryUpload:
        del size, part_size
        return MemoryUpload(self, path, headers, condition)

    def _file(self, path: str) -> _File:
        with self._lock:
            file = self._files.get(path)
        if file is None:
            raise FileNotFoundError(path)
        return file

    def stat(self, path: str) -> FileRow:
        return self._file(path).row

    def whole(self, path: str) -> tuple[FileRow, bytes]:
        return self._file(path)

    def range(self, path: str, start: int, end: int, etag: str) -> bytes:
        row, data = self._file(path)
        if row.etag != etag:
            raise ConflictError(f"the file at {path!r} was replaced while it was read")
        return data[start:end]

    def remove(self, path: str) -> bool:
        with self._lock:
            return self._files.pop(path, None) is not None

    def remove_each(self, paths: Sequence[str]) -> dict[str, LakebedError]:
        for path in paths:
            self.remove(path)
        return {}

    def page(self, prefix: str, delimiter: str | None, after: str, limit: int) -> Page:
        with self._lock:
            rows = [file.row for file in self._files.values()]
        rows.sort(key=lambda row: row.path.encode())
        return page_of(rows, prefix, delimiter, after, limit)

    def copy(self, source: str, target: str) -> FileRow:
        row, data = self._file(source)
        headers = Headers(row.content_type or "", row.metadata)
        return self.put(target, data, headers, Condition())

    def move(self, source: str, target: str) -> FileRow:
        with self._lock:
            row, data = self._files.get(source) or (None, b"")
            if row is None:
                raise FileNotFoundError(source)
            row = row._replace(path=target)
            self._files[target] = _File(row, data)
            del self._files[source]
        return row

    def sign_for(self, path: str, seconds: int, method: Method) -> Signed:
        del path, seconds, method
        raise ConfigurationError("presign needs a bucket: files in memory have no URL")

    def rules(self) -> list[Rule]:
        return self._rules

    def set_rules(self, rules: Sequence[Rule]) -> None:
        self._rules = only_expiry(rules, "files in memory")

    def abandon(self, before: int) -> int:
        del before
        return 0

    def expire(self, now: int) -> int:
        with self._lock:
            rows = [file.row for file in self._files.values()]
            old = expired(rows, self._rules, now)
            for path in old:
                del self._files[path]
        return len(old)

    def close(self) -> None:
        """Forget the files."""
        with self._lock:
            self._files.clear()


class MemoryUpload:
    """An upload whose parts wait in memory."""

    width = 4

    def __init__(
        self, store: MemoryFiles, path: str, headers: Headers, condition: Condition
    ) -> None:
        self._store, self._path = store, path
        self._headers, self._condition = headers, condition
        self._parts: dict[int, bytes] = {}

    def send(self, number: int, data: bytes) -> None:
        self._parts[number] = data

    def complete(self) -> FileRow:
        data = b"".join(data for _, data in sorted(self._parts.items()))
        return self._store.put(self._path, data, self._headers, self._condition)

    def abort(self) -> None:
        self._parts.clear()
