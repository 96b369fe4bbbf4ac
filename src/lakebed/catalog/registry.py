"""Which catalogs there are, and how each is named and opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from lakebed.catalog.opened import CatalogOptions, OpenedCatalog
from lakebed.errors import ConfigurationError, ValidationError

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
"""The group of entry points by which an installed package offers catalogs: type = module:opener."""
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
}
_schemes = {"sqlite": "sqlite", "postgresql": "postgres", "postgres": "postgres"}
_schemes |= {"mysql": "mysql", "mariadb": "mariadb", "mysql+pymysql": "mysql"}
_schemes |= {"mariadb+pymysql": "mariadb"}


def _installed() -> EntryPoints:
    """What installed packages offer; the machinery that finds them is slow to load."""
    from importlib import metadata

    return metadata.entry_points(group=ENTRY_POINTS)


def register_catalog_backend(
    type: str,  # noqa: A002 - the word of the mapping
    opener: Opener,
    *,
    schemes: Sequence[str] = (),
) -> None:
    """Make a catalog known, for `lakebed.open(catalog={"type": …})` and its URLs.

    `opener`: see `Opener`. `schemes`: the schemes of the URLs that mean it. A type or scheme that
    is known already gets this meaning. Installed packages register theirs by an entry point of the
    group `lakebed.catalogs` instead.
    """
    _openers[type] = opener
    _schemes.update(dict.fromkeys(schemes, type))


def known_catalogs() -> set[str]:
    """The types that a mapping may name, those of installed packages included."""
    return {*_openers, *(point.name for point in _installed())}


def catalog_of_scheme(scheme: str) -> str:
    """The type of catalog that the URLs of a scheme mean: SQLAlchemy's for any other."""
    return _schemes.get(scheme, "sqlalchemy")


def open_catalog(spec: object, options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog that a URL (`sqlite:///path`) or a mapping with `type` names."""
    if isinstance(spec, str):
        scheme, separator, _ = spec.partition("://")
        if not separator:
            raise ConfigurationError(
                # Not shown: it may be libpq's "host=… password=…".
                "catalog: it is no URL: expected sqlite:///path (three slashes for a relative "
                "path, four for an absolute one), postgresql://host/database, "
                "mysql://host/database, or another of SQLAlchemy"
            )
        return _opener(catalog_of_scheme(scheme))({"url": spec}, options)
    if isinstance(spec, Mapping):
        kind = spec.get("type")
        given = {str(name): value for name, value in spec.items() if name != "type"}
        return _opener(kind)(_one_address(given), options)
    raise ValidationError(
        f"catalog is of type {type(spec).__name__}: expected a URL such as 'sqlite:///lake.db' or "
        "a mapping with 'type'"
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
    """The options with the address under `url`, by whichever of its names it was given."""
    names = [name for name in _SYNONYMS if given.get(name) is not None]
    if len(names) > 1:
        raise ConfigurationError(
            f"catalog: {names[0]} and {names[1]} are both given: expected one of them"
        )
    others = {name: value for name, value in given.items() if name not in _SYNONYMS}
    return others | ({"url": given[names[0]]} if names else {})
