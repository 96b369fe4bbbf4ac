"""The grammar a second time: slow, plain, and sharing no code with `lakebed.filters`."""

from __future__ import annotations

import re
from fractions import Fraction

NOTHING = ("nothing",)


def tagged(value: object) -> tuple[object, ...]:
    """The value in a form whose Python equality is JSON equality."""
    if value is None:
        return ("null",)
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, (int, float)):
        return ("number", Fraction(value))
    if isinstance(value, str):
        return ("string", value.encode())
    if isinstance(value, list):
        return ("list", tuple(tagged(item) for item in value))
    assert isinstance(value, dict)
    return ("object", frozenset((key, tagged(item)) for key, item in value.items()))


def lookup(metadata: dict[str, object], path: str) -> tuple[object, ...]:
    found = tagged(metadata)
    for raw in re.findall(r"((?:\\.|[^.\\])*)(?:\.|$)", path + ".", re.DOTALL)[:-1]:
        key = re.sub(r"\\(.)", r"\1", raw, flags=re.DOTALL)
        if found[0] != "object":
            return NOTHING
        fields = dict(found[1])  # type: ignore[call-overload]
        if key not in fields:
            return NOTHING
        found = fields[key]
    return found


def holds(source: dict[str, object], metadata: dict[str, object]) -> bool:
    results = []
    for key, operand in source.items():
        if key == "$and":
            results.append(all(holds(branch, metadata) for branch in operand))
        elif key == "$or":
            results.append(any(holds(branch, metadata) for branch in operand))
        elif key == "$not":
            results.append(not holds(operand, metadata))
        else:
            found = lookup(metadata, key)
            operators = isinstance(operand, dict) and any(k.startswith("$") for k in operand)
            results.append(field_holds(operand if operators else {"$eq": operand}, found))
    return all(results)


def field_holds(operators: dict[str, object], found: tuple[object, ...]) -> bool:
    return all(operator_holds(name, operand, found) for name, operand in operators.items())


def operator_holds(name: str, operand: object, found: tuple[object, ...]) -> bool:
    if name == "$not":
        return not field_holds(operand, found)
    if name in ("$in", "$nin"):
        return (found in [tagged(item) for item in operand]) == (name == "$in")
    if name == "$exists":
        return (found != NOTHING) == operand
    wanted = tagged(operand)
    if name == "$eq":
        return found == wanted
    if name == "$ne":
        return found != wanted
    if name == "$contains":
        if found[0] == "list":
            return wanted in found[1]
        return found[0] == wanted[0] == "string" and wanted[1].decode() in found[1].decode()
    if found[0] != wanted[0]:
        return False
    left, right = found[1], wanted[1]
    return {"$gt": left > right, "$gte": left >= right, "$lt": left < right, "$lte": left <= right}[
        name
    ]
