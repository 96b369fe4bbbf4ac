"""The known catalogs: how each is named and opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lakebed.catalog.opened import CatalogOptions, OpenedCatalog
from lakebed.errors import ConfigurationError, ValidationError
from lakebed.suggestions import closest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

__all__ = [
    "CatalogOptions",
    "OpenedCatalog",
    "Opener",
    "catalog_of_scheme",
    "known_catalogs",
    "open_catalog",
    "register_catalog_backend",
]

ENTRY_POINTS = "lakebed.catalogs"
"""The group of entry points with which installed packages offer catalogs: type = module:opener."""
_SYNONYMS = ("url", "connection_string", "path")


Opener = Callable[[Mapping[str, object], CatalogOptions], OpenedCatalog]
"""Opens a catalog. Takes the options of its mapping, without `type`, where `url`,
`connection_string` and `path` have become `url`; refuses those that it does not know."""

_openers: dict[str, Opener | str] = {
    "sqlite": "lakebed.catalog.sqlite.opening:open_sqlite_mapping",
    "postgres": "lakebed.catalog.postgres.opening:open_postgres",
    "sqlalchemy": "lakebed.catalog.sqlalchemy.opening:open_sqlalchemy",
    "mysql": "lakebed.catalog.sqlalchemy.opening:open_mysql",
    "mariadb": "lakebed.catalog.sqlalchemy.opening:open_mysql",
    "litestream": "lakebed.catalog.litestream.opening:open_litestream",
    "turso": "lakebed.catalog.hrana.opening:open_turso",
    "bucket": "lakebed.catalog.log.stores.bucket:open_bucket",
    "blob-sqlite": "lakebed.catalog.log.stores.bucket:open_blob_sqlite",
    "dynamodb": "lakebed.catalog.log.stores.dynamodb:open_dynamodb",
    "firestore": "lakebed.catalog.log.stores.firestore:open_firestore",
    "mongodb": "lakebed.catalog.log.stores.mongodb:open_mongodb",
    "d1": "lakebed.catalog.log.stores.d1:open_d1",
    "redis": "lakebed.catalog.log.stores.redis:open_redis",
}
_schemes = {"sqlite": "sqlite", "postgresql": "postgres", "postgres": "postgres"}
_schemes["libsql"] = "turso"
_schemes |= {"mysql": "mysql", "mariadb": "mariadb", "mysql+pymysql": "mysql"}
_schemes |= {"mariadb+pymysql": "mariadb", "bucket": "bucket"}
_schemes |= {"mongodb": "mongodb", "mongodb+srv": "mongodb"}
_schemes |= {kind: kind for kind in ("dynamodb", "firestore", "d1")}
_schemes |= {"redis": "redis", "rediss": "redis"}


def _installed() -> EntryPoints:
    """Return what installed packages offer. The module that finds them is slow to load."""
    from importlib import metadata

    return metadata.entry_points(group=ENTRY_POINTS)


def register_catalog_backend(
    type: str,  # noqa: A002 - the word of the mapping
    opener: Opener,
    *,
    schemes: Sequence[str] = (),
) -> None:
    """Register a catalog for `lakebed.open(catalog={"type": …})` and for its URLs.

    `opener`: see `Opener`. `schemes`: the schemes of its URLs. A type or scheme that is known
    already gets this meaning. Installed packages use an entry point of the group `lakebed.catalogs`
    instead.
    """
    _openers[type] = opener
    _schemes.update(dict.fromkeys(schemes, type))


def known_catalogs() -> set[str]:
    """Return the types that a mapping may name, including those of installed packages."""
    return {*_openers, *(point.name for point in _installed())}


def catalog_of_scheme(scheme: str) -> str:
    """Return the type of catalog that a URL's scheme means. Any unknown scheme means SQLAlchemy."""
    return _schemes.get(scheme, "sqlalchemy")


def _check_scheme(scheme: str) -> None:
    """Refuse a mistyped scheme. If SQLAlchemy is installed, it judges unknown schemes instead."""
    if scheme in _schemes or scheme.partition("+")[0] in _schemes or find_spec("sqlalchemy"):
        return
    near = closest(scheme, _schemes)
    if near is not None:
        raise ConfigurationError(
            f"{scheme}:// is not a known catalog: did you mean {near}://? For other "
            "databases of SQLAlchemy: pip install 'lakebed[sqlalchemy]'"
        )


def open_catalog(spec: object, options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog that a URL (`sqlite:///path`) or a mapping with `type` names."""
    if isinstance(spec, str):
        scheme, separator, _ = spec.partition("://")
        if not separator and spec in known_catalogs():
            raise ConfigurationError(
                f"catalog must be a URL or a mapping: for {spec!r} write "
                f"catalog={{'type': {spec!r}, …}}"
            )
        if not separator:
            raise ConfigurationError(
                # Not shown: it may be libpq's "host=… password=…".
                "catalog must be a URL: expected sqlite:///path (three slashes for a relative "
                "path, four for an absolute one), postgresql://host/database, "
                "mysql://host/database, or another of SQLAlchemy"
            )
        _check_scheme(scheme)
        return _opener(catalog_of_scheme(scheme))({"url": spec}, options)
    if isinstance(spec, Mapping):
        kind = spec.get("type")
        given = {str(name): value for name, value in spec.items() if name != "type"}
        return _opener(kind)(_one_address(given), options)
    raise ValidationError(
        "catalog must be a URL such as 'sqlite:///lake.db' or a mapping with 'type', got "
        f"{type(spec).__name__}"
    )


def _opener(kind: object) -> Opener:
    opener = _openers.get(kind) if isinstance(kind, str) else None
    if opener is None:
        for point in _installed():
            if point.name == kind:
                opener = _openers[point.name] = point.load()
    if opener is None:
        known = " or ".join(map(repr, sorted(known_catalogs())))
        raise ConfigurationError(f"catalog.type is {kind!r}: expected {known}")
    if isinstance(opener, str):
        module, _, name = opener.partition(":")
        loaded: Opener = getattr(import_module(module), name)
        return loaded
    return opener


def _one_address(given: dict[str, object]) -> dict[str, object]:
    """Return the options with the address under `url`, whichever of its names was used."""
    names = [name for name in _SYNONYMS if given.get(name) is not None]
    if len(names) > 1:
        raise ConfigurationError(
            f"catalog: {names[0]} and {names[1]} cannot be combined: give one of them"
        )
    others = {name: value for name, value in given.items() if name not in _SYNONYMS}
    return others | ({"url": given[names[0]]} if names else {})
