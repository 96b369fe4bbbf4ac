"""A lock in Redis. The server's clock decides."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, cast

from lakebed.clock import Clock, system_clock
from lakebed.errors import (
    ConfigurationError,
    ConnectError,
    DependencyMissingError,
    LakebedError,
    RateLimitedError,
    StorageError,
)
from lakebed.locks.base import Lock

if TYPE_CHECKING:
    from redis import RedisError

_SECONDS = 10.0  # to connect, and to wait for an answer
# The first key holds the owner and its token, and expires. The second counts tokens, and stays.
_TAKE = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then return 0 end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. token, 'PX', ARGV[2])
return token"""
_EXTEND = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])"""
_FREE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
if redis.call('GET', KEYS[2]) == ARGV[2] then return 1 else return 0 end"""


class RedisLock(Lock):
    """A lock in Redis, or in a server that speaks its protocol.

    `url`: `redis://:password@host/0`, `rediss://…` or `unix://…`.
    `prefix`: the beginning of the lock's two keys.

    The server's clock decides when a time to live has passed. If a Redis fails, it may lose its
    last writes (see its `appendfsync`). So may a replica that takes over. Then the lock may be free
    too early, and tokens may be given a second time.

    Raises DependencyMissingError, with the pip command, if redis is not installed, and
    ConfigurationError for an invalid option.
    """

    def __init__(
        self,
        name: str,
        ttl: float | timedelta = 300,
        *,
        url: str,
        prefix: str = "lakebed:lock:",
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(name, ttl, clock=clock)
        try:
            import redis
        except ImportError as error:
            raise DependencyMissingError(
                "locks in Redis need the redis package: pip install 'lakebed[redis]'"
            ) from error
        try:
            self._client = redis.Redis.from_url(
                url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS
            )
        except (ValueError, TypeError, AttributeError):  # the error may quote a password
            raise ConfigurationError("url: expected redis://:password@host/0") from None
        if not isinstance(prefix, str):
            raise ConfigurationError(f"prefix must be a string, got {prefix!r}")
        # In a cluster, the text in braces decides on which node a key is.
        self._keys = [f"{{{prefix}{self.name}}}:owner", f"{{{prefix}{self.name}}}:token"]
        self._failed = redis.RedisError

    def _take(self, owner: str) -> int | None:
        return self._run(_TAKE, owner, self._millis) or None

    def _extend(self, owner: str, token: int) -> bool:
        return bool(self._run(_EXTEND, f"{owner} {token}", self._millis))

    def _free(self, owner: str, token: int) -> bool:
        return bool(self._run(_FREE, f"{owner} {token}", token))

    def close(self) -> None:
        self._client.close()

    @property
    def _millis(self) -> int:
        return max(1, -(-self._micros // 1000))

    def _run(self, script: str, *arguments: str | int) -> int:
        try:
            return cast(int, self._client.eval(script, 2, *self._keys, *arguments))
        except self._failed as error:
            raise _explain(error, f"the server of the lock {self.name!r}") from error


def _explain(error: RedisError, where: str) -> LakebedError:
    """Return the error of `lakebed.errors` for an error of redis."""
    from redis import exceptions

    if isinstance(error, (exceptions.AuthenticationError, exceptions.NoPermissionError)):
        return ConnectError(f"{where} refuses the credentials: {error}", "auth_failed")
    if isinstance(error, exceptions.TimeoutError):
        return ConnectError(f"{where} does not answer: {error}", "connection_timeout")
    if isinstance(error, exceptions.MaxConnectionsError):
        return RateLimitedError(f"{where} takes no more connections: {error}")
    if isinstance(error, exceptions.ConnectionError):
        return ConnectError(f"no connection to {where}: {error}")
    return StorageError(f"{where} refuses: {error}")
