"""Field values that change an existing value, such as increments, and how they are applied."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from lakebed.documents.data import Data, checked
from lakebed.errors import SerializationError, ValidationError
from lakebed.filters.evaluation import MISSING, same
from lakebed.filters.paths import split_path

_PLAIN: Final = frozenset({str, int, float, bool, type(None), list})


class FieldValue(ABC):
    """A change of one field, given in place of a new value. The methods of a store make it."""

    needs_time = False

    @abstractmethod
    def apply(self, old: object, now: str, where: str) -> object:
        """Return the field's new value, or MISSING to remove the field.

        `old`: the present value or MISSING. `now`: the time of the store. `where`: the name of the
        field in errors.
        """


@dataclass(frozen=True)
class ServerTimestamp(FieldValue):
    """The time of the store, as text in ISO 8601."""

    needs_time = True

    def apply(self, old: object, now: str, where: str) -> object:
        del old, where
        return now


@dataclass(frozen=True)
class DeleteField(FieldValue):
    """Removes the field."""

    def apply(self, old: object, now: str, where: str) -> object:
        del old, now, where
        return MISSING


@dataclass(frozen=True)
class Increment(FieldValue):
    """Adds to a number. A missing field counts as 0."""

    by: int | float

    def __post_init__(self) -> None:
        by = self.by
        if isinstance(by, bool) or not isinstance(by, (int, float)) or not math.isfinite(by):
            raise ValidationError(
                f"increment must be a finite number, got {by!r}"
                if isinstance(by, float)
                else f"increment must be a number, got {type(by).__name__}"
            )

    def apply(self, old: object, now: str, where: str) -> object:
        del now
        if old is MISSING:
            return self.by
        if isinstance(old, bool) or not isinstance(old, (int, float)):
            raise ValidationError(
                f"{where} must be a number to be incremented, got {type(old).__name__}"
            )
        return old + self.by


@dataclass(frozen=True)
class ArrayChange(FieldValue):
    """Adds elements to a list, or removes them."""

    values: tuple[Any, ...]

    def __init__(self, values: Iterable[object], name: str) -> None:
        if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
            raise ValidationError(f"{name} takes a list of values, got {type(values).__name__}")
        try:
            copied = tuple(checked(value, f"{name}[{i}]") for i, value in enumerate(values))
        except SerializationError as error:
            raise ValidationError(str(error)) from None
        object.__setattr__(self, "values", copied)

    def _list(self, old: object, where: str) -> list[Any]:
        if old is MISSING:
            return []
        if not isinstance(old, list):
            raise ValidationError(f"{where} must be a list, got {type(old).__name__}")
        return list(old)

    def has(self, value: object) -> bool:
        """Return whether the value is one of the elements."""
        return any(same(value, mine) for mine in self.values)


class ArrayUnion(ArrayChange):
    """Appends the elements that a list lacks. A missing field counts as an empty list."""

    def __init__(self, values: Iterable[object]) -> None:
        super().__init__(values, "array_union")

    def apply(self, old: object, now: str, where: str) -> object:
        del now
        found = self._list(old, where)
        for value in self.values:
            if not any(same(value, there) for there in found):
                found.append(value)
        return found


class ArrayRemove(ArrayChange):
    """Removes all elements that equal one of the values. A missing field becomes an empty list."""

    def __init__(self, values: Iterable[object]) -> None:
        super().__init__(values, "array_remove")

    def apply(self, old: object, now: str, where: str) -> object:
        del now
        return [value for value in self._list(old, where) if not self.has(value)]


def has_field_values(value: object) -> bool:
    """Return whether any field is a `FieldValue`."""
    if type(value) is dict:
        return any(type(item) not in _PLAIN and has_field_values(item) for item in value.values())
    return next(_field_values(value), None) is not None


def needs_time(value: object) -> bool:
    """Return whether any field needs the time of the store."""
    return any(found.needs_time for found in _field_values(value))


def _field_values(value: object) -> Iterator[FieldValue]:
    if isinstance(value, FieldValue):
        yield value
    elif type(value) is dict or isinstance(value, Mapping):
        for item in value.values():
            if type(item) not in _PLAIN:
                yield from _field_values(item)


def created(data: Mapping[str, object], now: str) -> Data:
    """Return the document for `data`, without a document to start from."""
    _refuse_deletes(data, "set_document without merge")
    return merged({}, data, now)


def merged(old: Data, new: Mapping[str, object], now: str, path: str = "") -> Data:
    """Return a document with fields replaced. Objects in both are merged, at any depth."""
    result = dict(old)
    for name, value in new.items():
        where = f"{path}{name}"
        there = result.get(name, MISSING)
        if isinstance(value, FieldValue):
            _put(result, name, value.apply(there, now, where))
        elif isinstance(value, Mapping) and value:
            inner = there if isinstance(there, dict) else {}
            result[name] = merged(inner, value, now, f"{where}.")
        else:
            result[name] = value
    return result


def updated(old: Data, changes: Mapping[tuple[str, ...], object], now: str) -> Data:
    """Return a document with the values at these paths replaced."""
    result = dict(old)
    for path, value in changes.items():
        where = ".".join(path)
        holder = result
        for depth, name in enumerate(path[:-1], 1):
            inner = holder.get(name, MISSING)
            if inner is MISSING:
                if isinstance(value, DeleteField):
                    break
                inner = {}
            elif not isinstance(inner, dict):
                raise ValidationError(
                    f"{where}: {'.'.join(path[:depth])} must be an object, got "
                    f"{type(inner).__name__}"
                )
            holder[name] = holder = dict(inner)
        else:
            there = holder.get(path[-1], MISSING)
            if isinstance(value, FieldValue):
                _put(holder, path[-1], value.apply(there, now, where))
            elif isinstance(value, Mapping):
                _refuse_deletes(value, where)
                holder[path[-1]] = merged({}, value, now, f"{where}.")
            else:
                holder[path[-1]] = value
    return result


def read_update(data: object) -> dict[tuple[str, ...], object]:
    """Return the values of an update by their paths.

    Raises ValidationError if a path is malformed or lies inside another one.
    """
    if not isinstance(data, Mapping):
        raise ValidationError(f"data must be a dict, got {type(data).__name__}")
    if not data:
        raise ValidationError("data must name at least one field")
    changes = {read_path(path, "data"): value for path, value in data.items()}
    ordered = sorted(changes)
    for one, other in pairwise(ordered):
        if other[: len(one)] == one:
            raise ValidationError(
                f"data has both {'.'.join(one)} and {'.'.join(other)}: give one of them"
            )
    return changes


def read_path(path: object, where: str) -> tuple[str, ...]:
    """Return the names in a dotted path. Raises ValidationError if it is malformed."""
    if not isinstance(path, str):
        raise ValidationError(f"{where}: a field must be a string, got {type(path).__name__}")
    segments = split_path(path)
    if segments is None:
        raise ValidationError(
            rf"{where}: in the path {path!r}, a dot, a backslash or a $ must follow a backslash"
        )
    try:
        for segment in segments:
            checked({segment: None}, "the path")
    except SerializationError as error:
        raise ValidationError(f"{where}: {path!r} is not a valid path: {error}") from None
    return segments


def _refuse_deletes(data: Mapping[str, object], where: str) -> None:
    if any(isinstance(found, DeleteField) for found in _field_values(data)):
        raise ValidationError(
            f"{where}: delete_field() works only in update_document and in set_document with "
            "merge=True, and not inside an object that replaces another"
        )


def _put(fields: Data, name: str, value: object) -> None:
    if value is MISSING:
        fields.pop(name, None)
    else:
        fields[name] = value
