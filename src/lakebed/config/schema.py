"""The JSON Schema of a configuration, for editors."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from lakebed.config.reading.validation import SYNONYMS
from lakebed.config.settings.backends import BACKENDS
from lakebed.config.settings.base import InlineSettings, Settings

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema of a document, with the settings under `settings.ltm` or at its root."""
    union: Any = reduce(or_, BACKENDS.values())
    chosen: TypeAdapter[Settings] = TypeAdapter(Annotated[union, Field(discriminator="backend")])
    settings = chosen.json_schema(ref_template="#/$defs/{model}")
    definitions = settings.pop("$defs")
    _leave_out(definitions, "OutsideCatalogSettings")
    _leave_out(definitions, "OutsideSecrets")
    for name, definition in definitions.items():
        _add_synonyms(name, definition)
        _allow_left_out(definition)
    for model in BACKENDS.values():
        catalog = model.__name__.replace("Settings", "CatalogSettings")
        if issubclass(model, InlineSettings) and catalog in definitions:
            _add_catalog(definitions[model.__name__], catalog)
    definitions["Lake"] = {"oneOf": settings["oneOf"]}
    return {
        "$schema": _DIALECT,
        "title": "Lakebed configuration",
        "if": {"required": ["settings"]},
        "then": {
            "properties": {
                "settings": {
                    "type": "object",
                    "properties": {"ltm": {"$ref": "#/$defs/Lake"}},
                    "required": ["ltm"],
                }
            }
        },
        "else": {"$ref": "#/$defs/Lake"},
        "$defs": definitions,
    }


def _leave_out(definitions: dict[str, Any], name: str) -> None:
    """Remove a model, so that editors mark unknown catalogs and sources: most are misspelled."""
    del definitions[name]
    for definition in definitions.values():
        for setting in definition.get("properties", {}).values():
            for form in (setting, *setting.get("anyOf", ())):
                if "oneOf" in form:
                    form["oneOf"] = [
                        one for one in form["oneOf"] if one["$ref"] != f"#/$defs/{name}"
                    ]


def _add_synonyms(name: str, definition: dict[str, Any]) -> None:
    kind = name.removesuffix("Settings").removesuffix("Catalog").lower()
    properties = definition.get("properties", {})
    for synonym in SYNONYMS.get(kind, ()):
        properties[synonym] = {"type": "string", "description": "Another name of the address."}
    if "iam" in properties:
        properties["iam_auth"] = {**properties["iam"], "description": "Another name of `iam`."}
    if kind == "sqlalchemy":
        definition["required"] = [part for part in definition["required"] if part != "url"]
        definition["anyOf"] = [{"required": ["url"]}, {"required": ["connection_string"]}]


def _add_catalog(definition: dict[str, Any], catalog: str) -> None:
    """Allow the options of a backend that is only a catalog to stand under `catalog`."""
    definition["properties"]["catalog"] = {
        "anyOf": [{"$ref": f"#/$defs/{catalog}"}, {"type": "string"}],
        "description": "The same options in a mapping with `type`, or a URL.",
    }
    if "anyOf" in definition:
        definition["anyOf"].append({"required": ["catalog"]})


def _allow_left_out(definition: dict[str, Any]) -> None:
    """Allow `backend` to be left out only for the default backend."""
    backend = definition.get("properties", {}).get("backend", {})
    if backend.get("const") == "duckdb":
        definition["required"] = [part for part in definition["required"] if part != "backend"]
