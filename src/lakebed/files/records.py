"""What the calls of `Files` return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from mimetypes import guess_type

from lakebed.clock import from_micros
from lakebed.errors import LakebedError
from lakebed.files.checks import DEFAULT_TYPE
from lakebed.objects.files.store import FileRow, Method, Rule
from lakebed.records import Report


class FileInfo(Report):
    """What is known about a file.

    `size` is in bytes. `etag` changes with each write; do not read anything else into it.
    `archived`: the file must be restored before it can be read. `restore`: None, `ongoing`, or
    `restored`, which lasts until `restored_until`. `encryption`: the method that the service
    reports. `lifecycle_rule`: the id of the rule that applies. `expires_at`: when that rule deletes
    the file.
    """

    path: str
    size: int
    etag: str
    content_type: str
    metadata: Mapping[str, str]
    last_modified: datetime
    storage_class: str | None
    archived: bool
    restore: str | None
    restored_until: datetime | None
    encryption: str | None
    kms_key_id: str | None
    lifecycle_rule: str | None
    expires_at: datetime | None


class ListedFile(Report):
    """A file of a listing. `Files.info` tells more about it."""

    path: str
    size: int
    etag: str
    last_modified: datetime
    storage_class: str | None


class FileList(Report):
    """A part of a listing.

    `files`: the files. `prefixes`: paths that end with the delimiter and have more files below
    them. `after`: where to continue, or None at the end.
    """

    files: Sequence[ListedFile]
    prefixes: Sequence[str]
    after: str | None


class Presigned(Report):
    """A URL that works until `expires_at`. Requests must send these `headers`."""

    url: str
    expires_at: datetime
    method: Method
    headers: Mapping[str, str]


class Deletions(Report):
    """How many paths were deleted, and the error of each other path."""

    deleted: int
    errors: Mapping[str, LakebedError]


class CleanUp(Report):
    """How many unfinished uploads were aborted, and how many files were deleted by a rule."""

    aborted: int
    expired: int


def info_of(row: FileRow, rule: Rule | None = None) -> FileInfo:
    """Return the record of a file. `rule`: the lifecycle rule that applies to it."""
    days = None if rule is None else rule.expire_days
    modified = from_micros(row.modified)
    return FileInfo(
        path=row.path,
        size=row.byte_size,
        etag=row.etag,
        content_type=row.content_type or guess_type(row.path)[0] or DEFAULT_TYPE,
        metadata=row.metadata,
        last_modified=modified,
        storage_class=row.storage_class,
        archived=row.archived,
        restore=row.restore,
        restored_until=None if row.restored_until is None else from_micros(row.restored_until),
        encryption=row.encryption,
        kms_key_id=row.kms_key_id,
        lifecycle_rule=row.rule or (None if rule is None else rule.id),
        expires_at=None if days is None else modified + timedelta(days=days),
    )


def listed_of(row: FileRow) -> ListedFile:
    """Return the record of a file in a listing."""
    return ListedFile(
        path=row.path,
        size=row.byte_size,
        etag=row.etag,
        last_modified=from_micros(row.modified),
        storage_class=row.storage_class,
    )
