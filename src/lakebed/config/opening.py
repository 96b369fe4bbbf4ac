"""Opening a lake: one call for folders, catalogs and configurations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakebed.catalog.opened import Durability
from lakebed.errors import ConfigurationError
from lakebed.lake import opening
from lakebed.lake.checks import TTL
from lakebed.lake.lake import Lake
from lakebed.lake.lazy import LazyLake
from lakebed.lake.opening import CATALOG_FILE, DEFAULT_FOLDER, Embedder, History
from lakebed.paths import absolute

if TYPE_CHECKING:
    from lakebed.config.models import Settings

CONFIGURATION_FILE = "lakebed.yaml"
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
    embedder: Embedder = None,
    cache: str | os.PathLike[str] | None = None,
    read_only: bool = False,
) -> Lake:
    """Open a lake, and create it if it does not exist.

        lakebed.open()                      # ./lakebed.yaml if it exists, or the folder ./lakebed
        lakebed.open("some/dir")            # a local lake there
        lakebed.open(":memory:")            # gone when closed
        lakebed.open("lakebed.yaml")        # from a configuration
        lakebed.open(catalog="sqlite:///names.db", storage="s3://bucket/prefix")

    `where`: a folder that does not exist, is empty or is a lake; `":memory:"`; or a configuration:
    a file that ends in `.yaml` or `.yml`, or its content as a mapping. With a configuration, give
    no other argument but `read_only`.
    `catalog`: a URL, or a mapping with `type` and its options. Cannot be combined with `where`.
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
    `embedder`: turns texts into vectors, for a search by meaning: `"minilm"` or `"e5"` (extra
    `embed`), or a callable that takes a list of texts and returns a matrix of floats, one row for
    each text. A lake remembers which one made its vectors and refuses any other.
    `cache`: the folder for copies of the search index, safe to delete (default `~/.cache/lakebed`).
    `read_only`: reading calls, search and SQL work, even where nothing can be written, such as on a
    read-only disk. No file is touched or created, and every call that writes raises ReadOnlyError.

    `inline_threshold`, `history` and `history_retention` are fixed when the lake is created. Later,
    leave them out or give the same values.

    Raises ConfigurationError if the lake cannot be opened in this way, with what to write instead,
    and, for a configuration, with the path of every invalid setting; ValidationError for a
    malformed argument; ConnectError if a server cannot be reached; DependencyMissingError, with the
    pip command, if a driver is not installed; StorageError if a folder cannot be written;
    CorruptionError for a damaged catalog; CatalogError for one that a newer version wrote.
    """
    if where is None and catalog is None and storage is None:
        where = default_place()
        if where != DEFAULT_FOLDER:
            import logging  # not for a first store

            logging.getLogger("lakebed.config").info("config: %s", where)
    if where is None or not (isinstance(where, Mapping) or is_configuration_file(where)):
        return opening.open(
            where,
            catalog=catalog,
            storage=storage,
            inline_threshold=inline_threshold,
            history=history,
            history_retention=history_retention,
            durability=durability,
            lock_timeout=lock_timeout,
            embedder=embedder,
            cache=cache,
            read_only=read_only,
        )
    beside = {
        "catalog": catalog,
        "storage": storage,
        "inline_threshold": inline_threshold,
        "history": history,
        "history_retention": history_retention,
        "durability": None if durability == "normal" else durability,
        "lock_timeout": None if lock_timeout == 60.0 else lock_timeout,
        "embedder": embedder,
        "cache": cache,
    }
    for name, value in beside.items():
        if value is not None:
            raise ConfigurationError(
                f"{name} cannot be combined with a configuration: write it in the configuration"
            )
    from lakebed.config.loading import load

    return open_settings(load(where).settings, read_only=read_only)


def open_settings(settings: Settings, *, read_only: bool = False) -> Lake:
    """Open the lake of settings that are validated."""
    with settings.hiding():
        options = settings.open_options()
        if read_only:
            options["read_only"] = True
        lake = opening.open(**options, mask=settings.mask)
    if isinstance(lake, LazyLake):
        lake.connect_within(settings.hiding)
    return lake


def default_place() -> str:
    """Return what is opened by default: `./lakebed.yaml` if it exists, or the folder `./lakebed`.

    Raises ConfigurationError if the folder holds a lake and the file names another one.
    """
    if not os.path.exists(CONFIGURATION_FILE):
        return DEFAULT_FOLDER
    if os.path.exists(os.path.join(DEFAULT_FOLDER, CATALOG_FILE)):
        from lakebed.config.loading import load

        meant = load(CONFIGURATION_FILE).settings.place().get("where")
        if meant != absolute(DEFAULT_FOLDER):
            raise ConfigurationError(
                f"both {CONFIGURATION_FILE} and a lake in the folder {DEFAULT_FOLDER} are here, "
                "and the file names another lake: name the one that you want, "
                f"{CONFIGURATION_FILE!r} or {DEFAULT_FOLDER!r}"
            )
    return CONFIGURATION_FILE


def is_configuration_file(where: object) -> bool:
    """Whether `lakebed.open` reads it as a configuration file, judged by its suffix."""
    return isinstance(where, (str, os.PathLike)) and os.fspath(where).endswith(_SUFFIXES)
