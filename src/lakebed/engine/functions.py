"""The functions that the `uses` of a step can name: calls of the engine's parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from inspect import Parameter, signature
from typing import Any, Protocol

from lakebed.documents.store import MetadataStore
from lakebed.errors import ConfigurationError, LakebedError, ValidationError
from lakebed.files.storage import BlobStorage
from lakebed.lake.lake import Lake
from lakebed.ltm.adapter import LTMBackend
from lakebed.reporting import Result
from lakebed.sessions.manager import SessionManager
from lakebed.suggestions import suggestion

ENTRY_POINTS = "lakebed.engine_functions"
"""The group of the entry points by which installed packages offer functions: name =
module:function. The function takes the `with` of a step as keywords and returns plain data."""

Function = Callable[..., Any]

_SESSION = frozenset(
    name
    for name in dir(SessionManager)
    if not name.startswith("_")
    and callable(getattr(SessionManager, name))
    and name not in ("close", "sql", "wait_for_task", "listen")
)
_PARTS: dict[str, tuple[type, frozenset[str]]] = {
    "ltm": (
        LTMBackend,
        frozenset(
            {
                "store", "retrieve", "search", "delete", "list", "store_batch", "retrieve_batch",
                "cleanup_expired",
            }
        ),
    ),
    "metadata": (
        MetadataStore,
        frozenset(
            {
                "set_document", "get_document", "update_document", "delete_document",
                "document_exists", "query", "search", "count", "list_collections", "batch_set",
                "batch_delete",
            }
        ),
    ),
    "blob": (
        BlobStorage,
        frozenset(
            {
                "upload", "download", "delete", "delete_many", "exists", "info", "list", "copy",
                "move", "presign",
            }
        ),
    ),
    "session": (SessionManager, _SESSION),
}  # fmt: skip


class Parts(Protocol):
    """What functions need from the engine."""

    @property
    def lake(self) -> Lake: ...


def _snapshot(
    lake: Lake, name: str | None = None, message: str | None = None, replace: bool = False
) -> Result:
    return dict(lake.create_snapshot(name, message=message, replace=replace))


def _diff(lake: Lake, a: str, b: str | None = None, prefix: str = "") -> Result:
    found = lake.diff(a, b, prefix=prefix)
    return {
        "added": [entry.key for entry in found.added],
        "changed": [change.key for change in found.changed],
        "removed": [entry.key for entry in found.removed],
    }


def _sql(lake: Lake, query: str, params: Any = None) -> Result:
    rows = lake.sql(query, params).arrow().to_pylist()
    return {"rows": rows, "count": len(rows)}


_LAKE: dict[str, Function] = {"snapshot": _snapshot, "diff": _diff, "sql": _sql}
QUERY = ("lake.sql", "query")
"""The argument that must not contain a template, because it is the text of a query."""


def check_uses(uses: str, given: Iterable[str]) -> tuple[str, str] | None:
    """Return what is wrong with a step: the setting, and why. Return None if nothing is wrong, or
    if the step uses a function that is not ours."""
    part, _, name = uses.partition(".")
    if part not in (*_PARTS, "lake"):
        return None
    known = _LAKE.keys() if part == "lake" else _PARTS[part][1]
    if name not in known:
        told = suggestion(uses, [f"{part}.{each}" for each in known])
        return "uses", f"unknown function: {told}"
    function = _LAKE[name] if part == "lake" else getattr(_PARTS[part][0], name)
    return _check_arguments(function, set(given))


def _check_arguments(function: Function, given: set[str]) -> tuple[str, str] | None:
    _, *parameters = signature(function).parameters.values()
    if any(each.kind is Parameter.VAR_KEYWORD for each in parameters):
        return None
    names = [each.name for each in parameters]
    for name in sorted(given):
        if name not in names:
            return f"with.{name}", f"unknown argument: {suggestion(name, names)}"
    for each in parameters:
        if each.default is Parameter.empty and each.name not in given:
            return f"with.{each.name}", "is missing"
    return None


def find(engine: Parts, own: Mapping[str, Function], uses: str) -> Function:
    """Return the function that a step uses. Raises ConfigurationError if it is unknown."""
    part, _, name = uses.partition(".")
    if uses in own:
        return _guarded(own[uses])
    if part in _PARTS and name in _PARTS[part][1]:
        return lambda **given: _told(getattr(getattr(engine, _ATTRIBUTES[part]), name)(**given))
    if part == "lake" and name in _LAKE:
        return lambda **given: _told(_LAKE[name](engine.lake, **given))
    for point in metadata.entry_points(group=ENTRY_POINTS, name=uses):
        return _guarded(point.load())
    offered = [point.name for point in metadata.entry_points(group=ENTRY_POINTS)]
    known = {*own, *offered, *(f"{each}.*" for each in (*_PARTS, "lake"))}
    raise ConfigurationError(f"unknown function {uses!r}: {suggestion(uses, known)}")


FAILED = "function_error"
"""The `error_type` if a function that is not ours fails with an error that is not Lakebed's."""


def _guarded(function: Function) -> Function:
    """Wrap a function that is not ours, so that its errors become results."""

    def call(**given: Any) -> Any:
        try:
            return function(**given)
        except LakebedError:
            raise
        except Exception as error:  # noqa: BLE001 - it is not ours, and may raise anything
            text = f"{type(error).__name__}: {error}"
            return {"success": False, "error": text, "error_type": FAILED}

    return call


_ATTRIBUTES = {"ltm": "ltm", "metadata": "metadata", "blob": "blobs", "session": "sessions"}


def _told(result: object) -> Result:
    """Return the result of a call as a dictionary with `success`."""
    if isinstance(result, Mapping):
        return {"success": True, **result}
    if isinstance(result, (str, bytes, int, float, bool)) or result is None:
        return {"success": True, "result": result}
    if isinstance(result, Iterable):
        found = [dict(one) if isinstance(one, Mapping) else one for one in result]
        return {"success": True, "results": found, "count": len(found)}
    raise ValidationError(f"the result must be plain data, got {type(result).__name__}")
