"""Put spans and metrics around the calls of lakes and LTM backends, and remove them again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any

from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Lake, Scope
from lakebed.ltm.adapter import LTMBackend
from lakebed.observing import observe_with

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from lakebed.telemetry.instruments import Instruments

_READS = ("retrieve", "retrieve_batch", "entry", "search", "sql", "stats", "table", "tables")
_CALLS = (
    *_READS, "store", "store_batch", "delete", "take", "create_snapshot", "drop_snapshot", "diff",
    "changes", "restore", "history", "publish", "presign", "cleanup_expired", "compact", "collect",
    "purge", "verify", "maintain",
)  # fmt: skip
_MEMORY = {
    "store": "update_memory", "store_batch": "update_memory", "search": "search_memory",
    "retrieve": "search_memory", "retrieve_batch": "search_memory", "delete": "delete_memory",
}  # fmt: skip
_KEYED = frozenset({"store", "retrieve", "entry", "delete", "history", "presign", "table"})
_UPKEEP = {
    "cleanup_expired": {"deleted": "entries"},
    "maintain": {"expired": "entries", "history": "versions"},
    "collect": {"objects": "objects", "files": "files"},
    "purge": {"entries": "entries", "versions": "versions", "files": "files"},
}

_originals: list[tuple[type, str, Any]] = []


def wrap_all(instruments: Instruments) -> None:
    """Trace and measure every call from now on."""
    for name in _CALLS:
        _replace(Lake, name, _lake_call(name, getattr(Lake, name), instruments))
    for name in _READS:
        _replace(LakeView, name, _lake_call(name, getattr(LakeView, name), instruments))
    for name, operation in _MEMORY.items():
        call = getattr(LTMBackend, name)
        _replace(LTMBackend, name, _memory_call(name, operation, call, instruments))
    _replace(Lake, "__init__", _opening(Lake.__init__, instruments))
    observe_with(instruments.observe)


def unwrap_all() -> None:
    """Restore the calls as they were."""
    observe_with(None)
    while _originals:
        kind, name, original = _originals.pop()
        if original is None:
            delattr(kind, name)  # the class inherited the method
        else:
            setattr(kind, name, original)


def _replace(kind: type, name: str, call: Callable[..., Any]) -> None:
    _originals.append((kind, name, vars(kind).get(name)))
    setattr(kind, name, call)


def _opening(init: Callable[..., None], instruments: Instruments) -> Callable[..., None]:
    @wraps(init)
    def opened(self: Lake, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        if not isinstance(self, Scope):  # a scope would count the entries of its lake again
            instruments.lakes.add(self)

    return opened


def _lake_call(name: str, call: Callable[..., Any], instruments: Instruments) -> Callable[..., Any]:
    @wraps(call)
    def traced(self: Lake | LakeView, *args: Any, **options: Any) -> Any:
        about = {}
        if instruments.content:
            about = _private(name, args, options)
        known = vars(self).get("name", "lakebed")  # a lake has no name until it connects
        with instruments.operation(name, known, about) as span:
            result = call(self, *args, **options)
            _tell(span, name, result)
        if name in _UPKEEP and not options.get("dry_run"):
            removed = {what: result[field] for field, what in _UPKEEP[name].items()}
            instruments.count_upkeep(self.name, removed)
        return result

    return traced


def _private(
    name: str, args: tuple[Any, ...], options: Mapping[str, Any]
) -> dict[str, str | int | bool]:
    """Return the arguments that are recorded only with `content`, because they can be private."""
    first = args[0] if args else options.get("key", options.get("query"))
    if not isinstance(first, str):
        return {}
    if name in _KEYED:
        return {"lakebed.key": first}
    return {"db.query.text": first} if name in ("sql", "search") else {}


def _tell(span: Span, name: str, result: Any) -> None:
    """Record the sizes of a call's result."""
    if name == "store_batch":
        span.set_attribute("db.operation.batch.size", result.stored)
    elif name in ("search", "retrieve_batch"):
        span.set_attribute("db.response.returned_rows", len(result))
    elif name == "store":
        span.set_attribute("lakebed.value.size", result.byte_size)
        span.set_attribute("lakebed.value.inlined", result.inlined)


def _memory_call(
    name: str, operation: str, call: Callable[..., Any], instruments: Instruments
) -> Callable[..., Any]:
    from lakebed.telemetry.instruments import failed

    @wraps(call)
    def traced(self: LTMBackend, *args: Any, **options: Any) -> Any:
        store = "lakebed" if self._lake is None else vars(self._lake).get("name", "lakebed")
        about: dict[str, str | int | bool] = {}
        if instruments.content:
            about = _memory_arguments(name, args, options)
        with instruments.memory(operation, store, about) as span:
            result = call(self, *args, **options)
            if not result["success"]:
                failed(span, result["error_type"])
            elif instruments.content and name == "search":
                span.set_attribute("gen_ai.memory.records", _records(result["results"]))
        return result

    return traced


def _memory_arguments(
    name: str, args: tuple[Any, ...], options: Mapping[str, Any]
) -> dict[str, str | int | bool]:
    """Return the record's id, the query, and the stored value."""
    key = args[0] if args else options.get("key")
    if name == "search":
        query = args[0] if args else options.get("query")
        return {"gen_ai.memory.query.text": query} if isinstance(query, str) else {}
    if not isinstance(key, str):
        return {}
    about: dict[str, str | int | bool] = {"gen_ai.memory.record.id": key}
    if name == "store":
        value = args[1] if len(args) > 1 else options.get("value")
        about["gen_ai.memory.records"] = _records([{"key": key, "value": value}])
    return about


def _records(found: list[dict[str, Any]]) -> str:
    """Return records as JSON, in the form of the conventions.

    A value that JSON cannot represent is replaced by the name of its type.
    """
    records = [{"id": each["key"], "content": each["value"]} for each in found]
    return json.dumps(records, ensure_ascii=False, default=lambda value: type(value).__name__)
