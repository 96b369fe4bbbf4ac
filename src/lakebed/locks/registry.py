"""The kinds of locks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib import import_module, metadata
from inspect import Parameter, signature

from lakebed.errors import ConfigurationError
from lakebed.locks.base import Lock
from lakebed.suggestions import suggestion

ENTRY_POINTS = "lakebed.locks"
"""The group of the entry points by which installed packages offer kinds: `kind = module:maker`."""

Maker = Callable[..., Lock]
"""Makes a lock. It is called with the name, the ttl, and the options as keyword arguments."""

_makers: dict[str, Maker | str] = {
    "bucket": "lakebed.locks.bucket:BucketLock",
    "dynamodb": "lakebed.locks.dynamodb:DynamoDBLock",
    "firestore": "lakebed.locks.firestore:FirestoreLock",
    "postgres": "lakebed.locks.postgres:PostgresLock",
    "redis": "lakebed.locks.redis:RedisLock",
    "sqlite": "lakebed.locks.sqlite:SQLiteLock",
}


def create_lock(kind: str, name: str, ttl: float | timedelta = 300, **options: object) -> Lock:
    """Return a lock without acquiring it.

    `kind`: where the lock is kept: `"redis"`, `"postgres"`, `"sqlite"`, `"bucket"`, `"dynamodb"`,
    `"firestore"` or a registered kind.
    `name`: the same name in the same place is the same lock. At most 255 bytes.
    `ttl`: seconds, or a timedelta. An owner loses the lock after this time unless it refreshes it.
    All owners of a lock must give the same `ttl`.
    `options`: the options of the kind.

    Raises ConfigurationError for an unknown kind or option, ValidationError for a malformed name or
    ttl, and DependencyMissingError, with the pip command, if the kind's package is not installed.
    """
    maker = _makers.get(kind) or _from_entry_point(kind)
    if maker is None:
        known = known_locks()
        raise ConfigurationError(f"unknown kind of lock {kind!r}: {suggestion(str(kind), known)}")
    if isinstance(maker, str):
        module, _, attribute = maker.partition(":")
        loaded: Maker = getattr(import_module(module), attribute)
        maker = loaded
    _check_options(kind, maker, options)
    return maker(name, ttl, **options)


def _check_options(kind: str, maker: Maker, options: Mapping[str, object]) -> None:
    """Raise ConfigurationError for an unknown option, or if a required one is missing."""
    parameters = list(signature(maker).parameters.values())
    variadic = (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
    named = [each for each in parameters if each.kind not in variadic]
    known = {each.name: each for each in named[2:]}  # the first two are name and ttl
    takes_all = any(each.kind is Parameter.VAR_KEYWORD for each in parameters)
    for name in () if takes_all else options.keys() - known.keys():
        raise ConfigurationError(
            f"unknown option {name!r} of a lock of the kind {kind!r}: {suggestion(name, known)}"
        )
    for name, parameter in known.items():
        if parameter.default is Parameter.empty and name not in options:
            raise ConfigurationError(f"{name} is missing: a lock of the kind {kind!r} needs it")


def register_lock(kind: str, maker: Maker) -> None:
    """Register a kind of lock. It replaces a kind with the same name.

    `kind`: the name of the kind, for `create_lock`.
    `maker`: a subclass of `Lock`, or a function that returns one. It takes the name, the ttl, and
    the options as keyword arguments.

    Installed packages can use an entry point of the group `lakebed.locks` instead.
    """
    _makers[kind] = maker


def known_locks() -> list[str]:
    """Return the names of the kinds that `create_lock` knows, sorted."""
    offered = {point.name for point in metadata.entry_points(group=ENTRY_POINTS)}
    return sorted(offered | _makers.keys())


def _from_entry_point(kind: object) -> Maker | None:
    for point in metadata.entry_points(group=ENTRY_POINTS):
        if point.name == kind:
            maker: Maker = point.load()
            register_lock(point.name, maker)
            return maker
    return None
