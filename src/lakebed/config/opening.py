"""Opening a lake: the one call for folders, catalogs and configurations."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lakebed.catalog.opened import Durability
from lakebed.errors import ConfigurationError
from lakebed.lake import opening
from lakebed.lake.checks import TTL
from lakebed.lake.lake import Lake
from lakebed.lake.lazy import LazyLake
from lakebed.lake.opening import CATALOG_FILE, DEFAULT_FOLDER, Embedder, History
from lakebed.paths import absolute

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
    """Open a lake, and create it if it is not there.

        lakebed.open()                      # ./lakebed.yaml if it is there, or the folder ./lakebed
        lakebed.open("some/dir")            # a local lake there
        lakebed.open(":memory:")            # gone when closed
        lakebed.open("lakebed.yaml")        # from a configuration
        lakebed.open(catalog="sqlite:///names.db", storage="s3://bucket/prefix")

    `where`: a folder, which is missing, empty or a lake; `":memory:"`; or a configuration, a file
    that ends in `.yaml` or `.yml`, or its content as a mapping, beside which nothing else is given.
    `catalog`: a URL, or a mapping with `type` and its options. `storage`: a path, a URI that fsspec
    knows, or a mapping with `uri` and the filesystem's options; without one, all values stay in the
    catalog (at most 64 MiB each). Neither goes with `where`.
    `inline_threshold`: values up to so many bytes stay in the catalog (default 4096).
    `history`: `"snapshots"` (default) keeps the versions that snapshots see, `"all"` keeps all.
    `history_retention`: for how long `"all"` keeps replaced versions that no snapshot sees, in
    seconds, as a timedelta, or as text such as `"30d"`; left out, for ever. `maintain` removes what
    is older.
    `durability`: `"normal"` (default) survives killed processes, and a loss of power may drop the
    last commits of a SQLite catalog; `"full"` waits for the disk at each commit. Objects reach the
    disk before they are named either way.
    `lock_timeout`: how long a write waits for others, in seconds.
    `embedder`: what makes vectors of texts, for a search by meaning: `"minilm"` or `"e5"` (extra
    `embed`), or a callable that takes a list of texts and gives a matrix of floats, a row a text.
    A lake remembers which one made its vectors and refuses another.
    `cache`: the folder for copies of the search index, safe to delete (default `~/.cache/lakebed`).
    `read_only`: reading calls, search and SQL work, also where nothing may be written, such as on a
    read-only disk; no file is touched, nothing is made, and every call that writes raises
    ReadOnlyError. May be given beside a configuration.

    `inline_threshold`, `history` and `history_retention` are settled when the lake is created;
    later they may be left out or must agree.

    Raises ConfigurationError for what cannot be opened as asked, with what to write instead, and
    for a configuration with the path of every setting that is wrong;
    ValidationError for a malformed argument; StorageError if a folder cannot be written;
    CorruptionError for a damaged catalog, CatalogError for one that a newer version wrote.
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
            raise ConfigurationError(f"{name} is given beside a configuration: write it in there")
    from lakebed.config.loading import load

    settings = load(where).settings
    with settings.hiding():
        options = settings.open_options()
        if read_only:
            options["read_only"] = True
        lake = opening.open(**options, mask=settings.mask)
    if isinstance(lake, LazyLake):
        lake.connect_within(settings.hiding)
    return lake


def default_place() -> str:
    """What is opened where nothing is named: `./lakebed.yaml` if there is one, else the folder
    `./lakebed`.

    Raises ConfigurationError if that folder holds a lake that the file does not mean.
    """
    if not os.path.exists(CONFIGURATION_FILE):
        return DEFAULT_FOLDER
    if os.path.exists(os.path.join(DEFAULT_FOLDER, CATALOG_FILE)):
        from lakebed.config.loading import load

        meant = load(CONFIGURATION_FILE).settings.place().get("where")
        if meant != absolute(DEFAULT_FOLDER):
            raise ConfigurationError(
                f"both {CONFIGURATION_FILE} and a lake in the folder {DEFAULT_FOLDER} are here, "
                "and the file means another lake: name the one that you want, "
                f"{CONFIGURATION_FILE!r} or {DEFAULT_FOLDER!r}"
            )
    return CONFIGURATION_FILE


def is_configuration_file(where: object) -> bool:
    """Whether `lakebed.open` reads it as a configuration file: by the end of its name."""
    return isinstance(where, (str, os.PathLike)) and os.fspath(where).endswith(_SUFFIXES)
