"""Open the sessions that the configuration or the environment names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lakebed.config.opening import open_settings
from lakebed.errors import ConfigurationError
from lakebed.lake.lake import Lake
from lakebed.sessions.folder.lake import open_folder
from lakebed.sessions.manager import SessionManager

if TYPE_CHECKING:
    from lakebed.config.reading.loading import Section

DEFAULT_FOLDER = "sessions"
"""The folder of `STORAGE_BACKEND=json` without `SESSIONS_PATH`."""
Where = str | os.PathLike[str] | Mapping[str, object]


def get_session_manager(where: Where | None = None) -> SessionManager:
    """Open the sessions that a configuration or the environment names.

    `where`: a YAML file, or its content as a mapping. `settings.sessions` has the same keys as
    `settings.ltm`, and also allows `backend: json` with `path`. Without `settings.sessions`, the
    sessions are in the lake of `settings.ltm`.

    Without `where`, the environment variable `STORAGE_BACKEND` names the backend:

    - `json`: the folder of JSON files `SESSIONS_PATH`, by default `sessions`.
    - `sqlite`: the file of `DATABASE_URL` or `SESSIONS_PATH`.
    - `postgres`: `DATABASE_URL`, or `POSTGRES_HOST` and the variables beside it.
    - `auto`, the default: the database that the environment names, else the folder `lakebed`.
    - Any other backend of a configuration.

    A lake that this call creates keeps all versions (`history: all`), because artifacts have
    versions. Raises ConfigurationError for invalid settings, and what `lakebed.open` raises.
    """
    return SessionManager(open_sessions(where))


def open_sessions(where: Where | None = None) -> Lake:
    """Open the lake of the sessions. `where` is as for `get_session_manager`."""
    from lakebed.config.reading.loading import (
        read,  # loads pydantic and YAML, which only this call needs
    )

    return open_section(read(_from_environment() if where is None else where, "sessions"))


def open_section(section: Section) -> Lake:
    """Open the lake of the sessions that settings describe."""
    from lakebed.config.reading.loading import validate

    raw = section.raw
    if raw.get("backend") == "json":
        unknown = sorted(raw.keys() - {"backend", "path"})
        if unknown:
            raise section.document.error((*section.at, unknown[0]), "unknown key for backend json")
        path = raw.get("path", DEFAULT_FOLDER)
        if not isinstance(path, str) or not path:
            raise section.document.error((*section.at, "path"), "expected the path of a folder")
        return open_folder(section.document.folder / Path(path).expanduser())
    if "history" in raw:
        return open_settings(validate(section).settings)
    try:
        return open_settings(validate(section._replace(raw=raw | {"history": "all"})).settings)
    except ConfigurationError as error:
        # The lake exists with another setting, and keeps that.
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
