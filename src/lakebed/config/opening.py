"""Opens a lake: one call for folders, catalogs and configurations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lakebed.catalog.opened import Durability
from lakebed.errors import ConfigurationError
from lakebed.lake import opening
from lakebed.lake.base import AutoMaintain
from lakebed.lake.checks import TTL
from lakebed.lake.lake import Lake
from lakebed.lake.lazy import LazyLake
from lakebed.lake.opening import CATALOG_FILE, DEFAULT_FOLDER, Embedder, History, Relocate
from lakebed.objects.store import GivesUp
from lakebed.paths import absolute

if TYPE_CHECKING:
    from lakebed.config.settings.base import Settings
    from lakebed.lake.catalog_backend import CatalogBackend

CONFIGURATION_FILE = "lakebed.yaml"
_TIMEOUTS = {
    **dict.fromkeys(("postgres", "sqlalchemy", "mysql", "mariadb"), "timeout"),
    "litestream": "fence_timeout",
}
"""The options of catalogs that limit how long opening waits."""
_SUFFIXES = (".yaml", ".yml")


def open(
    where: str | os.PathLike[str] | Mapping[str, object] | None = None,
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
) -> Lake:
    """Open a lake, and create it if it does not exist.

        lakebed.open()                      # ./lakebed.yaml, or the folder ./lakebed
        lakebed.open("some/dir")            # a local lake there
        lakebed.open(":memory:")            # gone when closed
        lakebed.open("lakebed.yaml")        # from a configuration
        lakebed.open(catalog="sqlite:///names.db", storage="s3://bucket/prefix")

    `where`: a folder that does not exist, is empty or is a lake; `":memory:"`; or a configuration:
    a file that ends in `.yaml` or `.yml`, or its content as a mapping. A configuration can be
    combined only with `read_only` and `relocate`.
    `catalog`: a URL, or a mapping with `type` and its options. For `postgres` these include `host`,
    `provider` and `credentials`. Cannot be combined with `where`.
    `storage`: a path, a URI that fsspec knows, or a mapping with `uri` and the filesystem's
    options. Without a storage, all values stay in the catalog (at most 64 MiB each). Cannot be
    combined with `where`.
    `inline_threshold`: values of up to this many bytes stay in the catalog (default 4096).
    `history`: `"snapshots"` (default) keeps the versions that snapshots see, `"all"` keeps all.
    `history_retention`: how long `"all"` keeps replaced versions that no snapshot sees: seconds, a
    timedelta, or text such as `"30d"`; for ever if left out. `maintain` removes older ones.
    `durability`: with `"normal"` (default) acknowledged writes survive killed processes, but a loss
    of power may drop the last commits of a SQLite catalog; `"full"` waits for the disk at each
    commit. In both cases, objects reach the disk before they are named.
    `lock_timeout`: how many seconds a write waits for others (default 60).
    `auto_maintain`: the upkeep that happens by itself. With `"light"` (default), writes remove
    small contents that nothing refers to any more. With `"off"`, only `maintain` and `collect`
    remove them. With `"full"`, a process that keeps the lake open for more than a minute also
    maintains it in the background, about every ten minutes. Only one process does so at a time.
    `embedder`: turns texts into vectors, for a search by meaning: `"minilm"` or `"e5"` (extra
    `embed`), or a callable that takes a list of texts and returns a matrix of floats with one row
    per text. A lake remembers the embedder of its vectors and refuses any other.
    `cache`: the folder for copies of the search index, safe to delete (default `~/.cache/lakebed`).
    `read_only`: open the lake for reading, search and SQL only. No file is created or changed, so a
    read-only disk is enough. Every call that writes raises ReadOnlyError.
    `relocate`: True if the objects were copied to `storage` and the lake must use that storage from
    now on. If objects are missing there, StorageError names them. A function in place of True is
    called with the number of objects checked so far.

    `inline_threshold`, `history` and `history_retention` are fixed when the lake is created. Later,
    leave them out or give the same values.

    Raises ConfigurationError if arguments cannot be combined, or if a configuration is invalid: it
    then names the path of every invalid setting. Raises ValidationError for a malformed argument;
    ConnectError if a server cannot be reached; DependencyMissingError, with the pip command, if a
    driver is not installed; StorageError if a folder cannot be written; CorruptionError if the
    catalog is damaged; CatalogError if a newer version of Lakebed wrote it.
    """
    if where is None and catalog is None and storage is None:
        where = default_place()
        if where != DEFAULT_FOLDER:
            import logging  # imported here: opening a local folder does not need it

            logging.getLogger("lakebed.config").info("config: %s", where)
    if where is None or not (isinstance(where, Mapping) or is_configuration_file(where)):
        return opening.open(
            where,
            catalog=_full_catalog(catalog),
            storage=storage,
            inline_threshold=inline_threshold,
            history=history,
            history_retention=history_retention,
            durability=durability,
            lock_timeout=lock_timeout,
            auto_maintain=auto_maintain,
            embedder=embedder,
            cache=cache,
            read_only=read_only,
            relocate=relocate,
        )
    beside = {
        "catalog": catalog,
        "storage": storage,
        "inline_threshold": inline_threshold,
        "history": history,
        "history_retention": history_retention,
        "durability": None if durability == "normal" else durability,
        "lock_timeout": None if lock_timeout == 60.0 else lock_timeout,
        "auto_maintain": None if auto_maintain == "light" else auto_maintain,
        "embedder": embedder,
        "cache": cache,
    }
    for name, value in beside.items():
        if value is not None:
            raise ConfigurationError(
                f"{name} cannot be combined with a configuration: write it in the configuration"
            )
    from lakebed.config.reading.loading import load

    return open_settings(load(where).settings, read_only=read_only, relocate=relocate)


def create_catalog_backend(
    type: str,  # noqa: A002
    *,
    storage: str | os.PathLike[str] | Mapping[str, object] | None = None,
    **options: object,
) -> CatalogBackend:
    """Open a catalog by its type: `sqlite`, `postgres`, or a registered one.

    `options`: the options of the catalog. `url`, `connection_string` and `path` mean the same. For
    `postgres` they include `host`, `provider`, `credentials` and all others of a configuration.
    `storage`: as `lakebed.open` takes it.

    Raises ConfigurationError for an unknown type or option; DependencyMissingError, with the pip
    command, if the driver is not installed; ConnectError if the server cannot be reached.
    """
    from lakebed.lake.catalog_backend import CatalogBackend

    return CatalogBackend(open(catalog={"type": type, **options}, storage=storage))


def _full_catalog(
    catalog: str | Mapping[str, object] | None,
) -> str | Mapping[str, object] | None:
    """Return a catalog. For Postgres, turn the server's settings into an address and a login."""
    if not isinstance(catalog, Mapping) or catalog.get("type") != "postgres":
        return catalog
    from lakebed.catalog.postgres.opening import KNOWN

    address = any(catalog.get(name) for name in ("connection_string", "url", "path"))
    if address and {*KNOWN, "type", "url", "path"}.issuperset(catalog):
        return catalog
    from lakebed.config.reading.validation import validate_model
    from lakebed.config.settings.catalogs import PostgresCatalogSettings

    # These are functions: a program can give them, a file cannot.
    own = {name: catalog[name] for name in ("lazy", "login") if name in catalog}
    given = {name: value for name, value in catalog.items() if name not in own}
    return validate_model(PostgresCatalogSettings, given, "", ("catalog",)).as_catalog() | own


