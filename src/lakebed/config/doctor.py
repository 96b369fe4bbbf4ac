"""The checks of `lakebed doctor`: the configuration in effect, and whether each connection
works."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lakebed
from lakebed.catalog.opened import MEMORY, CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.catalog.statements.migration import UnmigratedError
from lakebed.config.catalogs import PostgresCatalog, long_form, sqlite_path
from lakebed.config.loading import load
from lakebed.config.masking import mask_address, without
from lakebed.config.models import DuckDBSettings
from lakebed.config.opening import is_configuration_file
from lakebed.config.providers.checks import look_at
from lakebed.config.providers.options import ServerOptions
from lakebed.config.validation import validate_model
from lakebed.errors import LakebedError
from lakebed.lake import opening
from lakebed.lake.opening import CATALOG_FILE
from lakebed.objects.examination import examine
from lakebed.objects.opening import parse_place

State = Literal["ok", "note", "wrong"]
_SERVERS = ("postgres", "sqlalchemy", "mysql", "mariadb")
_WAIT = 10.0  # seconds: for a lock, and for a server that does not answer


class Finding(NamedTuple):
    """The result of one check. `state` is `wrong` if it keeps the lake from being used."""

    check: str
    state: State
    detail: str


class _Place(NamedTuple):
    """The arguments of `lakebed.open`, the Postgres server among them, findings about where they
    come from, and the values in them that came from a source of secrets."""

    options: dict[str, Any]
    server: ServerOptions | None
    findings: list[Finding]
    secrets: frozenset[str] = frozenset()


def diagnose(where: str) -> Iterator[Finding]:
    """Check the lake that a folder, the URL of a catalog or a configuration file names.

    Creates no lake and changes none. In the storage it writes, reads and deletes a small file.
    """
    yield Finding("lakebed", "ok", f"{lakebed.__version__} on Python {platform.python_version()}")
    try:
        place = _place(where)
    except LakebedError as error:
        yield Finding("configuration", "wrong", str(error))
        return
    yield from place.findings
    for finding in _look(place.options, place.server):
        yield finding._replace(detail=str(without(finding.detail, place.secrets)))


def _look(place: dict[str, Any], server: ServerOptions | None) -> Iterator[Finding]:
    """Check the catalog, the storage and the lake, until one fails."""
    catalog, storage = _parts(place)
    if server is not None:
        server_looks = (Finding(*look) for look in look_at(server, _WAIT))
        if not (yield from _tried("catalog", server_looks)):
            return
    if not (yield from _tried("catalog", _catalog(catalog))):
        return
    if storage is not None and not (yield from _tried("storage", _storage(storage))):
        return
    remembered: list[str] = []
    if (yield from _tried("lake", _lake(place, catalog, remembered))) and storage is None:
        yield from _tried("storage", _remembered(remembered))


def _tried(check: str, findings: Iterator[Finding]) -> Generator[Finding, None, bool]:
    """Pass on findings. A LakebedError becomes a finding. Returns whether there was none."""
    try:
        yield from findings
    except LakebedError as error:
        yield Finding(check, "wrong", str(error))
        return False
    return True


def _place(where: str) -> _Place:
    if is_configuration_file(where):
        configuration = load(where)
        findings = [
            Finding("configuration", "ok", f"{where}: {_words(configuration.settings.shown())}")
        ]
        if configuration.chosen:
            findings.append(Finding("configuration", "note", configuration.chosen))
        settings = configuration.settings
        catalog = settings.catalog if isinstance(settings, DuckDBSettings) else settings
        server = catalog if isinstance(catalog, ServerOptions) else None
        return _Place(settings.open_options(), server, findings, settings.secret_values)
    if "://" in where:
        found = Finding("configuration", "ok", "the URL of a catalog")
        given = long_form(where)
        if given["type"] != "postgres":
            return _Place({"catalog": given}, None, [found])
        server = validate_model(PostgresCatalog, given, "")
        return _Place({"catalog": server.as_catalog()}, server, [found])
    findings = [Finding("configuration", "ok", f"the folder {where}")]
    return _Place({"where": where}, None, findings)


def _words(shown: Mapping[str, object], prefix: str = "") -> str:
    return ", ".join(
        _words(value, f"{prefix}{name}.")
        if isinstance(value, Mapping)
        else f"{prefix}{name} {value}"
        for name, value in shown.items()
        if value != ""
    )


def _parts(place: Mapping[str, Any]) -> tuple[Mapping[str, object], Any]:
    """The catalog and the storage that the arguments of `lakebed.open` stand for."""
    where = place.get("where")
    if where is None:
        return place["catalog"], place.get("storage")
    if where == MEMORY:
        return {"type": "sqlite", "path": MEMORY}, None
    folder = Path(where).expanduser().absolute()
    return {"type": "sqlite", "path": str(folder / CATALOG_FILE)}, str(folder)


def _file(catalog: Mapping[str, object]) -> Path | None:
    """The file of a SQLite catalog. None for another catalog, or one in memory."""
    if catalog["type"] in _SERVERS:
        return None
    path = str(catalog["path"])
    path = sqlite_path(path) if "://" in path else path
    return None if path == MEMORY else Path(path).absolute()


def _catalog(catalog: Mapping[str, object]) -> Iterator[Finding]:
    file = _file(catalog)
    if file is not None and not file.exists():
        yield _to_be_made("catalog", file)
        return
    if catalog["type"] in _SERVERS:
        catalog = {**catalog, "timeout": min(_WAIT, float(str(catalog.get("timeout", _WAIT))))}
    opened = open_catalog(catalog, CatalogOptions(lock_timeout=_WAIT))
    try:
        opened.catalog.now()  # connects
        begin = time.perf_counter()
        away = opened.catalog.now() / 1e6 - time.time()
        answer = time.perf_counter() - begin
    finally:
        opened.catalog.close()
    yield Finding("catalog", "ok", f"{opened.name} answers in {answer * 1000:.1f} ms")
    if abs(away) > 1 + answer:
        yield Finding("catalog", "note", f"its clock is {away:+.1f} seconds from this machine's")


def _to_be_made(check: str, path: Path) -> Finding:
    parent = next(folder for folder in path.parents if folder.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return Finding(check, "note", f"{path} does not exist yet: the first store creates it")
    return Finding(check, "wrong", f"{path} does not exist, and {parent} is not writable")


def _storage(storage: Any) -> Iterator[Finding]:
    uri, options = parse_place("storage", storage)
    shown = mask_address(uri) if "://" in uri else uri
    if "://" not in uri and not Path(uri).exists():
        yield _to_be_made("storage", Path(uri))
    elif "://" not in uri and not Path(uri).is_dir():
        yield Finding("storage", "wrong", f"{uri} is not a folder")
    else:
        yield from (Finding(*look) for look in examine(uri, options, shown, _WAIT))


def _remembered(uris: list[str]) -> Iterator[Finding]:
    """The storage that the catalog names, if it names one."""
    if not uris:
        yield Finding("storage", "ok", "none: all values stay in the catalog")
    for uri in uris:
        if "***" in uri:
            yield Finding(
                "storage", "note", f"{uri} was not tested: its password is not known here"
            )
        else:
            yield from _storage(uri)


def _lake(
    place: dict[str, Any], catalog: Mapping[str, object], remembered: list[str]
) -> Iterator[Finding]:
    """Open the lake. The storage that its catalog names is added to `remembered`."""
    file = _file(catalog)
    if file is not None and not file.exists():
        yield Finding("lake", "note", "it does not exist yet")
        return
    if catalog["type"] != "sqlite":
        place = place | {"catalog": {**catalog, "auto_migrate": False, "lazy": False}}
    try:
        with opening.open(**place) as lake:
            found = lake.stats()
            if (uri := lake.full_uri("", None)) is not None:
                remembered.append(uri.rstrip("/"))
    except UnmigratedError as error:
        first = "no lake yet: the first store makes it"
        yield Finding("lake", "note", str(error) if error.found else first)
        return
    yield Finding(
        "lake",
        "ok",
        f"{'about ' if 'entries' in found.estimated else ''}{found.entries:,} entries, "
        f"{'about ' if 'objects' in found.estimated else ''}{found.objects:,} objects, "
        f"{found.snapshots:,} snapshots",
    )
