"""Opens a lake: its catalog, its storage, and the settings that all its clients must share."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, cast

from lakebed.catalog.identity import Owned
from lakebed.catalog.opened import MEMORY, CatalogOptions, Durability, OpenedCatalog
from lakebed.catalog.protocol import ChangesSettings, RemovesGarbage
from lakebed.catalog.registry import open_catalog
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.catalog.statements.hiding import Mask
from lakebed.errors import (
    ConfigurationError,
    CorruptionError,
    LakebedError,
    StorageError,
    ValidationError,
)
from lakebed.lake.base import AutoMaintain
from lakebed.lake.checks import TTL, check_count, check_expiry, check_flag
from lakebed.lake.lake import Lake
from lakebed.lake.lazy import LakeParts, LazyLake
from lakebed.lake.ownership import BESIDE, SETTING, OwnedCatalog, Ownership
from lakebed.lake.search.options import SearchOptions, check_embedder
from lakebed.model import Progress
from lakebed.objects.opening import open_store, parse_place
from lakebed.objects.places import local_path
from lakebed.objects.store import ObjectStore
from lakebed.paths import absolute

_CONNINFO = re.compile(r"\bpassword\s*=")
DEFAULT_FOLDER = "lakebed"
DEFAULT_INLINE_THRESHOLD = 4096
CATALOG_FILE = "catalog.db"
_BEGINNINGS = frozenset(f"{CATALOG_FILE}-{part}" for part in ("journal", "wal", "shm"))
_LONGEST_WAIT = 2_000_000  # seconds: SQLite counts milliseconds in 31 bits


_NO_OPTIONS = SearchOptions()

History = Literal["snapshots", "all"]
Relocate = bool | Progress
Embedder = str | Callable[[Sequence[str]], object] | None


class _Storage(NamedTuple):
    """A storage as the caller named it. The catalog remembers `shown`."""

    store: ObjectStore | None
    shown: str


def open(
    where: str | os.PathLike[str] | None = None,
    *,
    catalog: str | Mapping[str, object] | None = None,
    storage: str | os.PathLike[str] | Mapping[str, object] | None = None,
    inline_threshold: int | None = None,
    history: History | None = None,
    history_retention: TTL | None = None,
    durability: Durability = "normal",
    lock_timeout: float = 60.0,
    auto_maintain: AutoMaintain = "light",
    embedder: Embedder = None,
    cache: str | os.PathLike[str] | None = None,
    read_only: bool = False,
    relocate: Relocate = False,
    mask: Mask = str,
) -> Lake:
    """Open a lake from a folder, or from a catalog and a storage.

    This is `lakebed.open` without configurations. `mask` removes secrets from a text: from the name
    of the catalog, and from its errors.
    """
    retention = _check_retention(history, history_retention)
    if auto_maintain not in ("off", "light", "full"):
        raise ValidationError(
            f"auto_maintain must be 'off', 'light' or 'full', got {auto_maintain!r}"
        )
    options = _check_options(inline_threshold, history, durability, lock_timeout, mask)
    check_embedder(embedder)
    cache = None if cache is None else absolute(cache)
    options = options._replace(read_only=check_flag("read_only", read_only), cache=cache)
    if relocate is not False and (storage is None or read_only):
        raise ConfigurationError(
            "relocate needs catalog and storage (the new one), and cannot be combined with "
            "read_only"
        )
    if where is not None and (catalog is not None or storage is not None):
        raise ConfigurationError(
            "where cannot be combined with catalog or storage: give one or the other"
        )
    if catalog is None and storage is None:
        opened, place = _open_where(_check_where(where), options)
    elif catalog is None:
        raise ConfigurationError(
            "storage requires catalog: add catalog='sqlite:///catalog.db', or open a folder"
        )
    else:
        place = _open_storage(storage)
        opened = open_catalog(catalog, options._replace(storage=place.store))
        if opened.persistent and place.shown.startswith("memory://"):
            opened.catalog.close()
            raise ConfigurationError(
                f"storage {place.shown} is lost when the process ends, but the catalog is kept: "
                "use a persistent storage, or an in-memory catalog with catalog='sqlite://'"
            )
    opened = opened._replace(name=mask(opened.name))
    search = SearchOptions(cache, embedder)
    return assemble(
        opened,
        place.store,
        place.shown,
        inline_threshold,
        history,
        retention,
        search,
        read_only=read_only,
        relocate=relocate,
        auto_maintain=auto_maintain,
    )


def assemble(
    opened: OpenedCatalog,
    store: ObjectStore | None,
    shown: str,
    inline_threshold: int | None = None,
    history: History | None = None,
    history_retention: int | None = None,
    search: SearchOptions = _NO_OPTIONS,
    *,
    read_only: bool = False,
    relocate: Relocate = False,
    auto_maintain: AutoMaintain = "light",
) -> Lake:
    """Make a lake of a catalog and a storage, after checking the settings that all clients
    share."""
    wanted = {
        "lake_id": os.urandom(16).hex(),
        "storage": shown,
        "inline_threshold": str(
            DEFAULT_INLINE_THRESHOLD if inline_threshold is None else inline_threshold
        ),
        "history": history or "snapshots",
        "history_retention": str(history_retention or 0),
    }
    given = {
        "storage": shown or None,
        "inline_threshold": inline_threshold,
        "history": history,
        "history_retention": history_retention,
    }
    if auto_maintain == "full" and not isinstance(opened.catalog, ChangesSettings):
        opened.catalog.close()
        raise ConfigurationError(
            f"auto_maintain='full' needs a catalog that can hold a lease, and {opened.name} cannot"
        )
    if auto_maintain == "off" and isinstance(opened.catalog, RemovesGarbage):
        opened.catalog.leave_garbage()

    def settle() -> LakeParts:
        return _settle(opened, store, wanted, given, search, read_only, relocate, auto_maintain)

    if opened.lazy:
        return LazyLake(settle, opened.catalog.close, read_only=read_only)
    try:
        lake = Lake(**settle())
    except LakebedError:
        opened.catalog.close()
        raise
    lake._maintain_by_itself()
    return lake


def _settle(
    opened: OpenedCatalog,
    store: ObjectStore | None,
    wanted: Mapping[str, str],
    given: Mapping[str, object],
    search: SearchOptions,
    read_only: bool,
    relocate: Relocate,
    auto_maintain: AutoMaintain,
) -> LakeParts:
    """Return the parts of a lake. Raises ConfigurationError if a given setting differs from the
    lake's."""
    found = opened.catalog.settings(wanted)
    if read_only and not found.keys() - {"schema_version"}:
        raise ConfigurationError(
            f"the catalog {opened.name} holds no lake, and read_only=True does not create one"
        )
    if lost := sorted(wanted.keys() - found.keys()):
        raise CorruptionError(
            f"the catalog {opened.name} is damaged: the setting {lost[0]!r} is missing"
        )
    moved = relocate is not False and found["storage"] != wanted["storage"]
    if moved:
        from lakebed.lake.relocating import relocate as move  # a first store must not load it

        move(opened, store, wanted["storage"], found, relocate if callable(relocate) else None)
        found = {**found, "storage": wanted["storage"]}
    for name, value in given.items():
        if value is not None and str(value) != found[name]:
            raise ConfigurationError(
                f"{name} is {str(value)!r}, but the lake was created with {found[name]!r}: "
                "leave it out or give the same value"
                + (
                    "; if its objects have been copied there, relocate the lake"
                    * (name == "storage")
                )
            )
    if store is None and found["storage"] == BESIDE:
        raise ConfigurationError(
            f"the catalog {opened.name} belongs to a lake in a folder: open the folder"
        )
    if store is None and found["storage"]:
        store = _open_storage(found["storage"]).store
    owner = None
    new = found["lake_id"] == wanted["lake_id"]
    if store is not None and found["storage"] != BESIDE and opened.persistent and not read_only:
        owner = _ownership(opened, store, found, new=new)
        if moved and owner is not None:
            owner.arrive()
    return {
        "catalog": opened.catalog,
        "objects": store,
        "name": opened.name,
        "inline_threshold": int(found["inline_threshold"]),
        "history": found["history"],
        "history_retention": int(found["history_retention"]) or None,
        "lake_id": found["lake_id"],
        "search": search,
        "read_only": read_only or (owner is not None and owner.refusal is not None),
        "owner": owner,
        "auto_maintain": auto_maintain,
        "created": new,
    }


