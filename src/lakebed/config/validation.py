"""From plain data to settings; pydantic's errors become ours, with path, place and suggestion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lakebed.config.catalogs import CATALOGS, OUTSIDE, SecretsSettings
from lakebed.config.document import Document
from lakebed.config.models import BACKENDS, Settings
from lakebed.config.problems import (
    InvalidConfiguration,
    Path,
    Place,
    closest,
    kind,
    quoted,
    suggestion,
)

DEFAULT_BACKEND = "duckdb"
SYNONYMS = {
    "sqlite": {"url", "connection_string"},
    "postgres": {"url"},
    "sqlalchemy": {"connection_string"},
}


def validate_settings(document: Document, raw: Mapping[str, object], at: Path) -> Settings:
    """The settings in `raw`, which stand at the path `at` of the document.

    Raises ConfigurationError with every problem that was found.
    """
    backend = raw.get("backend", DEFAULT_BACKEND)
    if not isinstance(backend, str) or backend not in BACKENDS:
        word = backend if isinstance(backend, str) else ""
        raise document.error(
            (*at, "backend"), f"unknown backend {quoted(backend)}: {suggestion(word, BACKENDS)}"
        )
    given = {key: value for key, value in raw.items() if value is not None}
    try:
        return BACKENDS[backend].model_validate(
            given | {"backend": backend}, context={"folder": document.folder}
        )
    except ValidationError as error:
        found = _problems(error, backend, given)
        problems = [document.problem((*at, *path), message) for path, message in found]
    # Outside the block: pydantic's error would hang on ours, with more than we want to show.
    problems.sort(key=lambda problem: problem.place or Place(0, 0))
    raise InvalidConfiguration(document.name, problems)


def validate_secrets(document: Document, raw: object, at: Path) -> SecretsSettings:
    """The settings of the source of `{{ secrets.… }}`, which are needed before all others."""
    try:
        return SecretsSettings.model_validate(raw)
    except ValidationError as error:
        found = [_explain(details, raw, "duckdb", ("secrets",)) for details in _details(error)]
        problems = [document.problem((*at, *path), message) for path, message in found]
    raise InvalidConfiguration(document.name, problems)


def _details(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _problems(
    error: ValidationError, backend: str, raw: Mapping[str, object]
) -> Iterator[tuple[Path, str]]:
    for details in _details(error):
        yield _explain(details, raw, backend, ())


def _explain(details: ErrorDetails, raw: object, backend: str, at: Path) -> tuple[Path, str]:
    """The path of a setting and what is wrong with it, without its value."""
    location = details["loc"]
    # The kind of catalog, by which pydantic told the models apart, is no part of the path.
    tagged = len(location) > 1 and location[0] == "catalog" and location[1] in (*CATALOGS, OUTSIDE)
    inner = location[:1] + location[2:] if tagged else location
    path = (*at, *inner)
    value = raw
    for part in inner:
        value = value.get(part) if isinstance(value, Mapping) else None
    context = details.get("ctx", {})
    if context.get("at"):
        path = (*path, context["at"])
    error = details["type"]
    if error == "extra_forbidden":
        return path, _unknown(str(location[-1]), (*at, *location[:-1]), backend)
    if error == "missing":
        return path, _missing(str(location[-1]), raw, inner[:-1])
    if error == "literal_error":
        return path, f"{quoted(value)} is unknown: expected {context['expected']}"
    if error in _TYPES:
        advice = ": put it in quotes" if error == "string_type" and _is_scalar(value) else ""
        return path, f"expected {_TYPES[error]}, got {kind(value)}{advice}"
    if error in ("string_too_short", "too_short"):
        return path, "is empty"
    for limit, words in (("ge", "or more"), ("gt", "or more"), ("le", "or less")):
        if limit in context:
            return path, f"expected {context[limit]:g} {words}"
    return path, details["msg"]


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
    return "is missing" + (f": did you mean it by {near!r}?" if near else "")


def _names(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def _unknown(name: str, parent: Path, backend: str) -> str:
    """What is wrong with a key that a mapping does not take."""
    if not parent:
        return _unknown_at_root(name, backend)
    if parent[0] == "catalog":
        own = str(parent[1])
        if name in Settings.model_fields:
            return "belongs one level up, beside catalog"
        known = _names(CATALOGS[own]) | SYNONYMS[own]
        others = [kind for kind, model in CATALOGS.items() if name in _names(model)]
    else:
        known, others = _names(SecretsSettings), []
    return _no_such_key(name, known, [f"catalog type {other}" for other in others])


def _unknown_at_root(name: str, backend: str) -> str:
    if name in ("catalog", "storage"):
        return (
            f"backend {backend} takes no {name}: leave it out, "
            f"or write backend: duckdb to choose {name}s"
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
