"""Values in the shell: JSON text, plain text, bytes, and base64 in a file."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import typer

from lakebed.errors import ValidationError
from lakebed.values.duration import parse_duration

STDIN = "-"
_JSON_BEGINNINGS = ("{", "[", '"')


def parse_json(text: str | bytes) -> Any:
    """Return the value of JSON text.

    Raises ValueError if the text is not JSON, and ValidationError if it is nested too deeply. NaN
    and Infinity are not JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValidationError("the JSON is nested too deeply") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def json_or_text(text: str, *, otherwise: str = "add --text to store it as text") -> Any:
    """Return the value of JSON text, or the text itself if it is not JSON.

    Raises ValidationError for text that begins like JSON but is invalid, because usually a brace is
    missing. `otherwise`: what the error advises if the text is meant as it is.
    """
    try:
        return parse_json(text)
    except ValidationError:
        raise
    except ValueError as error:
        if not text.lstrip().startswith(_JSON_BEGINNINGS):
            return text
        raise ValidationError(
            f"the value begins like JSON but is not: {error}; {otherwise}"
        ) from None


def duration(text: str | None, option: str) -> float | None:
    """Return the seconds in an option, which is a number of seconds or has units."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        seconds = parse_duration(text)
    if seconds is None:
        raise typer.BadParameter("expected 90, 90s, 15m, 1h30m, 30d or 2w", param_hint=option)
    return seconds


def json_object(text: str | None, option: str) -> dict[str, Any] | None:
    """Return the JSON object in an option."""
    if text is None:
        return None
    try:
        value = parse_json(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint=option) from None
    if not isinstance(value, dict):
        raise typer.BadParameter('expected a JSON object, such as {"a": 1}', param_hint=option)
    return value


def timestamp(text: object, field: str = "expires_at") -> datetime:
    """Return the time in a text in ISO 8601 with a zone."""
    try:
        when = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        when = None
    if when is None or when.utcoffset() is None:
        raise ValidationError(
            f"{field} is {text!r}: expected ISO 8601 with a zone, such as 2031-05-01T12:00:00Z"
        )
    return when


def read_value(argument: str | None, file: Path | None, *, text: bool, raw: bool) -> Any:
    """Return the value that `put` gets as an argument, from a file, or from standard input."""
    if argument is None and file is None:
        raise typer.BadParameter("a value or --file is required", param_hint="VALUE")
    if argument is not None and file is not None:
        raise typer.BadParameter("cannot be combined with VALUE", param_hint="--file")
    if text and raw:
        raise typer.BadParameter("cannot be combined with --text", param_hint="--bytes")
    if argument is not None and argument != STDIN:
        return os.fsencode(argument) if raw else argument if text else json_or_text(argument)
    data = sys.stdin.buffer.read() if file is None or str(file) == STDIN else file.read_bytes()
    if raw:
        return data
    try:
        content = data.decode()
    except UnicodeDecodeError:
        raise ValidationError(
            f"{'standard input' if file is None else file} is not UTF-8 text: "
            "add --bytes to store it as bytes"
        ) from None
    return content if text else json_or_text(content)
