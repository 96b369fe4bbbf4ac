"""Which catalogs there are, and how each is named and opened."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from lakebed.catalog.protocol import Catalog
from lakebed.catalog.sqlite.catalog import SQLiteCatalog
from lakebed.catalog.sqlite.executor import Durability, SQLiteExecutor
from lakebed.catalog.statements.hiding import Mask
from lakebed.clock import Clock, system_clock
from lakebed.errors import ConfigurationError, ValidationError
from lakebed.paths import absolute

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

MEMORY = ":memory:"
ENTRY_POINTS = "lakebed.catalogs"
"""The group of entry points by which an installed package offers catalogs: type = module:opener."""
_SYNONYMS = ("url", "connection_string", "path")


class CatalogOptions(NamedTuple):
    """What `lakebed.open` passes to every catalog. `mask` makes of a text, such as an error's, what
    may be shown of it: parts of the address may be secrets. `read_only`: nothing is to be written,
    and writing calls raise ReadOnlyError."""

    durability: Durability = "normal"
    lock_timeout: float = 60.0
    clock: Clock = system_clock
    mask: Mask = str
    read_only: bool = False


class OpenedCatalog(NamedTuple):
    """A catalog, its name for people, whether it outlives the process, and whether its settings are
    first read when it is first used."""

    catalog: Catalog
    name: str
    persistent: bool
    lazy: bool = False


Opener = Callable[[Mapping[str, object], CatalogOptions], OpenedCatalog]
"""Opens a catalog. Takes the options of its mapping, without `type`, where `url`,
`connection_string` and `path` have become `url`; refuses those that it does not know."""

_openers: dict[str, Opener | str] = {
    "sqlite": "lakebed.catalog.registry:open_sqlite_mapping",
    "postgres": "lakebed.catalog.postgres.opening:open_postgres",
    "sqlalchemy": "lakebed.catalog.sqlalchemy.opening:open_sqlalchemy",
    "mysql": "lakebed.catalog.sqlalchemy.opening:open_mysql",
    "mariadb": "lakebed.catalog.sqlalchemy.opening:open_mysql",
}
_schemes = {"sqlite": "sqlite", "postgresql": "postgres", "postgres": "postgres"}
_schemes |= {"mysql": "mysql", "mariadb": "mariadb", "mysql+pymysql": "mysql"}
_schemes |= {"mariadb+pymysql": "mariadb"}


def _installed() -> "EntryPoints":
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


def refuse_unknown(given: Mapping[str, object], known: Sequence[str]) -> None:
    """ConfigurationError for an option that a catalog does not know."""
    for name in given:
        if name not in known:
            raise ConfigurationError(
                f"catalog: unknown option {name!r}: expected {', '.join(map(repr, known))}"
            )


def open_sqlite(path: str | os.PathLike[str] | None, options: CatalogOptions) -> OpenedCatalog:
    """The catalog in a SQLite file, or in memory if `path` is None."""
    if options.read_only:
        return _open_reader(path, options)
    executor = SQLiteExecutor(
        path,
        durability=options.durability,
        lock_timeout=options.lock_timeout,
        clock=options.clock,
        mask=options.mask,
    )
    name = MEMORY if path is None else f"sqlite:///{path}"
    return OpenedCatalog(SQLiteCatalog(executor), name, path is not None)


def _open_reader(path: str | os.PathLike[str] | None, options: CatalogOptions) -> OpenedCatalog:
    if path is None:
        raise ConfigurationError("a catalog in memory begins empty: it has nothing to read_only")
    from lakebed.catalog.sqlite.reading import SQLiteReader

    reader = SQLiteReader(path, clock=options.clock, mask=options.mask)
    return OpenedCatalog(SQLiteCatalog(reader), f"sqlite:///{path}", True)


def open_sqlite_mapping(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """The catalog of `{"type": "sqlite", "path": …}`, a path or a URL."""
    refuse_unknown({name: None for name in given if name != "url"}, ("path",))
    path = given.get("url")
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ConfigurationError("catalog.path: expected the path of the SQLite file")
    if isinstance(path, str) and path.startswith("sqlite://"):
        rest = path.removeprefix("sqlite://")
        if rest in ("", "/", f"/{MEMORY}"):
            return open_sqlite(None, options)
        if not rest.startswith("/"):
            raise ConfigurationError(
                f"catalog: {path!r} names a host: write sqlite:///{rest} for a relative path"
            )
        path = rest[1:]
    return open_sqlite(None if path == MEMORY else absolute(path), options)
