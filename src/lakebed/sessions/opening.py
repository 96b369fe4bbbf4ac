"""Where sessions are kept: as the configuration or the environment says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lakebed.config.opening import open_settings
from lakebed.errors import ConfigurationError
from lakebed.lake.lake import Lake
from lakebed.sessions.folder.lake import open_folder
from lakebed.sessions.manager import SessionManager

DEFAULT_FOLDER = "sessions"
"""The folder of `STORAGE_BACKEND=json` without `SESSIONS_PATH`."""
Where = str | os.PathLike[str] | Mapping[str, object]


def get_session_manager(where: Where | None = None) -> SessionManager:
    """The sessions of a configuration, or of the environment.

    `where`: a YAML file, or its content as a mapping. `settings.sessions` has the same keys as
    `settings.ltm`, and `backend: json` with `path`; without it the sessions are in the lake of
    `settings.ltm`. Left out, the environment tells: `STORAGE_BACKEND` is `json` (a folder of JSON
    files, `SESSIONS_PATH`, `sessions` if left out), `sqlite` (the file of `DATABASE_URL` or
    `SESSIONS_PATH`), `postgres` (`DATABASE_URL` or `POSTGRES_HOST` and its kin), or any other
    backend; without it, `auto`: the database that is named, else the folder `lakebed`.

    Lakes that it makes keep all versions (`history: all`), which those of artifacts are. Raises
    ConfigurationError for what cannot be opened as asked.
    """
    return SessionManager(open_sessions(where))


def open_sessions(where: Where | None = None) -> Lake:
    """The lake of the sessions; as `get_session_manager`."""
    from lakebed.config.loading import read, validate  # pydantic and YAML, for this alone

    section = read(_from_environment() if where is None else where, "sessions")
    raw = section.raw
    if raw.get("backend") == "json":
        unknown = sorted(raw.keys() - {"backend", "path"})
        if unknown:
            raise section.document.error((*section.at, unknown[0]), "no key of backend json")
        path = raw.get("path", DEFAULT_FOLDER)
        if not isinstance(path, str) or not path:
            raise section.document.error((*section.at, "path"), "expected the path of a folder")
        return open_folder(section.document.folder / Path(path).expanduser())
    if "history" in raw:
        return open_settings(validate(section).settings)
    try:
        return open_settings(validate(section._replace(raw=raw | {"history": "all"})).settings)
    except ConfigurationError as error:
        # A lake that is there already keeps its own setting.
        if not str(error).startswith("history is"):
            raise
        return open_settings(validate(section).settings)


def _from_environment() -> dict[str, object]:
    backend = os.environ.get("STORAGE_BACKEND", "").strip().lower() or "auto"
    path, url = os.environ.get("SESSIONS_PATH"), os.environ.get("DATABASE_URL")
    if backend == "json":
        return {"backend": "json", "path": path or DEFAULT_FOLDER}
    if backend == "sqlite":
        named = path or (url if url and url.startswith("sqlite") else None)
        return {"backend": "sqlite", **({"path": named} if named else {})}
    if backend == "sqlalchemy" and url:
        return dict[str, object](backend=backend, url=url)
    return {"backend": backend}
