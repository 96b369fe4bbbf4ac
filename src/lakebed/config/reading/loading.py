"""Turns a file or a mapping into settings: finds them, replaces references, validates, chooses."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path as FilePath
from typing import NamedTuple

from lakebed.config.problems import Path, kind
from lakebed.config.reading.auto import choose_catalog
from lakebed.config.reading.document import Document, read_document
from lakebed.config.reading.interpolation import Interpolation
from lakebed.config.reading.validation import validate_secrets, validate_settings
from lakebed.config.secrets.sources import SecretsBackend
from lakebed.config.settings.backends import BACKENDS, AutoSettings
from lakebed.config.settings.base import Settings
from lakebed.errors import ConfigurationError
from lakebed.suggestions import closest, suggestion

Where = str | os.PathLike[str] | Mapping[str, object]

log = logging.getLogger("lakebed.config")

_OURS = frozenset(name for model in BACKENDS.values() for name in model.model_fields)


class Configuration(NamedTuple):
    """A configuration in effect.

    `name`: its file, or empty for a mapping. `chosen`: what `backend: auto` chose, and why.
    """

    settings: Settings
    name: str
    chosen: str | None = None


class Section(NamedTuple):
    """The settings of a lake before they are validated. They are at the path `at` of their
    document.

    `secrets`: the values that replaced `{{ secrets.… }}`.
    """

    document: Document
    at: Path
    raw: dict[str, object]
    secrets: frozenset[str]


def load(where: Where) -> Configuration:
    """Read a configuration: a YAML file, or its content as a mapping.

    Raises ConfigurationError, which lists every invalid setting with its path.
    """
    return validate(read(where))


def read(where: Where, name: str = "ltm") -> Section:
    """Find the settings of a lake in a file or mapping, and replace the references in them.

    `name`: the settings are under this name in `settings`, if they are there; else under
    `settings.ltm`, or at the root.
    """
    if isinstance(where, Mapping):
        document = Document(where, "", FilePath.cwd(), {})
    elif isinstance(where, (str, os.PathLike)):
        document = read_document(FilePath(where).expanduser())
    else:
        raise ConfigurationError(
            "a configuration must be the path of a YAML file, or its content as a mapping, got "
            f"{type(where).__name__}"
        )
    section, at = _find(document, name)
    return expand(document, section, at, section.get("secrets"))


def expand(
    document: Document, section: Mapping[str, object], at: Path, raw_secrets: object
) -> Section:
    """Replace the references in the settings at a path. `raw_secrets`: the settings of the source
    of `{{ secrets.… }}`."""

    @cache
    def source() -> SecretsBackend:
        plain = Interpolation(os.environ, None, document.error)
        return validate_secrets(
            document, {} if raw_secrets is None else plain.expand(raw_secrets, (*at, "secrets")), at
        )

    interpolation = Interpolation(os.environ, source, document.error)
    try:
        raw = interpolation.expand(section, at)
    except RecursionError:  # a mapping that holds itself
        raise document.error(at, "nested too deeply") from None
    assert isinstance(raw, dict)
    return Section(document, at, raw, frozenset(interpolation.used))


def section_of(raw: Mapping[str, object]) -> Section:
    """Return settings as a section. No text in them is taken as a reference."""
    return Section(Document(raw, "", FilePath.cwd(), {}), (), dict(raw), frozenset())


def validate(section: Section) -> Configuration:
    """Validate the settings. For `backend: auto`, also choose a backend."""
    document, at, raw, secrets = section
    settings, chosen = validate_settings(document, raw, at), None
    if isinstance(settings, AutoSettings):
        settings, chosen = _choose(document, raw, at)
        log.info("%s", chosen)
    settings.hide(secrets)
    return Configuration(settings, document.name, chosen)


def _find(document: Document, name: str) -> tuple[Mapping[str, object], Path]:
    """Find the mapping that holds our settings.

    It is the one of that name under `settings`, or `settings.ltm`, or the document itself.
    """
    data = document.data
    named = data.get("settings")
    if isinstance(named, Mapping) and name in named and name != "ltm":
        return _mapping(document, named[name], ("settings", name)), ("settings", name)
    if "settings" not in data:
        unknown = [str(key) for key in data if key not in _OURS]
        if len(unknown) == len(data) > 0:
            hint = suggestion(unknown[0], (*_OURS, "settings")).removeprefix("expected one of")
            tail = (
                hint if hint.startswith("did") else "expected settings.ltm, or backend at the root"
            )
            raise document.error((unknown[0],), f"no settings of a lake found: {tail}")
        return data, ()
    for key in data:
        if key in _OURS:
            raise document.error((str(key),), "misplaced: write it under settings.ltm")
    settings = _mapping(document, data["settings"], ("settings",))
    if "ltm" not in settings:
        for key in settings:
            if key in _OURS:
                raise document.error(("settings", key), "misplaced: write it under settings.ltm")
        for key in settings:
            if closest(key, ["ltm"]):
                raise document.error(("settings", key), "unknown key: did you mean 'ltm'?")
        raise document.error(("settings", "ltm"), "is missing")
    return _mapping(document, settings["ltm"], ("settings", "ltm")), ("settings", "ltm")


def _mapping(document: Document, value: object, path: Path) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise document.error(path, f"expected a mapping, got {kind(value)}")
    return value


def _choose(document: Document, raw: dict[str, object], at: Path) -> tuple[Settings, str]:
    """Choose for `backend: auto`: the database or the bucket that the environment names, else a
    folder."""
    common = {key: value for key, value in raw.items() if key not in ("backend", "storage")}
    storage = {"storage": raw["storage"]} if raw.get("storage") is not None else {}
    choice = choose_catalog(BACKENDS)
    if choice is None:
        chosen: dict[str, object] = {"backend": "duckdb" if storage else "ducklake"} | storage
        why = "neither DATABASE_URL, POSTGRES_HOST nor the address of another service is set"
        return validate_settings(document, common | chosen, at), (
            f"backend auto: chose {chosen['backend']}, because {why}"
        )
    # Postgres's settings read the address from the environment themselves.
    options = {} if choice.type == "postgres" else choice.options
    if "catalog" in options:  # a bucket
        chosen = {"backend": choice.type, **options, **storage}
    elif storage:
        chosen = {"backend": "duckdb", "catalog": {"type": choice.type, **options}} | storage
        choice = choice._replace(type="duckdb")
    else:
        chosen = {"backend": choice.type, **options}
    return validate_settings(document, common | chosen, at), choice.told("backend")
