"""The checks of `lakebed doctor`: the configuration in effect, and each connection."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, Literal, NamedTuple

import lakebed
from lakebed.catalog.log.catalog import LogCatalog
from lakebed.catalog.log.examination import examine as examine_log
from lakebed.catalog.opened import MEMORY, CatalogOptions, Examined
from lakebed.catalog.registry import open_catalog
from lakebed.catalog.statements.migration import UnmigratedError
from lakebed.config.masking import mask_address, without
from lakebed.config.opening import is_configuration_file
from lakebed.config.providers.checks import look_at
from lakebed.config.providers.server import ServerOptions
from lakebed.config.reading.loading import load
from lakebed.config.reading.validation import validate_model
from lakebed.config.settings.backends import DuckDBSettings
from lakebed.config.settings.catalogs import PostgresCatalogSettings, long_form, sqlite_path
from lakebed.errors import ConnectError, LakebedError
from lakebed.lake import opening
from lakebed.lake.opening import CATALOG_FILE
from lakebed.lake.upkeep.turns import in_words
from lakebed.objects.examination import examine
from lakebed.objects.opening import parse_place

State = Literal["ok", "note", "wrong"]
_SERVERS = (
    "postgres", "sqlalchemy", "mysql", "mariadb", "dynamodb", "firestore", "mongodb", "d1",
    "redis", "turso",
)  # fmt: skip
_LIMIT = 10.0  # seconds that one check may take
_WAIT = 6.0  # seconds to wait for a lock or a server; its own error then comes before the limit


class Finding(NamedTuple):
    """The result of one check. `state` is `wrong` if it prevents the use of the lake."""

    check: str
    state: State
    detail: str


class _Place(NamedTuple):
    """The arguments of `lakebed.open`, the settings of the Postgres server if there is one, the
    findings about the configuration, and the values that came from a source of secrets."""

    options: dict[str, Any]
    server: ServerOptions | None
    findings: list[Finding]
    secrets: frozenset[str] = frozenset()


def diagnose(where: str) -> Iterator[Finding]:
    """Check the lake that a folder, the URL of a catalog or a configuration file names.

    Yields a finding after each check. Creates no lake and changes none. In the storage it writes,
    reads and deletes a small file.
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
    """Yield the findings of a check, and return whether it succeeded. A LakebedError, or a check
    that takes too long, becomes a finding."""
    try:
        yield from _limited(check, findings)
    except LakebedError as error:
        yield Finding(check, "wrong", str(error))
        return False
    return True


