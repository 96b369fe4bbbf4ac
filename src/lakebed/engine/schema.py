"""The JSON Schema of the engine's documents, for editors. It extends that of configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter

from lakebed.config.schema import json_schema
from lakebed.engine.flat import WORDS
from lakebed.engine.parts import DOCUMENTS, FILES, OtherPart
from lakebed.engine.steps import Step

_NUMBERS = ("ltm_lock_ttl", "postgres_pool_size", "postgres_pool_max_overflow", "postgres_async")


def engine_schema() -> dict[str, Any]:
    """Return a schema that accepts the engine's documents and configurations."""
    schema = json_schema()
    definitions = schema["$defs"]
    parts = {
        "metadata": _part(definitions, DOCUMENTS.models),
        "blob": _part(definitions, FILES.models),
    }
    definitions["Step"] = _definition(definitions, Step)
    words: dict[str, Any] = {name: {"type": "string"} for name in WORDS}
    words |= {name: {"type": ["string", "integer", "number", "boolean"]} for name in _NUMBERS}
    settings = {
        "type": "object",
        "properties": {
            "ltm": {"$ref": "#/$defs/Lake"},
            "backends": {"type": "object", "properties": parts, "additionalProperties": False},
            "sessions": {"type": "object"},
            **words,
        },
    }
    steps = {"type": "array", "items": {"$ref": "#/$defs/Step"}, "minItems": 1}
    engine = {
        "type": "object",
        "properties": {
            "settings": settings,
            "steps": steps,
            "env": {"type": "array", "items": {"type": "string"}},
            **words,
        },
    }
    nested = [{"required": [name]} for name in ("backends", *WORDS)]
    engines: list[dict[str, Any]] = [{"required": [name]} for name in ("steps", *WORDS)]
    engines.append({"required": ["settings"], "properties": {"settings": {"anyOf": nested}}})
    lake = {name: schema.pop(name) for name in ("if", "then", "else")}
    return schema | {"if": {"anyOf": engines}, "then": engine, "else": lake}


def _part(definitions: dict[str, Any], models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    forms = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": _reference(definitions, model),
        }
        for name, model in models.items()
    ]
    other = _reference(definitions, OtherPart)
    return {"allOf": [other, *forms]}


def _reference(definitions: dict[str, Any], model: type[BaseModel]) -> dict[str, str]:
    definitions[model.__name__] = _definition(definitions, model)
    return {"$ref": f"#/$defs/{model.__name__}"}


def _definition(definitions: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    found = TypeAdapter(model).json_schema(ref_template="#/$defs/{model}")
    for name, definition in found.pop("$defs", {}).items():
        if name != "OutsideSecrets":
            definitions.setdefault(name, definition)
    properties = found.get("properties", {})
    if "connection_string" in properties:
        properties["url"] = {"type": "string", "description": "Another name of the address."}
        properties["iam_auth"] = properties["iam"]
    found["required"] = [name for name in found.get("required", ()) if name != "bucket"]
    return found
