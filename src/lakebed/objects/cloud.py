"""Objects in a bucket, by the asynchronous calls of its fsspec filesystem: bounded and retried."""

from __future__ import annotations

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, ClassVar, NamedTuple, TypeVar, cast

import fsspec
from fsspec.asyn import AsyncFileSystem, sync
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from lakebed.errors import (
    ConfigurationError,
    DependencyMissingError,
    LakebedError,
    StorageError,
)
from lakebed.objects.failures import Failure
from lakebed.objects.names import inside
from lakebed.objects.options import constructor_options
from lakebed.objects.places import Site, site_of
from lakebed.objects.source import WHOLE_BYTES, Source
from lakebed.objects.store import Range, ReadResult, StoredFile

MAX_CONNECTIONS = 32
"""Requests in flight of one store, and so its sockets, if `max_connections` says nothing else."""
RETRY_SECONDS = 60.0
"""How long a request is repeated in all, if `retry_timeout` says nothing else."""
READ_BYTES = 8 << 20
"""A read asks for so much at once; larger ones are several requests side by side."""

CONNECT_SECONDS = 5.0
"""How long a connection may take to stand."""
SILENCE_SECONDS = 30.0
"""How long a connection may say nothing."""

_LONGEST_WAIT = 5.0  # seconds between two tries

_SET = {
    "use_listings_cache": False,  # what others write and delete must show at once
    "skip_instance_cache": True,  # ours to close
}

log = logging.getLogger("lakebed.objects")
_T = TypeVar("_T")


class _TransientError(Exception):
    """A request that may be tried again."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class About(NamedTuple):
    """What a service tells with an answer about a bucket, None for what it does not: the header
    Date, the bucket's region, and the one that requests are made for."""

    date: str | None
    region: str | None = None
    asked: str | None = None

    def time(self) -> float | None:
        """The service's clock, in seconds since 1970; it tells whole ones."""
        try:
            return None if self.date is None else parsedate_to_datetime(self.date).timestamp()
        except ValueError:
            return None