def _ownership(
    opened: OpenedCatalog, store: ObjectStore, found: Mapping[str, str], *, new: bool
) -> Ownership | None:
    """Return the guard of a storage that is apart from its catalog. None if the catalog cannot be
    told from its copies, as some outside catalogs."""
    if not isinstance(opened.catalog, Owned) or opened.catalog.identity() is None:
        return None
    catalog = cast("OwnedCatalog", opened.catalog)
    owner = Ownership(catalog, store, found["lake_id"], opened.name)
    owner.begin(found.get(SETTING), new=new)
    return owner


def _check_options(
    inline_threshold: int | None,
    history: object,
    durability: object,
    lock_timeout: object,
    mask: Mask,
) -> CatalogOptions:
    if inline_threshold is not None:
        check_count("inline_threshold", inline_threshold)
    if history not in (None, "snapshots", "all"):
        raise ValidationError(f"history must be 'snapshots' or 'all', got {history!r}")
    if durability != "normal" and durability != "full":
        raise ValidationError(f"durability must be 'normal' or 'full', got {durability!r}")
    if (
        isinstance(lock_timeout, bool)
        or not isinstance(lock_timeout, (int, float))
        or not 0 <= lock_timeout <= _LONGEST_WAIT
    ):
        raise ValidationError(
            f"lock_timeout must be 0 to {_LONGEST_WAIT:,} seconds, got {lock_timeout!r}"
        )
    return CatalogOptions(durability, float(lock_timeout), mask=mask)


