"""Opens the source and the target of a copy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl

from lakebed.config.opening import is_configuration_file
from lakebed.config.opening import open as open_lake
from lakebed.errors import ConfigurationError
from lakebed.lake.lake import Lake
from lakebed.ltm.adapter import LTMBackend
from lakebed.moving.langgraph import GraphStore, LangGraphStore, namespace_of
from lakebed.moving.memories import LongTermMemory, Memory
from lakebed.moving.outside import Outside

Place = Lake | str | os.PathLike[str] | Mapping[str, object] | LongTermMemory | GraphStore
"""An open lake, or what opens one: a folder, the URL of a catalog, or a configuration. Or a store
of another kind: its URL, a backend of the LTM interface, or a LangGraph store."""


@contextmanager
def opened(
    place: Place, like: Lake | None = None, *, create: bool = True
) -> Iterator[Lake | Outside]:
    """Open a block with the store at a place. A store that was opened for the block is closed at
    its end. A lake that is created here keeps as much history as the lake `like`. Unless `create`
    is set, no store of another kind is created."""
    if isinstance(place, Lake):
        yield place
    elif isinstance(place, LTMBackend):
        yield place.lake
    elif isinstance(place, LongTermMemory):
        yield Memory(place, type(place).__name__)
    elif isinstance(place, GraphStore):
        yield LangGraphStore(place, name=type(place).__name__)
    else:
        found = _by_url(place, create) or _by_file(place) or _lake(place, like)
        try:
            yield found.lake if isinstance(found, LTMBackend) else found
        finally:
            found.close()


def _lake(place: str | os.PathLike[str] | Mapping[str, object], like: Lake | None) -> Lake:
    keeps = None if like is None or like._history != "all" else "all"
    if isinstance(place, str) and "://" in place:
        return open_lake(catalog=place, history="all" if keeps else None)
    configured = isinstance(place, Mapping) or is_configuration_file(place)
    return open_lake(place, history="all" if keeps and not configured else None)


def _by_file(place: object) -> LTMBackend | Memory | None:
    """Return the memory that a configuration file names, or None if its backend is one of ours."""
    if not is_configuration_file(place):
        return None
    from lakebed.config.settings.backends import BACKENDS
    from lakebed.ltm.registry import create_ltm_backend, parse_backend_config

    assert isinstance(place, (str, os.PathLike))
    kind, options = parse_backend_config(os.fspath(place))
    if kind in BACKENDS:
        return None
    return _memory(kind, create_ltm_backend(kind, **options))


def _by_url(url: object, create: bool) -> LTMBackend | Outside | None:
    if not isinstance(url, str):
        return None
    scheme, parted, rest = url.partition("://")
    if not parted:
        return None
    address, _, query = rest.partition("?")
    if scheme.startswith("ltm+"):
        return _by_type(scheme.removeprefix("ltm+"), address, query)
    opener = _OPENERS.get(scheme)
    return None if opener is None else opener(scheme, address, query, create)


def _by_type(kind: str, address: str, query: str) -> LTMBackend | Memory:
    from lakebed.ltm.registry import create_ltm_backend

    if address:
        raise ConfigurationError(
            f"ltm+{kind}:// takes only named options: expected ltm+{kind}://?option=value"
        )
    return _memory(kind, create_ltm_backend(kind, **dict(parse_qsl(query))))


def _memory(kind: str, backend: object) -> LTMBackend | Memory:
    if isinstance(backend, LTMBackend):
        return backend
    if not isinstance(backend, LongTermMemory):
        raise ConfigurationError(
            f"the backend {kind!r} needs iterate_all, store_batch and retrieve_batch to be copied"
        )
    return Memory(backend, f"the memory {kind!r}", opened=True)


def _json(scheme: str, address: str, query: str, create: bool) -> Outside:
    from lakebed.moving.json_folder import JSONFolder

    del create
    _options(scheme, query)
    return JSONFolder(_path(scheme, address))


def _disk_cache(scheme: str, address: str, query: str, create: bool) -> Outside:
    from lakebed.moving.disk_cache import DiskCache

    _options(scheme, query)
    return DiskCache(_path(scheme, address), create=create)


def _graph_sqlite(scheme: str, address: str, query: str, create: bool) -> Outside:
    from lakebed.moving.langgraph import open_sqlite

    namespace = namespace_of(_options(scheme, query, "namespace").get("namespace"))
    return open_sqlite(_path(scheme, address), namespace, create=create)


def _graph_postgres(scheme: str, address: str, query: str, create: bool) -> Outside:
    from lakebed.moving.langgraph import open_postgres

    del scheme, create
    options = dict(parse_qsl(query))
    namespace = namespace_of(options.pop("namespace", None))
    parts = [part for part in query.split("&") if part and not part.startswith("namespace=")]
    return open_postgres(f"postgresql://{address}?{'&'.join(parts)}".rstrip("?"), namespace)


_OPENERS: dict[str, Callable[[str, str, str, bool], Outside]] = {
    "json": _json,
    "diskcache": _disk_cache,
    "langgraph+sqlite": _graph_sqlite,
    "langgraph+postgresql": _graph_postgres,
}


def _path(scheme: str, address: str) -> str:
    """Return the path in `scheme:///path`. Raises ConfigurationError if there is none."""
    if not address.startswith("/") or address == "/":
        raise ConfigurationError(
            f"{scheme}:// needs a path: expected {scheme}:///folder/name (three slashes for a "
            "relative path, four for an absolute one)"
        )
    return str(Path(address[1:]).expanduser())


def _options(scheme: str, query: str, *known: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in known:
            expected = ", ".join(known) or "none"
            raise ConfigurationError(f"{scheme}://: unknown option {name!r}: expected {expected}")
    return options
