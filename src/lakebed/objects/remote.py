"""Objects on any filesystem that fsspec knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from tempfile import NamedTemporaryFile
from typing import BinaryIO, NoReturn, cast

import fsspec

from lakebed.clock import system_clock, to_micros
from lakebed.errors import ConfigurationError, DependencyMissingError, StorageError
from lakebed.objects.names import inside
from lakebed.objects.places import Site, is_local, local_site, site_of, unwrap
from lakebed.objects.store import Range, ReadResult, StoredFile, read_each

_PASSWORD = re.compile(r"^(\w+://[^/@:]*):[^/]*@")  # as in ftp://ada:secret@host
_FAILURES = (OSError, ValueError, RuntimeError)


class FsspecStore:
    """Files under a URI such as `s3://bucket/prefix` or `memory://lake`.

    Such stores show an upload completely or not at all, so a plain write is enough.
    """

    def __init__(self, uri: str, options: Mapping[str, object]) -> None:
        self._uri = uri.rstrip("/")
        self.options = options
        protocol = uri.partition("://")[0]
        try:
            self.filesystem, root = fsspec.core.url_to_fs(self._uri, **options)
        except ImportError as error:
            raise DependencyMissingError(
                f"storage: {protocol}:// needs a package: {error}"
            ) from None
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"storage: cannot open {protocol}://…: {error}") from None
        except OSError as error:  # some filesystems connect at once
            raise StorageError(f"storage: cannot open {protocol}://…: {error}") from None
        self.root = root.rstrip("/")
        """The path of the URI, in the form of its filesystem."""
        self._shown = _PASSWORD.sub(r"\1:***@", self._uri)

    def uri(self, path: str) -> str:
        return f"{self._shown}/{path}"

    def site(self) -> Site:
        filesystem, root = unwrap(self.filesystem, self.root)
        return local_site(root) if is_local(filesystem) else site_of(self._uri, root)

    def write(self, path: str, data: bytes) -> None:
        try:
            self._make_folder(path)
            self.filesystem.pipe_file(self._full(path), data)
        except _FAILURES as error:
            self._fail("write", path, error)

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        # Not with the filesystem's own file: some replace the old file as soon as it is opened.
        with NamedTemporaryFile(prefix="lakebed-") as file:
            try:
                yield cast(BinaryIO, file)
                file.flush()
                self._make_folder(path)
                self.filesystem.put_file(file.name, self._full(path))
            except (OSError, RuntimeError) as error:
                self._fail("write", path, error)

    def _make_folder(self, path: str) -> None:
        self.filesystem.makedirs(self._full(path).rpartition("/")[0], exist_ok=True)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        end = None if length is None else offset + length
        try:
            data: bytes = self.filesystem.cat_file(self._full(path), start=offset or None, end=end)
        except FileNotFoundError:
            raise
        except _FAILURES as error:
            self._fail("read", path, error)
        return data

    def read_many(self, ranges: Sequence[Range]) -> list[ReadResult]:
        return read_each(self, ranges)

    def size(self, path: str) -> int:
        try:
            return int(self.filesystem.size(self._full(path)))
        except FileNotFoundError:
            raise
        except _FAILURES as error:
            self._fail("read", path, error)

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            try:
                self.filesystem.rm_file(self._full(path))
            except FileNotFoundError:
                continue
            except _FAILURES as error:
                self._fail("delete", path, error)

    def list(self, prefix: str) -> Iterator[StoredFile]:
        try:
            found = self.filesystem.find(self._full(prefix), detail=True)
        except FileNotFoundError:
            return
        except _FAILURES as error:
            self._fail("list", prefix, error)
        for name, details in found.items():
            path = name[len(self.root) + 1 :]
            yield StoredFile(path, int(details["size"]), _modified(details))

    def abandon_uploads(self, before: int) -> int:
        """Do nothing: fsspec has no common way to list unfinished uploads."""
        del before
        return 0

    def close(self) -> None:
        """Do nothing: fsspec owns and shares its filesystem instances."""

    def _full(self, path: str) -> str:
        return f"{self.root}/{inside(path)}"

    def _fail(self, verb: str, path: str, error: Exception) -> NoReturn:
        raise StorageError(f"cannot {verb} {self.uri(path)}: {error}") from error


def _modified(details: Mapping[str, object]) -> int:
    """Return when a file was written, in microseconds. Each filesystem has its own name for it.

    If a filesystem does not say, the result is now, so that a file of unknown age counts as young.
    """
    for name in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = details.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return to_micros(value if value.tzinfo else value.replace(tzinfo=UTC))
        if isinstance(value, (int, float)):
            return int(value * 1_000_000)
    return system_clock()