def _check_retention(history: object, retention: TTL | None) -> int | None:
    """Return the retention in microseconds."""
    if retention is None:
        return None
    if history != "all":
        raise ValidationError("history_retention requires history='all'")
    try:
        return check_expiry(retention, None)[0]
    except ValidationError as error:
        raise ValidationError(str(error).replace("ttl", "history_retention")) from None


def _check_where(where: object) -> str:
    if where is None:
        return DEFAULT_FOLDER
    path = os.fspath(where) if isinstance(where, os.PathLike) else where
    if not isinstance(path, str):
        raise ValidationError(f"where must be the path of a folder, got {type(where).__name__}")
    if not path:
        raise ConfigurationError(
            f"where must not be empty: name a folder, or leave it out for ./{DEFAULT_FOLDER}"
        )
    return path


def check_folder(where: str) -> None:
    """Refuse libpq's address of a database as the name of a folder. It would be shown, password
    included, wherever the folder is."""
    if _CONNINFO.search(where):
        raise ConfigurationError(
            "where must be a folder, got libpq's host=… password=…: write it in a configuration "
            "file, as connection_string of a catalog of type postgres"
        )


def _open_where(where: str, options: CatalogOptions) -> tuple[OpenedCatalog, _Storage]:
    check_folder(where)
    if where == MEMORY:
        return open_sqlite(None, options), _Storage(None, "")
    if "://" in where:
        scheme = where.partition("://")[0]
        raise ConfigurationError(
            f"where must be a folder, got an address ({scheme}://…): name the catalog too, "
            + (
                f"lakebed.open(catalog='sqlite:///catalog.db', storage='{scheme}://…')"
                if scheme not in ("postgresql", "postgres", "mysql", "mariadb", "sqlite")
                else f"lakebed.open(catalog='{scheme}://…', storage='…')"
            )
        )
    path = local_path(where)
    assert path is not None
    return _open_folder(where, absolute(os.path.expanduser(path)), options)


def _open_folder(where: str, path: str, options: CatalogOptions) -> tuple[OpenedCatalog, _Storage]:
    try:
        exists = os.path.exists(path)
        if exists and not os.path.isdir(path):
            raise ConfigurationError(
                f"{where} is a file, but a lake needs a folder; to use a SQLite file as the "
                f"catalog, write lakebed.open(catalog='sqlite:///{where}', storage='…')"
            )
        names = set(os.listdir(path) if exists else ())
        if CATALOG_FILE not in names and not names <= _BEGINNINGS:
            if names <= _BEGINNINGS | {"objects", "packs"}:
                raise ConfigurationError(
                    f"{path} holds the objects of a lake, but its {CATALOG_FILE} is missing: put "
                    "it back, make it anew from a backup (`lakebed rebuild-catalog`), or name a "
                    "new folder"
                )
            raise ConfigurationError(
                f"{path} is not a lake: it holds other files ({min(names)!r}, …); name an empty "
                "or a new folder"
            )
        if options.read_only and CATALOG_FILE not in names:
            raise ConfigurationError(
                f"{path} is not a lake, and read_only=True does not create one"
            )
        if not options.read_only:
            os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot open the folder {path}: {error.strerror}") from error
    catalog = open_sqlite(os.path.join(path, CATALOG_FILE), options)
    return catalog, _Storage(open_store(path), BESIDE)


def _open_storage(storage: object) -> _Storage:
    if storage is None:
        return _Storage(None, "")
    uri, options = parse_place("storage", storage)
    return _Storage(open_store(uri, options), uri)
