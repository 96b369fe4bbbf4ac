"""The tables of docs/guides/configuration.md, made from the models.

`python -m tests.config.reference` writes them anew.
"""

from __future__ import annotations

import re
import typing
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lakebed.config.secrets.base import Secrets
from lakebed.config.secrets.sources import SOURCES, source_model
from lakebed.config.settings.backends import BACKENDS, StorageSettings
from lakebed.config.settings.base import SearchSettings, Settings
from lakebed.config.settings.catalogs import CATALOGS

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "configuration.md"
_BEGIN, _END = "<!-- generated: reference -->", "<!-- end of what is generated -->"
_WORDS = {str: "text", int: "whole number", float: "number", bool: "true, false"}


def reference() -> str:
    """Every setting of every mapping: Markdown with a table for each."""
    parts = ["### Every backend", _table(Settings, set())]
    common = set(Settings.model_fields) | {"backend"}
    for name, model in BACKENDS.items():
        parts += [f"### `backend: {name}`", _words(model), _table(model, common)]
    for name, model in CATALOGS.items():
        parts += [f"### `catalog`, `type: {name}`", _words(model), _table(model, {"type"})]
    parts += ["### `storage`", _words(StorageSettings), _table(StorageSettings, set())]
    parts += ["### `search`", _words(SearchSettings), _table(SearchSettings, set())]
    for name in SOURCES:
        source = source_model(name)
        parts += [f"### `secrets`, `credentials`, `source: {name}`", _words(source)]
        parts += [_table(source, {"source"})]
    return "\n\n".join(parts)


def _words(model: type[BaseModel]) -> str:
    return re.sub(r"\s+", " ", model.__doc__ or "").strip()


def _table(model: type[BaseModel], without: set[str]) -> str:
    rows = ["| key | takes | if left out | |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        if name not in without:
            rows.append(
                f"| `{field.alias or name}` | {_takes(field)} | {_default(field)} "
                f"| {field.description or ''} |"
            )
    return "\n".join(rows)


def _takes(field: FieldInfo) -> str:
    return ", ".join(dict.fromkeys(_type_words(field.annotation)))


def _type_words(kind: Any) -> list[str]:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, UnionType):
        return [word for part in typing.get_args(kind) for word in _type_words(part)]
    if origin is typing.Annotated:
        return _type_words(typing.get_args(kind)[0])
    if origin is Literal:
        return [f"`{word}`" for word in typing.get_args(kind)]
    if kind is NoneType:
        return []
    if origin is dict:
        return ["mapping"]
    if kind is SecretStr:
        return ["text, masked"]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        plain = issubclass(kind, (Secrets, SearchSettings))
        return ["mapping"] if plain else ["short form, mapping"]
    return [_WORDS[kind]]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if default is PydanticUndefined or default is None or default == "":
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def current(text: str) -> str:
    """The guide with its tables as the models are now."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{reference()}\n\n{_END}{after}"


if __name__ == "__main__":
    GUIDE.write_text(current(GUIDE.read_text("utf-8")), "utf-8")