class CloudStore(ABC):
    """Files under a URI of a bucket. One subclass a service fills in the hooks.

    All threads share one filesystem, whose requests run in fsspec's own loop: `max_connections` of
    them at most at a time. A forked child makes a filesystem of its own.
    """

    PACKAGE: ClassVar[str]
    """The extra that brings the filesystem."""
    OPTIONS: ClassVar[frozenset[str]]
    """Options that the filesystem's constructor does not name: ours, and those that it hands on."""

    def __init__(self, uri: str, options: Mapping[str, object]) -> None:
        self.options = options
        options = dict(options)
        self._uri = uri.rstrip("/")
        self._protocol = uri.partition("://")[0]
        self._connections = int(_number(options, "max_connections", MAX_CONNECTIONS, least=1))
        self._retry_seconds = _number(options, "retry_timeout", RETRY_SECONDS, least=0)
        self._options = self._settings(options)
        self._connect()

    @classmethod
    def known_options(cls, protocol: str) -> set[str]:
        """The options that such a store takes; ImportError if its package is not installed."""
        ours = {"max_connections", "retry_timeout", *cls.OPTIONS}
        return (constructor_options(cls._filesystem(protocol)) | ours) - _SET.keys()

    def _connect(self) -> None:
        try:
            self._fs = self._filesystem(self._protocol)(**self._options, **_SET)
        except ImportError as error:
            raise DependencyMissingError(
                f"storage: {self._protocol}:// needs a package: pip install "
                f"'lakebed[{self.PACKAGE}]' ({error})"
            ) from None
        except (TypeError, ValueError, KeyError) as error:
            told = str(error.args[0]) if error.args else "its credentials are not to be had here"
            raise ConfigurationError(f"storage: cannot open {self._protocol}://…: {told}") from None
        except Exception as error:
            if (failure := self._failure(error)) is None:
                raise
            raise failure.error(f"open {self._uri}", "", 0) from None
        bucket, _, prefix = self._fs._strip_protocol(self._uri).strip("/").partition("/")
        if not bucket or "://" not in self._uri:
            raise ConfigurationError(
                f"storage: {self._uri} names no bucket: {self._protocol}://name"
            )
        self._bucket, self._prefix = bucket, prefix
        self._prepare()
        self._gate = asyncio.Semaphore(self._connections)
        self._pid = os.getpid()

    # What a service brings.

    @classmethod
    def _filesystem(cls, protocol: str) -> type[AsyncFileSystem]:
        """The class of the filesystem; ImportError if its package is not installed."""
        return cast(type[AsyncFileSystem], fsspec.get_filesystem_class(protocol))

    @abstractmethod
    def _settings(self, options: dict[str, Any]) -> dict[str, Any]:
        """The filesystem's options, once ours are taken out of them."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make ready a new filesystem: switch off its own retries."""

    @abstractmethod
    async def _put(self, action: str, key: str, source: Source) -> None:
        """Upload, verified, by `_request`."""

    @abstractmethod
    async def _put_new(self, key: str, data: bytes) -> None:
        """Upload on condition that nothing is there; `_failure` knows the refusal as `present`."""

    @abstractmethod
    async def _get(self, key: str, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`, or to the end of the object."""

    @abstractmethod
    async def _head(self, key: str) -> int:
        """The size of an object."""

    @abstractmethod
    async def _remove(self, action: str, keys: Sequence[str]) -> None:
        """Delete objects, by `_request`; one that is not there is no error."""

    @abstractmethod
    async def _page(self, prefix: str, token: str | None) -> tuple[list[StoredFile], str | None]:
        """Some objects whose names begin so, under their names, and where to go on."""

    @abstractmethod
    def _failure(self, error: Exception) -> Failure | None:
        """What an exception of the filesystem means; None if it is no failure of the service."""

    @abstractmethod
    async def _sign(self, key: str, seconds: int) -> str:
        """A URL that reads an object; ConfigurationError if the credentials hold no key."""

    @abstractmethod
    async def _about(self) -> About:
        """Ask for the bucket itself; a refusal that tells something is no error."""

    async def _is_there(self) -> bool:
        """Whether the bucket exists, where a missing object's answer does not tell."""
        return True

    @abstractmethod
    def _disconnect(self) -> None:
        """Close the filesystem's connections."""

    # What the lake asks for.

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
            source.md5()  # here, or else the loop of all threads would wait for it
        try:
            self._run(action, self._put, action, self._key(path), source)
        except FileNotFoundError:
            raise StorageError(f"cannot {action}: somebody has ended or deleted it") from None

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
            except _TransientError as error:
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

    def give_up_after(self, seconds: float) -> None:
        """Repeat failing requests for no longer than this in all."""
        self._retry_seconds = min(self._retry_seconds, seconds)

    def about(self) -> About:
        """What the service tells of the bucket; StorageError if there is none."""
        action = f"find {self._uri}"
        try:
            found: About = self._run(action, self._request, action, self._about)
        except FileNotFoundError:
            raise self._error(action, Failure("", status=404)) from None
        return found

    def write_new(self, path: str, data: bytes) -> bool:
        """Write a file if nothing is there, as the service sees it; whether it was written."""
        action = f"write {self.uri(path)}"
        try:
            self._run(action, self._request, action, self._put_new, self._key(path), data)
        except FileExistsError:
            return False
        return True

    def abandon_uploads(self, before: int) -> int:
        """Most services forget unfinished uploads by themselves."""
        del before
        return 0

    def close(self) -> None:
        if self._pid == os.getpid():
            self._disconnect()

    # How requests are made.

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{inside(path)}" if self._prefix else inside(path)

    def _run(self, action: str, call: Callable[..., Awaitable[_T]], *arguments: object) -> _T:
        async def whole() -> _T:
            try:
                return await call(*arguments)
            except _TransientError as error:
                raise self._error(action, error.failure) from None

        return self._sync(whole)

    def _sync(self, call: Callable[[], Awaitable[_T]]) -> _T:
        if self._pid != os.getpid():
            self._connect()
        return cast(_T, sync(self._fs.loop, call))

    def _error(self, action: str, failure: Failure) -> LakebedError:
        return failure.error(action, self._bucket, self._retry_seconds)

    async def _request(
        self, action: str, call: Callable[..., Awaitable[_T]], *arguments: object
    ) -> _T:
        """Make one request, when there is room for it, again and again while it may succeed.

        FileNotFoundError if the object is not there, a LakebedError for what is beyond trying.
        """

        async def attempt() -> _T:
            async with self._gate:
                try:
                    return await call(*arguments)
                except Exception as error:
                    known = self._failure(error)
                    if known is None:
                        raise
                    failure = known
            if failure.transient:
                log.debug("%s: %s, to be tried again", action, failure.code or failure.status)
                raise _TransientError(failure)
            if failure.present:
                raise FileExistsError(action)
            if failure.gone and await self._is_there():
                raise FileNotFoundError(action)
            raise self._error(action, failure)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_TransientError),
            stop=stop_after_delay(self._retry_seconds),
            wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_WAIT),
            reraise=True,
        )
        return await retrying(attempt)


def word(options: dict[str, Any], name: str) -> str | None:
    """Take an option that is text."""
    value = options.pop(name, None)
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(f"storage.{name} is {value!r}: expected text")
    return value


def _number(options: dict[str, Any], name: str, default: float, *, least: float) -> float:
    value = options.pop(name, None)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise ConfigurationError(f"storage.{name} is {value!r}: expected a number, {least} or more")
    return value
