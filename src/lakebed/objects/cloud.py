"""Objects in a bucket, through the asynchronous calls of its fsspec filesystem. Requests are
limited in number and retried."""

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
"""The default of `max_connections`: the most requests that one store runs at a time, and so its
sockets."""
RETRY_SECONDS = 60.0
"""The default of `retry_timeout`: the seconds for which a failing request is repeated."""
READ_BYTES = 8 << 20
"""The most bytes of one read request. Larger reads are several requests side by side."""

CONNECT_SECONDS = 5.0
"""The most seconds to wait for a connection."""
SILENCE_SECONDS = 30.0
"""The most seconds to wait for data on a connection."""

_LONGEST_WAIT = 5.0  # seconds between two tries

_SET = {
    "use_listings_cache": False,  # changes by others must show at once
    "skip_instance_cache": True,  # an instance of our own, which we close
}

log = logging.getLogger("lakebed.objects")
_T = TypeVar("_T")


class _TransientError(Exception):
    """A failed request that may succeed when it is repeated."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class About(NamedTuple):
    """What a service says about a bucket: the header Date, the bucket's region, and the region for
    which requests are made. Each is None if the service does not say it."""

    date: str | None
    region: str | None = None
    asked: str | None = None

    def time(self) -> float | None:
        """The service's time in seconds since 1970, to the second."""
        try:
            return None if self.date is None else parsedate_to_datetime(self.date).timestamp()
        except ValueError:
            return None


class CloudStore(ABC):
    """Files under a URI of a bucket. Each service has a subclass that implements the hooks.

    All threads share one filesystem. Its requests run in fsspec's own loop, at most
    `max_connections` at a time. A forked child creates its own filesystem.
    """

    PACKAGE: ClassVar[str]
    """The extra that installs the filesystem."""
    OPTIONS: ClassVar[frozenset[str]]
    """Options that the filesystem's constructor does not name: Lakebed's own, and those that the
    filesystem passes on."""

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
        """Return the options of this store. Raises ImportError if its package is missing."""
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
            told = str(error.args[0]) if error.args else "its credentials cannot be found"
            raise ConfigurationError(f"storage: cannot open {self._protocol}://…: {told}") from None
        except Exception as error:
            if (failure := self._failure(error)) is None:
                raise
            raise failure.error(f"open {self._uri}", "", 0) from None
        bucket, _, prefix = self._fs._strip_protocol(self._uri).strip("/").partition("/")
        if not bucket or "://" not in self._uri:
            raise ConfigurationError(
                f"storage: {self._uri} does not name a bucket: write {self._protocol}://bucket"
            )
        self._bucket, self._prefix = bucket, prefix
        self._prepare()
        self._gate = asyncio.Semaphore(self._connections)
        self._pid = os.getpid()

    # Hooks for each service.

    @classmethod
    def _filesystem(cls, protocol: str) -> type[AsyncFileSystem]:
        """Return the class of the filesystem. Raises ImportError if its package is missing."""
        return cast(type[AsyncFileSystem], fsspec.get_filesystem_class(protocol))

    @abstractmethod
    def _settings(self, options: dict[str, Any]) -> dict[str, Any]:
        """Take our own options out, and return those of the filesystem."""

    @abstractmethod
    def _prepare(self) -> None:
        """Prepare a new filesystem: disable its own retries."""

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
    def _failure(self, error: Exception) -> Failure | None:
        """Return what an exception of the filesystem means; None if the service did not fail."""

    @abstractmethod
    async def _sign(self, key: str, seconds: int) -> str:
        """Return a URL that reads an object. Raises ConfigurationError if the credentials cannot
        sign."""

    @abstractmethod
    async def _about(self) -> About:
        """Ask for the bucket itself. A refusal that contains the answer is not an error."""

    async def _is_there(self) -> bool:
        """Whether the bucket exists, for services whose answer for a missing object does not
        say."""
        return True

    @abstractmethod
    def _disconnect(self) -> None:
        """Close the filesystem's connections."""

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
            source.md5()  # computed here, so that the loop of all threads does not wait for it
        try:
            self._run(action, self._put, action, self._key(path), source)
        except FileNotFoundError:
            raise StorageError(f"cannot {action}: somebody has aborted or deleted it") from None

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
        """Repeat failing requests for at most this many seconds."""
        self._retry_seconds = min(self._retry_seconds, seconds)

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
        """Write a file if the service finds none at this path. Returns whether it was written."""
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

    def close(self) -> None:
        if self._pid == os.getpid():
            self._disconnect()

    # Making requests.

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
        """Make one request when a connection is free, and repeat it while it may succeed.

        Raises FileNotFoundError if the object does not exist, and a LakebedError for a permanent
        failure.
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
    """Take an option out that must be text."""
    value = options.pop(name, None)
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(f"storage.{name} must be text, got {value!r}")
    return value


def _number(options: dict[str, Any], name: str, default: float, *, least: float) -> float:
    value = options.pop(name, None)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise ConfigurationError(f"storage.{name} must be a number, {least} or more, got {value!r}")
    return value
