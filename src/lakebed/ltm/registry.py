"""The known backends, and their names in configurations."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from lakebed.config.opening import default_place, is_configuration_file
from lakebed.config.problems import quoted
from lakebed.errors import ConfigurationError
from lakebed.ltm.adapter import LTMBackend
from lakebed.ltm.backends import (
    BlobSQLiteBackend,
    BucketBackend,
    D1Backend,
    DuckDBBackend,
    DuckLakeBackend,
    DynamoDBBackend,
    FirestoreBackend,
    LitestreamBackend,
    MongoDBBackend,
    PostgresBackend,
    RedisBackend,
    SQLAlchemyBackend,
    SQLiteBackend,
    TursoBackend,
)

if TYPE_CHECKING:
    from lakebed.config.reading.loading import Section

ENTRY_POINTS = "lakebed.ltm_backends"
"""The entry point group in which installed packages offer backends, as `type = module:maker`."""

Factory = Callable[..., LTMBackend]
"""A function that makes a backend from its options, which are keyword arguments."""

_factories: dict[str, Factory] = {
    "sqlite": SQLiteBackend,
    "postgres": PostgresBackend,
    "sqlalchemy": SQLAlchemyBackend,
    "turso": TursoBackend,
    "litestream": LitestreamBackend,
    "dynamodb": DynamoDBBackend,
    "firestore": FirestoreBackend,
    "mongodb": MongoDBBackend,
    "d1": D1Backend,
    "redis": RedisBackend,
    "bucket": BucketBackend,
    "blob-sqlite": BlobSQLiteBackend,
    "duckdb": DuckDBBackend,
    "ducklake": DuckLakeBackend,
}


def create_ltm_backend(
    type: str | os.PathLike[str] = "sqlite",  # noqa: A002
    **options: Any,
) -> LTMBackend:
    """Make a backend by its type, or from a configuration file.

        create_ltm_backend("sqlite", path="memory.db")
        create_ltm_backend("lakebed.yaml")

    `type`: one of `get_registered_backends()`, or the path of a file that ends in `.yaml` or
    `.yml`. The options are those of the type's class and of the configuration. With a file, they
    replace its settings. With `lazy=True` the backend connects with its first call.

    Raises ConfigurationError, which is a ValueError, for an unknown type or an invalid option.
    Unless the backend is lazy, also raises what `lakebed.open` raises.
    """
    if is_configuration_file(type):
        type, configured = parse_backend_config(os.fspath(type))  # noqa: A001
        options = {**configured, **options}
    factory = _factories.get(type) or _from_entry_point(type) if isinstance(type, str) else None
    if factory is None:
        known = ", ".join(get_registered_backends())
        raise ConfigurationError(
            f"unknown LTM backend {quoted(os.fspath(type))}: expected one of {known}, or a file "
            "that ends in .yaml or .yml"
        )
    return factory(**options)


def open_memory(where: str | os.PathLike[str] | None = None, **options: Any) -> LTMBackend:
    """Open a memory for agents where `lakebed.open` opens a lake.

        open_memory()                   # ./lakebed.yaml if it exists, or the folder ./lakebed
        open_memory("lakebed.yaml")     # from a configuration
        open_memory("some/dir")         # a local lake there

    `where`: a configuration file, whose name ends in `.yaml` or `.yml`, or a folder. The options
    are those of `create_ltm_backend`.

    Raises ConfigurationError for invalid settings and options. Unless the memory is lazy, also
    raises what `lakebed.open` raises.
    """
    if where is None:
        where = default_place()
    if is_configuration_file(where):
        return create_ltm_backend(where, **options)
    return create_ltm_backend("ducklake", path=where, **options)


def register_backend(type: str, factory: Factory) -> None:  # noqa: A002
    """Register a backend under a type, which calls and configurations can then name.

    A type that is registered already is replaced. `factory`: a class or function that takes the
    options as keyword arguments. Installed packages use an entry point of the group
    `lakebed.ltm_backends` instead.
    """
    _factories[type] = factory


def get_registered_backends() -> list[str]:
    """Return the types that `create_ltm_backend` knows, sorted."""
    offered = {point.name for point in metadata.entry_points(group=ENTRY_POINTS)}
    return sorted(offered | _factories.keys())


def _from_entry_point(name: str) -> Factory | None:
    for point in metadata.entry_points(group=ENTRY_POINTS, name=name):
        factory: Factory = point.load()
        register_backend(name, factory)
        return factory
    return None


def parse_backend_config(config: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the type and the options in a configuration, for `create_ltm_backend`.

    `config`: the path of a YAML file, or its content as a mapping. The settings are under
    `settings.ltm` or at the root. References are replaced, settings validated and short forms
    written out. `backend: auto` becomes the backend that it chooses. The options of a registered
    backend are not validated. When printed, the options mask their secrets.

    Raises ConfigurationError, with the path of every invalid setting.
    """
    from lakebed.config.reading.loading import read

    return backend_in(read(config))


def backend_in(section: Section) -> tuple[str, dict[str, Any]]:
    """Return the type and the options in the settings of a memory, as `parse_backend_config`."""
    from lakebed.config.masking import MaskedOptions, guard
    from lakebed.config.reading.loading import validate
    from lakebed.config.settings.backends import BACKENDS

    name = section.raw.get("backend")
    if isinstance(name, str) and name not in BACKENDS and name in get_registered_backends():
        given = {key: value for key, value in section.raw.items() if key != "backend"}
        return name, MaskedOptions(
            {key: guard(value, key) for key, value in given.items()}, section.secrets
        )
    options = validate(section).settings.options()
    return options.pop("backend"), options


def parse_catalog_config(config: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the type and the options of a catalog, for `create_catalog_backend`.

    `config`: what `catalog` can be in a configuration: a word such as `postgres`, a URL, or a
    mapping with `type`. References are replaced. When printed, the options mask their secrets.

    Raises ConfigurationError, with the path of every invalid setting.
    """
    from lakebed.config.masking import ADDRESSES, MaskedOptions, guard
    from lakebed.config.reading.loading import read, validate
    from lakebed.config.settings.backends import DuckDBSettings

    if config is None:  # in a configuration, None would mean the default
        raise ConfigurationError("a catalog must be a word, a URL or a mapping with type, got None")
    section = read({"backend": "duckdb", "catalog": config})
    settings = validate(section).settings
    assert isinstance(settings, DuckDBSettings)
    options = settings.catalog.as_catalog()
    kind = str(options.pop("type"))
    secret = {*ADDRESSES, *(settings.catalog.model_extra or ())}
    return kind, MaskedOptions(
        {name: guard(value, name) if name in secret else value for name, value in options.items()},
        section.secrets,
    )
