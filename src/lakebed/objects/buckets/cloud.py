"""Objects in a bucket: the interface of `ObjectStore` over a connection to the bucket."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, NamedTuple, cast

from lakebed.errors import LakebedError, StorageError
from lakebed.objects.buckets.connection import Connection, TransientError
from lakebed.objects.buckets.failures import Failure
from lakebed.objects.buckets.source import WHOLE_BYTES, Source
from lakebed.objects.names import inside
from lakebed.objects.places import Site, site_of
from lakebed.objects.store import Range, ReadResult, StoredFile

READ_BYTES = 8 << 20
"""The most bytes of one read request. Larger reads are several requests side by side."""


class About(NamedTuple):
    """What a service says about a bucket: the header Date, the bucket's region, and the region for
    which requests are made. Each is None if the service does not say it."""

    date: str | None
    region: str | None = None
    asked: str | None = None

    def time(self) -> float | None:
        """Return the service's time in whole seconds since 1970, or None if it is unknown."""
        try:
            return None if self.date is None else parsedate_to_datetime(self.date).timestamp()
        except ValueError:
            return None


class CloudStore(Connection):
    """Files under a URI of a bucket. Each service has a subclass that implements the hooks."""

    # Hooks for each service.

    @abstractmethod
    async def _put(self, action: str, key: str, source: Source) -> None:
        """Upload with `_request`, and verify the upload."""

    @abstractmethod
    async def _put_new(self, key: str, data: bytes) -> None:
        """Upload only if the object does not exist. `_failure` marks the refusal as `present`."""

    @abstractmethod
    async def _get(self, key: str, start: int, end: int) -> bytes:
        """Read the bytes from `start` to before `end`, or to the end of the object."""

    @abstractmethod
    async def _head(self, key: str) -> int:
        """Return the size of an object in bytes."""

    @abstractmethod
    async def _remove(self, action: str, keys: Sequence[str]) -> None:
        """Delete objects with `_request`. A missing object is not an error."""

    @abstractmethod
    async def _page(self, prefix: str, token: str | None) -> tuple[list[StoredFile], str | None]:
        """List some objects whose names begin with `prefix`. Returns them, and the token with which
        to continue."""

    @abstractmethod
    async def _sign(self, key: str, seconds: int) -> str:
        """Return a URL that reads an object. Raises ConfigurationError if the credentials cannot
        sign."""

    @abstractmethod
    async def _about(self) -> About:
        """Ask for the bucket itself. A refusal that contains the answer is not an error."""

    # The interface of ObjectStore.

    def uri(self, path: str) -> str:
        return f"{self._uri}/{path}"

    def site(self) -> Site:
        return site_of(self._uri, f"{self._bucket}/{self._prefix}")

    def write(self, path: str, data: bytes) -> None:
        self._upload(path, Source(data))

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        with SpooledTemporaryFile(WHOLE_BYTES) as file:
            try:
                yield cast(BinaryIO, file)
            except OSError as error:  # of the temporary file
                raise StorageError(
                    f"cannot write {self.uri(path)}: {error.strerror or error}"
                ) from error
            self._upload(path, Source(file))

    def _upload(self, path: str, source: Source) -> None:
        action = f"write {self.uri(path)}"
        if source.size <= WHOLE_BYTES:
            source.md5()  # computed here, and not in the event loop that all threads share
        try:
            self._run(action, self._put, action, self._key(path), source)
        except FileNotFoundError:
            raise StorageError(f"cannot {action}: the upload was aborted or deleted") from None

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        (result,) = self.read_many([Range(path, offset, length)])
        if isinstance(result, bytes):
            return result
        raise result

    def read_many(self, ranges: Sequence[Range]) -> list[ReadResult]:
        async def attempt(wanted: Range) -> ReadResult:
            try:
                return await self._read(wanted)
            except (FileNotFoundError, LakebedError) as error:
                return error
            except TransientError as error:
                return self._error(f"read {self.uri(wanted.path)}", error.failure)

        async def gather() -> list[ReadResult]:
            return await asyncio.gather(*map(attempt, ranges))

        return self._sync(gather)

    async def _read(self, wanted: Range) -> bytes:
        key, action = self._key(wanted.path), f"read {self.uri(wanted.path)}"
        begin, length = wanted.offset, wanted.length
        if length == 0:
            return b""
        first = READ_BYTES if length is None else min(length, READ_BYTES)
        data = await self._request(action, self._get, key, begin, begin + first)
        if len(data) < first or first == length:
            return data
        end = await self._request(action, self._head, key)
        if length is not None:
            end = min(end, begin + length)
        starts = range(begin + first, end, READ_BYTES)
        parts = await asyncio.gather(
            *(
                self._request(action, self._get, key, start, min(start + READ_BYTES, end))
                for start in starts
            )
        )
        return b"".join([data, *parts])

    def size(self, path: str) -> int:
        action = f"read {self.uri(path)}"

        async def head() -> int:
            return await self._request(action, self._head, self._key(path))

        return self._run(action, head)

    def delete(self, paths: Iterable[str]) -> None:
        paths = list(paths)
        keys = [self._key(path) for path in paths]
        if keys:
            action = f"delete {self.uri(paths[0])}"
            self._run(action, self._remove, action, keys)

    def list(self, prefix: str) -> Iterator[StoredFile]:
        action = f"list {self.uri(prefix)}"
        token: str | None = None
        while True:
            files, token = self._run(
                action,
                self._request,
                action,
                self._page,
                self._key(f"{prefix}/" if prefix else ""),
                token,
            )
            skipped = len(self._key(""))
            for file in files:
                yield file._replace(path=file.path[skipped:])
            if token is None:
                return

    def sign(self, path: str, seconds: int) -> str:
        action = f"sign {self.uri(path)}"

        async def signed() -> str:
            return await self._request(action, self._sign, self._key(path), seconds)

        return self._run(action, signed)

    def about(self) -> About:
        """Return what the service says about the bucket. Raises StorageError if it does not
        exist."""
        action = f"find {self._uri}"
        try:
            found: About = self._run(action, self._request, action, self._about)
        except FileNotFoundError:
            raise self._error(action, Failure("", status=404)) from None
        return found

    def write_new(self, path: str, data: bytes) -> bool:
        """Write a file unless one exists at this path. Returns whether it was written."""
        action = f"write {self.uri(path)}"
        try:
            self._run(action, self._request, action, self._put_new, self._key(path), data)
        except FileExistsError:
            return False
        return True

    def abandon_uploads(self, before: int) -> int:
        """Do nothing: most services remove unfinished uploads themselves."""
        del before
        return 0

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{inside(path)}" if self._prefix else inside(path)
