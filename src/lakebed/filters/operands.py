"""Checks the operands of a filter, which are JSON data, and copies them into exact types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from lakebed.errors import ValidationError
from lakebed.filters.evaluation import Json

MAX_DEPTH: Final = 64
"""How deep objects and lists may nest in a filter, operands included."""


def invalid(where: str, problem: str) -> ValidationError:
    return ValidationError(
        f"metadata filter: {where}: {problem}" if where else f"metadata filter: {problem}"
    )


def describe(value: object) -> str:
    """Return the kind of a value in JSON's words. The value itself is not shown, because it may be
    private."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number" if isinstance(value, int) or math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        return "a string"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "an object" if isinstance(value, Mapping) else f"a Python {type(value).__name__}"


def check_depth(depth: int, where: str) -> None:
    if depth > MAX_DEPTH:
        raise invalid(where, f"objects and lists nest deeper than {MAX_DEPTH}")


def text(value: str, where: str) -> str:
    """Return the string. Raises ValidationError if metadata cannot hold it."""
    if "\0" in value:
        raise invalid(where, "must not contain a NUL character, which metadata cannot hold")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid(
            where, "must not contain a lone surrogate, which is not valid Unicode text"
        ) from None
    return str.__str__(value)


def name(value: object, where: str) -> str:
    """Return a key of an object in a filter. Raises ValidationError if it is not valid."""
    if not isinstance(value, str):
        raise invalid(where, f"a field name must be a string, not {describe(value)}")
    return text(value, where)


def number(value: int | float, where: str) -> int | float:
    """Return the number as an exact int or float. Raises ValidationError unless it is finite."""
    if isinstance(value, int):
        return int(value)
    if not math.isfinite(value):
        raise invalid(where, f"expected a finite number, not {describe(value)}")
    return float(value)


def literal(operand: object, where: str, depth: int) -> Json:
    """Return the operand as JSON data, without looking for operators. Raises ValidationError if
    JSON cannot hold it."""
    if operand is None or isinstance(operand, bool):
        return operand
    if isinstance(operand, str):
        return text(operand, where)
    if isinstance(operand, (int, float)):
        return number(operand, where)
    if isinstance(operand, (list, tuple)):
        check_depth(depth, where)
        return [literal(o, f"{where}[{i}]", depth + 1) for i, o in enumerate(operand)]
    if isinstance(operand, Mapping):
        check_depth(depth, where)
        return {
            (key := name(raw, where)): literal(value, f"{where}.{key}", depth + 1)
            for raw, value in operand.items()
        }
    raise invalid(
        where,
        f"expected a string, number, boolean, null, list or object, not {describe(operand)}",
    )


def refuse_operators(operand: Json, where: str) -> None:
    """Raise ValidationError for operators inside a bare object or list. It means equality, so they
    would match nothing."""
    if isinstance(operand, list):
        for item in operand:
            refuse_operators(item, where)
    elif isinstance(operand, dict):
        for key, value in operand.items():
            if key.startswith("$"):
                raise invalid(
                    where,
                    f'"{key}" is inside an object or list that is compared as a whole: write'
                    ' a dotted path ("a.b") to use an operator, or $eq to mean the key itself',
                )
            refuse_operators(value, where)
