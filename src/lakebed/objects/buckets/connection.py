"""A connection to a bucket, through the asynchronous calls of its fsspec filesystem. Requests are
limited in number and retried."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar, TypeVar, cast

import fsspec
from fsspec.asyn import AsyncFileSystem, sync
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)

from lakebed.errors import ConfigurationError, DependencyMissingError, LakebedError
from lakebed.objects.buckets.failures import Failure
from lakebed.objects.buckets.options import constructor_options
from lakebed.waiting import AFTER, say

MAX_CONNECTIONS = 32
"""The default of `max_connections`: the most requests, and so sockets, that one store uses at a
time."""
RETRY_SECONDS = 60.0
"""The default of `retry_timeout`: the seconds for which a failing request is repeated."""

CONNECT_SECONDS = 5.0
"""The most seconds to wait for a connection."""
SILENCE_SECONDS = 30.0
"""The most seconds to wait for data on a connection."""

_LONGEST_WAIT = 5.0  # seconds between two tries

_SET = {
    "use_listings_cache": False,  # changes by others must show at once
    "skip_instance_cache": True,  # an instance of our own, which we close
}

_CONNECTED = frozenset({"_fs", "_bucket", "_prefix", "_gate", "_pid"})

log = logging.getLogger("lakebed.objects")
_T = TypeVar("_T")


class TransientError(Exception):
    """A failed request that may succeed when it is repeated."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Connection(ABC):
    """A connection to one bucket. Each service has a subclass that implements the hooks.

    All threads share one filesystem. Its requests run in fsspec's own loop, at most
    `max_connections` at a time. A forked child creates its own filesystem.
    """

    PACKAGE: ClassVar[str]
    """The extra that installs the filesystem."""
    OPTIONS: ClassVar[frozenset[str]]
    """Options that the filesystem's constructor does not name: Lakebed's own, and those that the
    filesystem passes on."""
    CHOICES: ClassVar[Mapping[str, Sequence[str]]] = {}
    """The words that some options accept, by option, in lower case. Any case is accepted."""
    MODULE: ClassVar[str]
    """The module of the filesystem."""
    USUAL: ClassVar[frozenset[str]] = frozenset()
    """Frequent options of the filesystem's constructor. A lake that uses only these and Lakebed's
    own is opened without loading the filesystem."""

    def __init__(self, uri: str, options: Mapping[str, object]) -> None:
        self.options = options
        options = dict(options)
        self._uri = uri.rstrip("/")
        self._protocol = uri.partition("://")[0]
        self._connections = int(_number(options, "max_connections", MAX_CONNECTIONS, least=1))
        self._closed = False
        self._retry_seconds = _number(options, "retry_timeout", RETRY_SECONDS, least=0)
        self._answers = False  # whether the service has ever answered
        self._hurried = False
        self._options = self._settings(options)
        self._connecting = threading.Lock()
        if find_spec(self.MODULE) is None:
            raise self._lacks(f"no module named {self.MODULE!r}")
        if not self._uri.partition("://")[2].strip("/"):
            raise self._nameless()

    def __getattr__(self, name: str) -> Any:
        # Connect when one of these attributes is first used: loading a filesystem takes half a
        # second, and many commands never use the bucket.
        if name not in _CONNECTED:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        with self._connecting:
            if name not in self.__dict__:
                self._connect()
        return self.__dict__[name]

    def _lacks(self, why: str) -> DependencyMissingError:
        return DependencyMissingError(
            f"storage: {self._protocol}:// needs a package: pip install "
            f"'lakebed[{self.PACKAGE}]' ({why})"
        )

    def _nameless(self) -> ConfigurationError:
        return ConfigurationError(
            f"storage: {self._uri} does not name a bucket: write {self._protocol}://bucket"
        )

    @classmethod
    def is_usual(cls, options: Iterable[str]) -> bool:
        """Return whether all of these options are known without loading the filesystem."""
        return {"max_connections", "retry_timeout", *cls.OPTIONS, *cls.USUAL}.issuperset(options)

    @classmethod
    def known_options(cls, protocol: str) -> set[str]:
        """Return the options of this store. Raises ImportError if its package is missing."""
        ours = {"max_connections", "retry_timeout", *cls.OPTIONS}
        return (constructor_options(cls._filesystem(protocol)) | ours) - _SET.keys()

    @classmethod
    def wrong_value(cls, name: str, value: object) -> str | None:
        """Return what is wrong with the value of an option that has CHOICES, or None."""
        words = cls.CHOICES.get(name)
        if words is None or value is None:
            return None
        right = isinstance(value, str) and value.lower() in words
        return None if right else f"must be one of {', '.join(words)}"

    def _connect(self) -> None:
        try:
            self._fs = self._filesystem(self._protocol)(**self._options, **_SET)
        except ImportError as error:
            raise self._lacks(str(error)) from None
        except (TypeError, ValueError, KeyError) as error:
            told = str(error.args[0]) if error.args else "its credentials cannot be found"
            raise ConfigurationError(f"storage: cannot open {self._protocol}://…: {told}") from None
        except Exception as error:
            if (failure := self._failure(error)) is None:
                raise
            raise failure.error(f"open {self._uri}", "", 0) from None
        bucket, _, prefix = self._fs._strip_protocol(self._uri).strip("/").partition("/")
        if not bucket or "://" not in self._uri:
            raise self._nameless()
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
        """Remove our own options, and return those of the filesystem."""

    @abstractmethod
    def _prepare(self) -> None:
        """Prepare a new filesystem: disable its own retries."""

    @abstractmethod
    def _failure(self, error: Exception) -> Failure | None:
        """Return the failure that an exception stands for, or None if the service did not fail."""

    async def _is_there(self) -> bool:
        """Return whether the bucket exists. Overridden for services that give the same answer for a
        missing object and a missing bucket."""
        return True

    @abstractmethod
    def _disconnect(self) -> None:
        """Close the filesystem's connections."""

    # Making requests.

    def _run(self, action: str, call: Callable[..., Awaitable[_T]], *arguments: object) -> _T:
        async def whole() -> _T:
            try:
                return await call(*arguments)
            except TransientError as error:
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
        """Make one request when a connection is free, and repeat it while it may still succeed.

        Raises FileNotFoundError if the object does not exist, and a LakebedError for a permanent
        failure.
        """

        begun, failures = time.monotonic(), list[Failure]()

        def tell() -> None:
            """Log what is waited for, unless the service merely has much to transfer."""
            if failures or not self._answers:
                why = failures[-1].told if failures else "no answer"
                left = self._retry_seconds - (time.monotonic() - begun)
                say(f"{action}: {why}; trying for {max(0, left):.0f} s more")

        async def attempt() -> _T:
            if self._closed and failures:
                raise TransientError(failures[-1])
            async with self._gate:
                try:
                    result = await asyncio.wait_for(call(*arguments), self._limit(begun))
                    self._answers = True
                    return result
                except Exception as error:
                    known = self._failure(error)
                    if isinstance(error, TimeoutError):  # ours, or one like it
                        known = Failure("timeout: no answer", answered=False)
                    if known is None:
                        raise
                    failure = known
            if failure.transient:
                log.debug("%s: %s, will be tried again", action, failure.code or failure.status)
                failures.append(failure)
                raise TransientError(failure)
            if failure.present:
                raise FileExistsError(action)
            if failure.gone and await self._is_there():
                raise FileNotFoundError(action)
            raise self._error(action, failure)

        usual = wait_random_exponential(multiplier=0.1, max=_LONGEST_WAIT)

        def pause(state: RetryCallState) -> float:
            """Return the seconds to wait: as the service asks, but no longer than the time left."""
            left = self._retry_seconds - (time.monotonic() - begun)
            return max(usual(state), min(failures[-1].retry_after or 0.0, left))

        retrying = AsyncRetrying(
            retry=retry_if_exception(
                lambda error: isinstance(error, TransientError) and not self._closed
            ),
            stop=stop_after_delay(self._retry_seconds),
            wait=pause,
            reraise=True,
        )
        teller = asyncio.get_running_loop().call_later(AFTER, tell)
        try:
            return await retrying(attempt)
        finally:
            teller.cancel()

    def give_up_after(self, seconds: float) -> None:
        """Repeat failing requests for at most this many seconds. Wait for the first answer of the
        service for as long."""
        self._retry_seconds = min(self._retry_seconds, seconds)
        self._hurried = True

    def _limit(self, begun: float) -> float | None:
        """Return the seconds that a request may take if its first try began at `begun`. There is no
        limit, because it may have much to transfer, unless the service has never answered."""
        if self._answers or not self._hurried:
            return None
        return max(CONNECT_SECONDS, begun + self._retry_seconds - time.monotonic())

    def close(self) -> None:
        self._closed = True  # a request of another thread is not repeated any more
        if self.__dict__.get("_pid") == os.getpid():
            self._disconnect()


def word(options: dict[str, Any], name: str) -> str | None:
    """Remove and return an option that must be text, or None if it is not given."""
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
