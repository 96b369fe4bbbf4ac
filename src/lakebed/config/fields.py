"""The types of settings: what each accepts, and how JSON Schema describes it to editors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from lakebed.catalog.opened import MEMORY
from lakebed.config.masking import mask
from lakebed.lake.base import AutoMaintain
from lakebed.values.duration import parse_duration

_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Model(BaseModel):
    """A mapping of settings. Unknown keys and values of the wrong type are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, validate_default=True
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        for name, value in super().__repr_args__():
            yield name, mask(value, name or "")


def wrong(message: str, at: str | None = None) -> PydanticCustomError:
    """Return the error for a setting, or for the setting `at` inside it, with our own message."""
    return PydanticCustomError("lakebed", "{message}", {"message": message, "at": at})


class _Schema:
    """Adds another accepted form to the JSON Schema of a setting."""

    def __init__(self, **form: object) -> None:
        self._form = form

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), self._form]}


def or_text(description: str) -> _Schema:
    """Say in the JSON Schema that a text may stand for the setting."""
    return _Schema(type="string", description=description)


# A reference is replaced by text, so numbers and booleans may be given as text.
_REFERENCE = _Schema(type="string", pattern=r"\$\{|\{\{|^[0-9.]+$|^(true|false|yes|no|on|off)$")

_LENGTH = _Schema(type="string", pattern=r"\$\{|\{\{|^[0-9.]+$|^([0-9.]+[smhdw] ?)+$")


def _whole(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _number(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        seconds = parse_duration(value)
        return value if seconds is None else seconds


def _truth(value: object) -> object:
    return _TRUTH.get(value.lower(), value) if isinstance(value, str) else value


def _off(value: object) -> object:
    return "off" if value is False else value  # YAML reads the word off as False


def _path_text(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def expand_path(path: str, info: ValidationInfo) -> str:
    """Make a path absolute. A relative path starts at the folder of the file that names it."""
    if path == MEMORY:
        return path
    assert isinstance(info.context, dict)
    folder: Path = info.context["folder"]
    return str((folder / Path(path).expanduser()).resolve())


def _plain_or_uri(uri: str, info: ValidationInfo) -> str:
    return uri if "://" in uri else expand_path(uri, info)


Text = Annotated[str, Field(min_length=1)]
LocalPath = Annotated[Text, AfterValidator(expand_path), BeforeValidator(_path_text)]
LocalPathOrUri = Annotated[Text, AfterValidator(_plain_or_uri), BeforeValidator(_path_text)]
Secret = Annotated[SecretStr, Field(min_length=1)]
Count = Annotated[int, Field(ge=0), BeforeValidator(_whole), _REFERENCE]
Positive = Annotated[int, Field(ge=1), BeforeValidator(_whole), _REFERENCE]
Port = Annotated[int, Field(ge=1, le=65535), BeforeValidator(_whole), _REFERENCE]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_number), _LENGTH]
YesNo = Annotated[bool, BeforeValidator(_truth), _REFERENCE]
Upkeep = Annotated[AutoMaintain, BeforeValidator(_off), _Schema(const=False)]

Raw = dict[str, Any]
"""The settings of a model before they are validated."""


def one_name(raw: Raw, name: str, *synonyms: str) -> Raw:
    """Return the settings with the synonyms renamed to `name`. Raises an error if two of the names
    are given."""
    given = [synonym for synonym in (name, *synonyms) if raw.get(synonym) is not None]
    if len(given) > 1:
        raise wrong(f"cannot be combined with {given[0]}: give one of them", given[1])
    rest = {key: value for key, value in raw.items() if key not in synonyms}
    return rest | {name: raw[given[0]]} if given else rest
