"""Find and open the lake that a command works on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import typer

import lakebed
from lakebed.config.opening import default_place, is_configuration_file, open_within
from lakebed.errors import ConfigurationError, LakebedError
from lakebed.lake.opening import CATALOG_FILE, DEFAULT_FOLDER, History, check_folder

_SQLITE = "sqlite:///"


class Settings(NamedTuple):
    """The settings that are fixed when a lake is created. None means the lake's own setting."""

    inline_threshold: int | None = None
    history: History | None = None
    history_retention: float | None = None


_AS_IT_IS = Settings()


def open_lake(
    ctx: typer.Context, *, create: bool = False, settings: Settings = _AS_IT_IS
) -> lakebed.Lake:
    """Open the lake that --lake or LAKEBED names.

    If it does not exist, create it if `create`, otherwise raise ConfigurationError.
    """
    where = lake_name(ctx)
    check_folder(where)
    if not create and is_absent(where):
        named = "" if where == DEFAULT_FOLDER else f" --lake {where}"
        raise ConfigurationError(
            f"no lake at {where}: create one with `lakebed{named} init`, or name another with "
            "--lake or LAKEBED"
        )
    read_only = bool(ctx.find_root().params.get("read_only"))
    timeout: float | None = ctx.find_root().params.get("timeout")
    if timeout is not None:
        return open_within(where, timeout, read_only=read_only, **settings._asdict())
    if "://" in where:
        return lakebed.open(catalog=where, read_only=read_only, **settings._asdict())
    return lakebed.open(where, read_only=read_only, **settings._asdict())


def lake_name(ctx: typer.Context) -> str:
    """Return the name of the lake: a folder, the URL of a catalog, or a YAML file.

    If none was given and `./lakebed.yaml` is used, say so on standard error.
    """
    given = ctx.find_root().params
    if not given.get("lake"):
        given["lake"] = default_place()
        if given["lake"] != DEFAULT_FOLDER and not ctx.resilient_parsing:
            print(f"config: {given['lake']}", file=sys.stderr)
    return str(given["lake"])


def folder_name(ctx: typer.Context) -> str:
    """Return the folder of the lake. Raises ConfigurationError if it is not a local folder."""
    where = lake_name(ctx)
    if is_configuration_file(where):
        from lakebed.config.reading.loading import load

        found = load(where).settings.place().get("where")
    else:
        found = None if "://" in where else where
    if found is None:
        raise ConfigurationError(f"--lake {where}: expected the folder of a local lake")
    return str(found)


def is_absent(where: str) -> bool:
    """Return whether opening would create the lake. A lake on a server counts as existing."""
    if where.startswith(_SQLITE):
        path = where.removeprefix(_SQLITE)
        return path not in ("", ":memory:") and not Path(path).exists()
    if is_configuration_file(where):
        return _is_absent_place(where)
    if "://" in where or where == ":memory:":
        return False
    path_ = Path(where).expanduser()
    return not path_.exists() or (path_.is_dir() and not (path_ / CATALOG_FILE).exists())


def _is_absent_place(file: str) -> bool:
    from lakebed.config.reading.loading import load

    place = load(file).settings.place()
    if "where" in place:
        return is_absent(place["where"])
    if place["catalog"].get("replica"):  # opening restores the file from the replica
        return False
    path = str(place["catalog"].get("path", ""))
    return is_absent(f"{_SQLITE}{path}") if path else False


def complete_key(ctx: typer.Context, _arguments: list[str], incomplete: str) -> list[str]:
    """Return the keys that begin with the typed text, for the shell's completion."""
    try:
        with open_lake(ctx) as lake:
            return [entry.key for entry in lake.list(incomplete, limit=100)]
    except LakebedError:  # completion has no place for an error, so it offers nothing
        return []


def complete_snapshot(ctx: typer.Context, _arguments: list[str], incomplete: str) -> list[str]:
    """Return the names of snapshots that begin with the typed text, for the shell's completion."""
    try:
        with open_lake(ctx) as lake:
            return [made.name for made in lake.snapshots() if made.name.startswith(incomplete)]
    except LakebedError:
        return []
