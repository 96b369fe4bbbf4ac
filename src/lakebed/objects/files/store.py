"""The interface between `lakebed.files` and the stores that keep the files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from lakebed.errors import ConflictError, LakebedError

Method = Literal["GET", "PUT"]
"""What a presigned URL allows."""


class Headers(NamedTuple):
    """The headers of a file: its content type and its metadata."""

    content_type: str
    metadata: Mapping[str, str] = {}


class Condition(NamedTuple):
    """The condition of a write: none, that there is no file, or that the file has this etag."""

    if_absent: bool = False
    if_match: str | None = None

    @property
    def given(self) -> bool:
        """Whether there is a condition."""
        return self.if_absent or self.if_match is not None

    def refused(self, path: str) -> ConflictError:
        """Return the error of a write whose condition does not hold."""
        if self.if_absent:
            return ConflictError(f"a file exists at {path!r}")
        return ConflictError(f"the file at {path!r} does not have the etag {self.if_match!r}")


class FileRow(NamedTuple):
    """A file. `modified` and `restored_until` are in microseconds since the epoch.

    `checksum` is an algorithm (`crc32`, `md5` or `sha256`) and the digest of all bytes, or None if
    unknown. In a listing, fields that the service does not list have their defaults.
    """

    path: str
    byte_size: int
    etag: str
    modified: int
    content_type: str | None = None
    metadata: Mapping[str, str] = {}
    storage_class: str | None = None
    archived: bool = False
    restore: Literal["ongoing", "restored"] | None = None
    restored_until: int | None = None
    encryption: str | None = None
    kms_key_id: str | None = None
    rule: str | None = None
    checksum: tuple[str, bytes] | None = None


class Page(NamedTuple):
    """A part of a listing, in the order of the paths: files, and prefixes that stand for files.
    `more`: whether the listing continues."""

    items: Sequence[FileRow | str]
    more: bool


class Transition(NamedTuple):
    """A move of files to a storage class, once they are this many days old."""

    days: int
    storage_class: str


class Rule(NamedTuple):
    """What happens to old files under a prefix. `expire_days`: they are deleted at this age in
    days. `abort_days`: uploads that are not completed are aborted this many days after they began.
    """

    id: str
    prefix: str
    expire_days: int | None = None
    transitions: tuple[Transition, ...] = ()
    abort_days: int | None = None
    enabled: bool = True


class Signed(NamedTuple):
    """A URL, and the headers that a request to it must have."""

    url: str
    headers: Mapping[str, str] = {}


class PartedUpload(Protocol):
    """An upload in parts. Nothing is visible before `complete`.

    Parts are numbered from 0. All but the last have the same size. `width`: the number of parts
    that may be sent at a time, from any threads. If it is 1, they must be sent in order.
    """

    width: int

    def send(self, number: int, data: bytes) -> None: ...

    def complete(self) -> FileRow: ...

    def abort(self) -> None: ...


class FileStore(Protocol):
    """Files under one root. Their paths were checked by `lakebed.files.checks`.

    Methods raise FileNotFoundError for a missing file; ConflictError for a condition that does not
    hold; StorageError, ConnectError or RateLimitedError if the service fails; and
    ConfigurationError for what the store cannot do.
    """

    @property
    def name(self) -> str:
        """The name of the store in errors and results, without secrets."""
        ...

    def put(self, path: str, data: bytes, headers: Headers, condition: Condition) -> FileRow: ...

    def begin(
        self, path: str, size: int | None, part_size: int, headers: Headers, condition: Condition
    ) -> PartedUpload: ...

    def stat(self, path: str) -> FileRow: ...

    def whole(self, path: str) -> tuple[FileRow, bytes]: ...

    def range(self, path: str, start: int, end: int, etag: str) -> bytes:
        """Read the bytes from `start` to before `end`. Raises ConflictError if the file no longer
        has this etag."""
        ...

    def remove(self, path: str) -> bool:
        """Delete a file. Returns whether it existed."""
        ...

    def remove_each(self, paths: Sequence[str]) -> dict[str, LakebedError]:
        """Delete files. A missing file is not an error. Returns the errors by path."""
        ...

    def page(self, prefix: str, delimiter: str | None, after: str, limit: int) -> Page: ...

    def copy(self, source: str, target: str) -> FileRow: ...

    def move(self, source: str, target: str) -> FileRow: ...

    def sign_for(self, path: str, seconds: int, method: Method) -> Signed: ...

    def rules(self) -> list[Rule]: ...

    def set_rules(self, rules: Sequence[Rule]) -> None: ...

    def abandon(self, before: int) -> int:
        """Abort uploads that began before a time (microseconds since the epoch). Returns their
        number."""
        ...

    def expire(self, now: int) -> int:
        """Delete the files that the rules expire, if no service does so by itself. Returns their
        number. `now`: microseconds since the epoch."""
        ...

    def close(self) -> None: ...


def page_of(
    rows: Iterable[FileRow | str], prefix: str, delimiter: str | None, after: str, limit: int
) -> Page:
    """Return a page of rows that are sorted by path. Rows whose paths agree up to a delimiter
    become one prefix."""
    items: list[FileRow | str] = []
    for item in _folded(rows, prefix, delimiter):
        if not is_after(item if isinstance(item, str) else item.path, after):
            continue
        if len(items) == limit:
            return Page(items, more=True)
        items.append(item)
    return Page(items, more=False)


def is_after(path: str, after: str) -> bool:
    """Return whether a path comes after another, by the bytes of their UTF-8."""
    return path.encode() > after.encode()


def _folded(
    rows: Iterable[FileRow | str], prefix: str, delimiter: str | None
) -> Iterator[FileRow | str]:
    last = None
    for row in rows:
        path = row if isinstance(row, str) else row.path
        if not path.startswith(prefix):
            continue
        head, found, _ = path[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        if not found:
            yield row
        elif (folder := f"{prefix}{head}{delimiter}") != last:
            last = folder
            yield folder


def rule_for(rules: Sequence[Rule], path: str) -> Rule | None:
    """Return the rule that applies to a path, or None. Of the enabled rules, it is the one that
    deletes first, and among equals the one with the longest prefix."""
    found = [rule for rule in rules if rule.enabled and path.startswith(rule.prefix)]
    if not found:
        return None
    return min(
        found,
        key=lambda rule: (
            rule.expire_days is None,
            rule.expire_days or 0,
            -len(rule.prefix),
            rule.id,
        ),
    )
