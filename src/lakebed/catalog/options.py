"""Checks of the options in the mapping that opens a catalog. ConfigurationError names a wrong
one."""

from __future__ import annotations

from collections.abc import Mapping

from lakebed.errors import ConfigurationError


def number(given: Mapping[str, object], name: str, default: int, *, least: int = 1) -> int:
    """Return a whole number, `least` or more."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"catalog.{name} is {value!r}: expected a number, {least} or more")
    return value


def seconds(given: Mapping[str, object], name: str, default: float) -> float:
    """Return a time in seconds, above 0."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
        raise ConfigurationError(f"catalog.{name} is {value!r}: expected seconds above 0")
    return float(value)


def flag(given: Mapping[str, object], name: str, default: bool) -> bool:
    """Return True or False."""
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise ConfigurationError(f"catalog.{name} is {value!r}: expected true or false")
    return value


def text(given: Mapping[str, object], name: str, default: str = "") -> str:
    """Return a string that is not empty."""
    value = given.get(name, default)
    if not isinstance(value, str) or not value:
        said = f"is {value!r}" if name in given else "is missing"
        raise ConfigurationError(f"catalog.{name} {said}: expected text")
    return value


def maybe_text(given: Mapping[str, object], name: str) -> str | None:
    """Return a string that is not empty, or None."""
    return None if given.get(name) is None else text(given, name)
