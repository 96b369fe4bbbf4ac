"""Validates plain data and makes settings of it. Errors name the path, the place and a
suggestion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path as FilePath
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from lakebed.config.fields import Model
from lakebed.config.problems import (
    InvalidConfiguration,
    Path,
    TextPosition,
    kind,
    quoted,
)
from lakebed.config.reading.document import Document
from lakebed.config.secrets.base import Secrets
from lakebed.config.secrets.settings import SecretsSettings
from lakebed.config.secrets.sources import SOURCES, source_model
from lakebed.config.settings.backends import BACKENDS
from lakebed.config.settings.base import InlineSettings, Settings
from lakebed.config.settings.catalogs import CATALOGS, OUTSIDE, long_form
from lakebed.suggestions import closest, suggestion

M = TypeVar("M", bound=BaseModel)
Location = tuple[str | int, ...]
"""The place of an error, as pydantic gives it."""
_SOURCE_KEYS = ("credentials", "secrets")  # settings that choose a source of secrets
DEFAULT_BACKEND = "duckdb"
SYNONYMS = {
    "sqlite": {"url", "connection_string"},
    "postgres": {"url"},
    "sqlalchemy": {"connection_string"},
    "turso": {"connection_string"},
}


class _Secrets(Model):
    secrets: SecretsSettings


def validate_settings(document: Document, raw: Mapping[str, object], at: Path) -> Settings:
    """Validate the settings in `raw`, which are at the path `at` of the document.

    Raises ConfigurationError, which lists every problem.
    """
    backend = raw.get("backend", DEFAULT_BACKEND)
    if not isinstance(backend, str) or backend not in BACKENDS:
        word = backend if isinstance(backend, str) else ""
        raise document.error(
            (*at, "backend"), f"unknown backend {quoted(backend)}: {suggestion(word, BACKENDS)}"
        )
    given = {key: value for key, value in raw.items() if value is not None}
    inside = _catalog_inside(document, backend, given, at)
    whole = given
    if inside is not None:
        whole = inside | {key: value for key, value in given.items() if key != "catalog"}
    try:
        return BACKENDS[backend].model_validate(
            whole | {"backend": backend}, context={"folder": document.folder}
        )
    except ValidationError as error:
        found = [_explain(fault, whole, partial(_unknown, backend)) for fault in _faults(error)]
        if inside is not None:
            found = [
                (path if path and path[0] in given else ("catalog", *path), message)
                for path, message in found
            ]
    # Raised outside the block, so that pydantic's error, which shows values, is not chained.
    problems = [document.problem((*at, *path), message) for path, message in found]
    problems.sort(key=lambda problem: problem.place or TextPosition(0, 0))
    raise InvalidConfiguration(document.name, problems)


def _catalog_inside(
    document: Document, backend: str, given: Mapping[str, object], at: Path
) -> dict[str, object] | None:
    """Return the options under `catalog`, for a backend that is only a catalog. Return None if
    there are none.

    Such a backend takes its options there or beside `backend`.
    """
    catalog = given.get("catalog")
    if catalog is None or not issubclass(BACKENDS[backend], InlineSettings):
        return None
    own = ("sqlalchemy", "mysql", "mariadb") if backend == "sqlalchemy" else (backend,)
    if isinstance(catalog, str) and "://" in catalog:
        options: dict[str, object] = {"url": catalog}
    else:
        try:
            options = long_form(catalog)
        except PydanticCustomError as error:
            where = (error.context or {}).get("at")
            path = (*at, "catalog", *((where,) if where else ()))
            raise document.error(path, error.message()) from None
        if options.pop("type") not in own:
            raise document.error(
                (*at, "catalog"),
                f"expected type {backend} with backend: {backend}; for a catalog of another type "
                "write backend: duckdb",
            )
    for name in options:
        if given.get(name) is not None:
            raise document.error(
                (*at, name), f"cannot be combined with catalog.{name}: give one of them"
            )
    return options


def validate_secrets(document: Document, raw: object, at: Path) -> Secrets:
    """Validate the source of `{{ secrets.… }}`. All other settings may need it."""
    try:
        return _Secrets.model_validate({"secrets": raw}).secrets
    except ValidationError as error:
        unknown = partial(_unknown, DEFAULT_BACKEND)
        found = [_explain(fault, {"secrets": raw}, unknown) for fault in _faults(error)]
    raise InvalidConfiguration(
        document.name, [document.problem((*at, *path), message) for path, message in found]
    )


def validate_model(model: type[M], raw: Mapping[str, object], name: str, at: Path = ()) -> M:
    """Validate settings that are not in a document. Errors call the settings `name`, and their
    paths begin with `at`.

    Raises ConfigurationError, which lists every problem.
    """
    return validate_at(Document({}, name, FilePath.cwd(), {}), model, raw, at)


def validate_at(document: Document, model: type[M], raw: Mapping[str, object], at: Path) -> M:
    """Validate the settings at the path `at` of the document with a given model.

    Raises ConfigurationError, which lists every problem.
    """
    given = {key: value for key, value in raw.items() if value is not None}

    def unknown(key: str, parent: Location) -> str:
        if parent:
            return _unknown_of_source(key, str(parent[-1]))
        if issubclass(model, Secrets):
            return _unknown_of_source(key, str(raw.get("source")))
        return _no_such_key(key, _names(model), [])

    try:
        return model.model_validate(given, context={"folder": document.folder})
    except ValidationError as error:
        found = [_explain(fault, given, unknown) for fault in _faults(error)]
    problems = [document.problem((*at, *path), message) for path, message in found]
    problems.sort(key=lambda problem: problem.place or TextPosition(0, 0))
    raise InvalidConfiguration(document.name, problems)


def _faults(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _path(location: Location) -> Path:
    """Return the path of a setting, without the tags that pydantic uses to choose a model."""
    kinds = {"catalog": (*CATALOGS, OUTSIDE), **dict.fromkeys(_SOURCE_KEYS, (*SOURCES, OUTSIDE))}
    return tuple(
        part
        for before, part in zip(("", *location), location, strict=False)
        if part not in kinds.get(str(before), ())
    )


def _explain(
    fault: ErrorDetails, raw: object, unknown: Callable[[str, Location], str]
) -> tuple[Path, str]:
    """Return the path of a setting and what is wrong with it. The message does not show the
    value."""
    location = fault["loc"]
    inner = path = _path(location)
    value = raw
    for part in inner:
        value = value.get(part) if isinstance(value, Mapping) else None
    context = fault.get("ctx", {})
    if context.get("at"):
        path = (*path, context["at"])
    error = fault["type"]
    if error == "extra_forbidden":
        return path, unknown(str(location[-1]), location[:-1])
    if error == "missing":
        return path, _missing(str(location[-1]), raw, inner[:-1])
    if error == "literal_error":
        return path, f"{quoted(value)} is unknown: expected {context['expected']}"
    if error == "float_type" and isinstance(value, str):  # every such setting is a time
        return path, "expected seconds, or text such as 90s, 1h30m or 30d, got other text"
    if error in _TYPES:
        advice = ": put it in quotes" if error == "string_type" and _is_scalar(value) else ""
        return path, f"expected {_TYPES[error]}, got {kind(value)}{advice}"
    if error in ("string_too_short", "too_short"):
        return path, "is empty"
    for limit, words in (("ge", "or more"), ("gt", "or more"), ("le", "or less")):
        if limit in context:
            return path, f"expected {context[limit]:g} {words}"
    return path, fault["msg"]


_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
}


def _is_scalar(value: object) -> bool:
    return isinstance(value, (bool, int, float))


def _missing(name: str, raw: object, parent: Path) -> str:
    for part in parent:
        raw = raw.get(part) if isinstance(raw, Mapping) else None
    near = closest(name, raw) if isinstance(raw, Mapping) else None
    return "is missing" + (f": did you misspell it as {near!r}?" if near else "")


def _names(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def _unknown(backend: str, name: str, parent: Location) -> str:
    """Say what is wrong with an unknown key of a mapping."""
    if not parent:
        return _unknown_at_root(name, backend)
    if any(key in parent for key in _SOURCE_KEYS):
        return _unknown_of_source(name, str(parent[-1]))
    own = str(parent[1])
    if name in Settings.model_fields:
        return "belongs one level up, beside catalog"
    others = [f"catalog type {kind}" for kind, model in CATALOGS.items() if name in _names(model)]
    return _no_such_key(name, _names(CATALOGS[own]) | SYNONYMS[own], others)


def _unknown_of_source(name: str, source: str) -> str:
    others = [f"source {other}" for other in SOURCES if name in _names(source_model(other))]
    return _no_such_key(name, _names(source_model(source)), others)


def _unknown_at_root(name: str, backend: str) -> str:
    if name in ("catalog", "storage"):
        return (
            f"backend {backend} has no {name}: leave it out, or write backend: duckdb to choose one"
        )
    known = _names(BACKENDS[backend]) | SYNONYMS.get(backend, set())
    if "catalog" in known and any(name in _names(model) for model in CATALOGS.values()):
        return "is an option of the catalog: write it under catalog, beside its type"
    others = [other for other, model in BACKENDS.items() if name in _names(model)]
    return _no_such_key(name, known, [f"backend {other}" for other in others])


def _no_such_key(name: str, known: set[str], others: list[str]) -> str:
    if others:
        return f"is an option of {' and '.join(others)}, not of this one"
    return f"unknown key: {suggestion(name, known)}"
