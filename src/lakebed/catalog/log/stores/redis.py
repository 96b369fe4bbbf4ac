"""A log in Redis. Each item is a string."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from lakebed.catalog.log.opening import COMMON, open_log
from lakebed.catalog.log.stores.failures import Failures, refused, throttled, unreachable
from lakebed.catalog.opened import CatalogOptions, OpenedCatalog, refuse_unknown
from lakebed.catalog.options import seconds, text
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    DependencyMissingError,
    LakebedError,
)

if TYPE_CHECKING:
    from lakebed.catalog.statements.hiding import Mask

_SERVICE = "Redis"
_SCHEMES = ("redis", "rediss", "unix")


class RedisLogStore:
    """The items of a log as keys that begin with `prefix/`.

    The server's settings decide how durable a commit is. With `appendfsync always` it survives a
    loss of power. Without an append-only file it does not survive a restart. `timeout`: seconds to
    wait for the answer to a request.
    """

    item_bytes = 64 << 20  # Redis allows 512 MiB, but that would block all other clients

    def __init__(
        self, url: str, *, prefix: str = "lakebed", timeout: float = 10.0, mask: Mask = str
    ) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise DependencyMissingError(
                "this catalog needs the redis package: pip install 'lakebed[redis]'"
            ) from error
        self._failures = Failures((redis.RedisError,), _explained, mask)
        self._prefix = prefix
        try:
            self._client: Any = redis.Redis.from_url(
                url,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 0),  # the log repeats failed calls itself
            )
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"catalog.url: expected redis://user:password@host:port/number: {mask(str(error))}"
            ) from None

    def put_new(self, name: str, data: bytes) -> bool:
        with self._failures.ours():
            return bool(self._client.set(self._key(name), data, nx=True))

    def get(self, name: str) -> bytes | None:
        with self._failures.ours():
            found: bytes | None = self._client.get(self._key(name))
        return found

    def put(self, name: str, data: bytes) -> None:
        with self._failures.ours():
            self._client.set(self._key(name), data)

    def delete(self, name: str) -> None:
        with self._failures.ours():
            self._client.delete(self._key(name))

    def close(self) -> None:
        self._client.close()

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"


def open_redis(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "redis", "url": …, "prefix": …}` or `redis://host/0?prefix=…`."""
    refuse_unknown(given, ("url", "prefix", "timeout", *COMMON))
    url, more = _without_prefix(text(given, "url", ""))
    prefix = text({**more, **given}, "prefix", "lakebed")
    timeout = seconds(given, "timeout", 10.0)
    return open_log(
        lambda: RedisLogStore(url, prefix=prefix, timeout=timeout, mask=options.mask),
        f"{_shown(url)}?prefix={prefix}",
        given,
        options,
    )


def _without_prefix(url: str) -> tuple[str, dict[str, object]]:
    """Return the URL as the driver takes it, and the prefix that it names."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(
            "catalog.url: expected redis://host:port/number, rediss:// for TLS, or unix:///socket"
        )
    query = dict(parse_qsl(parts.query))
    prefix = query.pop("prefix", None)
    bare = urlunsplit(parts._replace(query=urlencode(query)))
    return bare, {} if prefix is None else {"prefix": prefix}


def _shown(url: str) -> str:
    """Return the URL without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _explained(error: Exception) -> LakebedError:
    import redis

    if isinstance(error, (redis.AuthenticationError, redis.exceptions.NoPermissionError)):
        return refused(_SERVICE, error)
    if isinstance(error, redis.TimeoutError):
        return unreachable(_SERVICE, error, timeout=True)
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return CatalogError(f"{_SERVICE} has no memory left for the log: {error}")
    if isinstance(error, redis.exceptions.MaxConnectionsError):
        return throttled(_SERVICE, error)
    if isinstance(error, (redis.ConnectionError, redis.BusyLoadingError)):
        return unreachable(_SERVICE, error, timeout=False)
    if "max number of clients" in str(error):
        return throttled(_SERVICE, error)
    return CatalogError(f"{_SERVICE}: {error}")
