"""Files under paths: the calls. They raise their errors."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from lakebed.clock import system_clock
from lakebed.errors import (
    ConfigurationError,
    NotFoundError,
    StorageError,
    ValidationError,
)
from lakebed.files import checks
from lakebed.files.downloading import download
from lakebed.files.reader import open_file
from lakebed.files.records import (
    CleanUp,
    Deletions,
    FileInfo,
    FileList,
    Presigned,
    info_of,
    listed_of,
)
from lakebed.files.uploading import PART_BYTES, Source, upload
from lakebed.model import Progress
from lakebed.objects.files.store import FileRow, FileStore, Rule, rule_for

_RULES_SECONDS = 60.0  # how long the rules that `info` reads are cached
_SMALLEST_PART = 5 << 20
_LARGEST_PART = 5 << 30


class Files:
    """Files under paths such as `reports/may.pdf`, in a bucket, a folder or memory.

    A path is relative and has at most 1,024 bytes in UTF-8. It must not contain `..`, `.` or empty
    names, backslashes or control characters. Safe to use from any thread.

    All calls raise ValidationError for an invalid argument, NotFoundError for a missing file, and
    StorageError, ConnectError or RateLimitedError if the storage fails.
    """

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._closed = False
        self._rules: tuple[float, list[Rule]] | None = None

    @property
    def name(self) -> str:
        """Where the files are, without secrets."""
        return self._store.name

    @contextmanager
    def _using(self, path: str = "") -> Iterator[FileStore]:
        if self._closed:
            raise StorageError("the storage is closed")
        try:
            yield self._store
        except FileNotFoundError as error:
            missing = error.args[0] if path == "" and error.args else path
            raise NotFoundError(f"there is no file at {missing!r}") from None

    def upload(
        self,
        path: str,
        content: bytes | str,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> FileInfo:
        """Write a whole file, replacing an existing one. A string is stored as UTF-8.

        `content_type` is guessed from the path if it is left out. `metadata`: strings by name, at
        most 2,048 bytes in all. `if_absent`: write only if there is no file. `if_match`: write only
        if the file has this etag. Raises ConflictError if such a condition does not hold.
        """
        path = checks.check_path(path)
        headers = checks.check_headers(path, content_type, metadata)
        condition = checks.check_condition(if_absent, if_match)
        data = checks.check_content(content)
        with self._using(path) as store:
            return info_of(store.put(path, data, headers, condition))

    def upload_file(
        self,
        path: str,
        file: Source,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
        *,
        part_size: int = PART_BYTES,
        progress: Progress | None = None,
    ) -> FileInfo:
        """Upload a local file, or a binary file object, which is read to its end.

        A file of more than 5 MB is uploaded in parts of `part_size` bytes (5 MB to 5 GB), several
        at a time. If that fails, the upload is aborted and the old file stays. `progress` is called
        with the number of bytes that have arrived and with the total, None for a file object. The
        other arguments are those of `upload`.
        """
        path = checks.check_path(path)
        headers = checks.check_headers(path, content_type, metadata)
        condition = checks.check_condition(if_absent, if_match)
        checks.check_whole("part_size", part_size, _SMALLEST_PART, _LARGEST_PART)
        with self._using(path) as store:
            return info_of(upload(store, path, file, headers, condition, part_size, progress))

    def download(self, path: str) -> bytes:
        """Return the content of a file."""
        return self.fetch(path)[1]

    def fetch(self, path: str) -> tuple[FileInfo, bytes]:
        """Return what is known about a file and its content. Both are of the same version."""
        path = checks.check_path(path)
        with self._using(path) as store:
            row, data = store.whole(path)
        return info_of(row), data

    def download_file(
        self,
        path: str,
        file: str | os.PathLike[str],
        *,
        part_size: int = PART_BYTES,
        progress: Progress | None = None,
    ) -> FileInfo:
        """Download a file to a local one, which appears when it is complete.

        Several ranges of `part_size` bytes are read at a time. After a failure, repeat the call: it
        continues where it ended, unless the file was replaced. `progress` is called with the number
        of bytes that have arrived and with the total. Raises ConflictError if the file is replaced
        meanwhile, or if another download writes to the same local file.
        """
        path = checks.check_path(path)
        if not isinstance(file, (str, os.PathLike)):
            raise ValidationError(f"file must be a local path, got {type(file).__name__}")
        checks.check_whole("part_size", part_size, 1 << 16, _LARGEST_PART)
        with self._using(path) as store:
            row = store.stat(path)
            download(store, row, file, part_size, progress)
        return info_of(row)

    def open(self, path: str, mode: str = "rb") -> io.BufferedReader:
        """Open a file for reading, as a binary file object that can seek.

        Only the ranges that you read are fetched. If the file is replaced meanwhile, reading raises
        ConflictError.
        """
        path = checks.check_path(path)
        if mode != "rb":
            raise ValidationError(f"mode must be 'rb', got {mode!r}: use upload_file to write")
        with self._using(path) as store:
            return open_file(store, store.stat(path))

    def delete(self, path: str) -> bool:
        """Delete a file. Returns whether it existed; a missing file is no error."""
        path = checks.check_path(path)
        with self._using(path) as store:
            return store.remove(path)

    def delete_many(self, paths: Iterable[str]) -> Deletions:
        """Delete files. A missing file counts as deleted.

        All paths are checked first. If a file cannot be deleted, its error is in the result.
        """
        if isinstance(paths, (str, bytes)) or not isinstance(paths, Iterable):
            raise ValidationError(f"paths must be a list of paths, got {type(paths).__name__}")
        checked = list(dict.fromkeys(
            checks.check_path(path, f"paths[{number}]") for number, path in enumerate(paths)
        ))  # fmt: skip
        with self._using() as store:
            errors = store.remove_each(checked)
        return Deletions(deleted=len(checked) - len(errors), errors=errors)

    def exists(self, path: str) -> bool:
        """Return whether a file exists at a path."""
        path = checks.check_path(path)
        with self._using(path) as store:
            try:
                store.stat(path)
            except FileNotFoundError:
                return False
        return True

    def info(self, path: str) -> FileInfo:
        """Return what is known about a file."""
        path = checks.check_path(path)
        with self._using(path) as store:
            row = store.stat(path)
        return info_of(row, self._rule(row))

    def _rule(self, row: FileRow) -> Rule | None:
        """Return the rule that applies to a file. None if there is none or it cannot be read."""
        if self._rules is None or self._rules[0] < time.monotonic():
            try:
                rules = self._store.rules()
            except (ConfigurationError, StorageError):
                rules = []
            self._rules = (time.monotonic() + _RULES_SECONDS, rules)
        return rule_for(self._rules[1], row.path)

    def list(
        self,
        prefix: str = "",
        delimiter: str | None = None,
        limit: int = 1000,
        after: str | None = None,
    ) -> FileList:
        """Return files whose path begins with `prefix`, in the order of their paths.

        `delimiter`: one character, usually a slash. Files with a delimiter after the prefix are not
        listed one by one; `prefixes` has their paths up to the delimiter. `limit`: the most files
        and prefixes, 1 to 100,000. `after`: start after this path. Pass the `after` of the result
        to the next call. It is None at the end.
        """
        prefix = checks.check_prefix(prefix)
        after = "" if after is None else checks.check_prefix(after, "after")
        checks.check_whole("limit", limit, 1, 100_000)
        if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1):
            raise ValidationError(f"delimiter must be one character, got {delimiter!r}")
        with self._using() as store:
            page = store.page(prefix, delimiter, after, limit)
        last = page.items[-1] if page.more else None
        return FileList(
            files=[listed_of(item) for item in page.items if not isinstance(item, str)],
            prefixes=[item for item in page.items if isinstance(item, str)],
            after=last if last is None or isinstance(last, str) else last.path,
        )

    def copy(self, source: str, target: str) -> FileInfo:
        """Copy a file with its content type and metadata, replacing an existing target."""
        source, target = self._two(source, target)
        with self._using(source) as store:
            return info_of(store.copy(source, target))

    def move(self, source: str, target: str) -> FileInfo:
        """Move a file, replacing an existing target.

        A bucket copies the file and then deletes the source, so for a moment it has both.
        """
        source, target = self._two(source, target)
        with self._using(source) as store:
            return info_of(store.move(source, target))

    def _two(self, source: str, target: str) -> tuple[str, str]:
        source = checks.check_path(source, "source")
        target = checks.check_path(target, "target")
        if source == target:
            raise ValidationError(f"source and target must differ, got {source!r} twice")
        return source, target

    def presign(
        self, path: str, expires: float | timedelta = 3600, method: str = "GET"
    ) -> Presigned:
        """Return a URL with which anybody can read the file, or write it if `method` is `PUT`.

        `expires`: how long it works, a timedelta or seconds from 1 to 604,800 (seven days). A
        request that writes must send the `headers` of the result. Raises ConfigurationError if the
        storage or its credentials cannot sign.
        """
        path = checks.check_path(path)
        seconds = int(checks.check_seconds("expires", expires, 1, checks.LONGEST_EXPIRY))
        verb = checks.check_method(method)
        with self._using(path) as store:
            if verb == "GET":
                store.stat(path)  # services sign the URLs of missing files too
            until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
            url, headers = store.sign_for(path, seconds, verb)
        return Presigned(url=url, expires_at=until, method=verb, headers=headers)

    def lifecycle(self) -> Sequence[Rule]:
        """Return the lifecycle rules, by which files expire or move to another storage class."""
        with self._using() as store:
            return store.rules()

    def set_lifecycle(self, rules: Iterable[Rule | Mapping[str, object]]) -> None:
        """Replace the lifecycle rules. An empty list removes all.

        A rule is a `LifecycleRule` or a mapping with `prefix` and one or more of `expire_days`,
        `transitions` (a list of `{days, storage_class}`) and `abort_days`. `id` and `enabled` are
        optional. Some rules of a bucket are not replaced: those for other prefixes, and those with
        conditions other than prefix and age.

        Raises ConfigurationError if the storage has no lifecycle rules.
        """
        checked = checks.check_rules(rules)
        with self._using() as store:
            store.set_rules(checked)
        self._rules = None

    def cleanup(self, older_than: float | timedelta = 86_400) -> CleanUp:
        """Abort uploads that began more than `older_than` seconds ago and were never completed.

        A killed process can leave such uploads. In a folder and in memory, also delete the files
        that a rule expires. A bucket's service does that by itself.
        """
        seconds = checks.check_seconds("older_than", older_than, 0, 10 * 366 * 86_400)
        now = system_clock()
        with self._using() as store:
            aborted = store.abandon(now - round(seconds * 1_000_000))
            return CleanUp(aborted=aborted, expired=store.expire(now))

    def close(self) -> None:
        """Close connections. Later calls fail. Closing again does nothing."""
        if not self._closed:
            self._closed = True
            self._store.close()

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Files {self.name}>"