def _limited(check: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the findings. Raise ConnectError if one takes more than 10 seconds."""
    ended = object()
    while True:
        answers = Queue[object]()

        def ask(answers: Queue[object] = answers) -> None:
            try:
                answers.put(next(findings, ended))
            except Exception as error:  # noqa: BLE001 - the waiting thread raises it
                answers.put(error)

        Thread(target=ask, daemon=True, name="lakebed-doctor").start()
        try:
            found = answers.get(timeout=_LIMIT)
        except Empty:
            raise ConnectError(
                f"the {check} did not answer within {_LIMIT:.0f} seconds", "connection_timeout"
            ) from None
        if isinstance(found, Exception):
            raise found
        if not isinstance(found, Finding):
            return
        yield found


def _place(where: str) -> _Place:
    if is_configuration_file(where):
        configuration = load(where)
        findings = [
            Finding(
                "configuration",
                "ok",
                f"{where}: {_words(configuration.settings.shown(chosen=True))}",
            )
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
        server = validate_model(PostgresCatalogSettings, given, "")
        return _Place({"catalog": server.as_catalog()}, server, [found])
    findings = [Finding("configuration", "ok", f"the folder {where}")]
    return _Place({"where": where}, None, findings)


def _words(shown: Mapping[str, object], prefix: str = "") -> str:
    return ", ".join(
        _words(value, f"{prefix}{name}.")
        if isinstance(value, Mapping)
        else f"{prefix}{name} {str(value).lower() if isinstance(value, bool) else value}"
        for name, value in shown.items()
        if value not in ("", {})
    )


def _parts(place: Mapping[str, Any]) -> tuple[Mapping[str, object], Any]:
    """Return the catalog and the storage that the arguments of `lakebed.open` name."""
    where = place.get("where")
    if where is None:
        return place["catalog"], place.get("storage")
    if where == MEMORY:
        return {"type": "sqlite", "path": MEMORY}, None
    folder = Path(where).expanduser().absolute()
    return {"type": "sqlite", "path": str(folder / CATALOG_FILE)}, str(folder)


def _file(catalog: Mapping[str, object]) -> Path | None:
    """Return the file of a SQLite catalog, or None if it is in memory or not SQLite."""
    if catalog["type"] != "sqlite":
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
    if catalog["type"] == "litestream":
        catalog = {**catalog, "fence_timeout": _WAIT}
    opened = open_catalog(catalog, CatalogOptions(lock_timeout=_WAIT))
    try:
        if isinstance(opened.catalog, LogCatalog):
            looks = examine_log(opened.catalog.log, opened.name)
            yield from (Finding(*look) for look in looks)
            return
        opened.catalog.now()  # connects
        begin = time.perf_counter()
        away = opened.catalog.now() / 1e6 - time.time()
        answer = time.perf_counter() - begin
        examined = list(opened.catalog.examine()) if isinstance(opened.catalog, Examined) else []
    finally:
        opened.catalog.close()
    yield Finding("catalog", "ok", f"{opened.name} answers in {answer * 1000:.1f} ms")
    if abs(away) > 1 + answer:
        yield Finding("catalog", "note", f"its clock is {away:+.1f} seconds from this machine's")
    yield from (Finding(*look) for look in examined)


def _to_be_made(check: str, path: Path) -> Finding:
    parent = next(folder for folder in path.parents if folder.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return Finding(check, "note", f"{path} does not exist yet: the first store creates it")
    return Finding(check, "wrong", f"{path} does not exist, and {parent} is not writable")


def _storage(storage: object) -> Iterator[Finding]:
    uri, options = parse_place("storage", storage)
    shown = mask_address(uri) if "://" in uri else uri
    if "://" not in uri and not Path(uri).exists():
        yield _to_be_made("storage", Path(uri))
    elif "://" not in uri and not Path(uri).is_dir():
        yield Finding("storage", "wrong", f"{uri} is not a folder")
    else:
        yield from (Finding(*look) for look in examine(uri, options, shown, _WAIT))


def _remembered(uris: list[str]) -> Iterator[Finding]:
    """Check the storage that the catalog names, if it names one."""
    if not uris:
        yield Finding("storage", "ok", "none: the catalog keeps all values")
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
    """Open the lake and describe it. Adds the storage that its catalog names to `remembered`."""
    file = _file(catalog)
    if file is not None and not file.exists():
        yield Finding("lake", "note", "it does not exist yet")
        return
    if catalog["type"] != "sqlite":
        place = place | {"catalog": {**catalog, "auto_migrate": False, "lazy": False}}
    try:
        with opening.open(**place) as lake:
            found = lake.stats()
            refusal = None if lake._owner is None else lake._owner.examine()
            if (uri := lake.full_uri("", None)) is not None:
                remembered.append(uri.rstrip("/"))
    except UnmigratedError as error:
        first = "no lake yet: the first store creates it"
        yield Finding("lake", "note", str(error) if error.found else first)
        return
    yield Finding(
        "lake",
        "ok",
        f"{'about ' if 'entries' in found.estimated else ''}{found.entries:,} "
        f"{'entry' if found.entries == 1 else 'entries'}, "
        f"{'about ' if 'objects' in found.estimated else ''}{found.objects:,} "
        f"object{'' if found.objects == 1 else 's'}, "
        f"{found.snapshots:,} snapshot{'' if found.snapshots == 1 else 's'}",
    )
    if refusal is not None:
        meant: State = "note" if place.get("read_only") else "wrong"
        yield Finding("owner", meant, f"read-only: {refusal}; see `lakebed adopt`")
    if found.upkeep is not None:
        state: State = "ok" if found.upkeep.failed is None else "note"
        yield Finding("upkeep", state, in_words(found.upkeep))