def open_settings(
    settings: Settings,
    *,
    read_only: bool = False,
    relocate: Relocate = False,
    storage: str | None = None,
    timeout: float | None = None,
) -> Lake:
    """Open the lake of validated settings.

    `storage`: another URI for the storage; its options stay. `timeout`: how many seconds to wait
    for a server, a bucket or a lock.
    """
    with settings.hiding():
        options = settings.open_options()
        if storage is not None:
            given = options.get("storage")
            options["storage"] = (
                {**given, "uri": storage} if isinstance(given, Mapping) else storage
            )
        if relocate is not False:
            options["relocate"] = relocate
        if timeout is not None:
            options = _within(options, timeout)
        if read_only:
            options["read_only"] = True
        lake = opening.open(**options, mask=settings.mask)
        if timeout is not None:
            _give_up_after(lake, timeout)
    if isinstance(lake, LazyLake):
        lake.connect_within(settings.hiding)
    return lake


def open_within(where: str, timeout: float, *, read_only: bool, **settings: Any) -> Lake:
    """Open a lake by a folder, the URL of a catalog or a configuration file. Wait at most `timeout`
    seconds for its servers, bucket and locks.

    `settings`: other arguments of `open`.
    """
    if is_configuration_file(where):
        from lakebed.config.reading.loading import load

        return open_settings(load(where).settings, read_only=read_only, timeout=timeout)
    options: dict[str, Any] = {"where": where, "lock_timeout": timeout}
    if "://" in where:
        from lakebed.config.settings.catalogs import long_form

        options = _within({"catalog": long_form(where)}, timeout)
    lake = opening.open(**options, read_only=read_only, **settings)
    _give_up_after(lake, timeout)
    return lake


def _within(options: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Return the arguments of `open`, changed to wait at most `timeout` seconds."""
    catalog = options.get("catalog")
    shorter = {"lock_timeout": min(timeout, options.get("lock_timeout", timeout))}
    if isinstance(catalog, Mapping) and (name := _TIMEOUTS.get(str(catalog.get("type")))):
        shorter["catalog"] = {**catalog, name: min(timeout, catalog.get(name, timeout))}
    return {**options, **shorter}


def _give_up_after(lake: Lake, timeout: float) -> None:
    if lake._objects is not None and isinstance(lake._objects, GivesUp):
        lake._objects.give_up_after(timeout)


def default_place() -> str:
    """Return the default place: `./lakebed.yaml` if it exists, else the folder `./lakebed`.

    Raises ConfigurationError if the folder holds a lake and the file names another one.
    """
    if not os.path.exists(CONFIGURATION_FILE):
        return DEFAULT_FOLDER
    if os.path.exists(os.path.join(DEFAULT_FOLDER, CATALOG_FILE)):
        from lakebed.config.reading.loading import load

        meant = load(CONFIGURATION_FILE).settings.place().get("where")
        if meant != absolute(DEFAULT_FOLDER):
            raise ConfigurationError(
                f"{CONFIGURATION_FILE} names another lake than the one in the folder "
                f"{DEFAULT_FOLDER}: name the one that you want, {CONFIGURATION_FILE!r} or "
                f"{DEFAULT_FOLDER!r}"
            )
    return CONFIGURATION_FILE


def is_configuration_file(where: object) -> bool:
    """Return whether `lakebed.open` takes `where` for a configuration file. Its ending decides."""
    return isinstance(where, (str, os.PathLike)) and os.fspath(where).endswith(_SUFFIXES)
