"""Checked options of the mapping that opens a catalog; ConfigurationError names a wrong one."""

from __future__ import annotations

from collections.abc import Mapping

from lakebed.errors import ConfigurationError


def number(given: Mapping[str, object], name: str, default: int, *, least: int = 1) -> int:
    """A whole number, from `least` up."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"catalog.{name} is {value!r}: expected a number from {least} up")
    return value


def seconds(given: Mapping[str, object], name: str, default: float) -> float:
    """A time in seconds, above 0."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
        raise ConfigurationError(f"catalog.{name} is {value!r}: expected seconds above 0")
    return float(value)


def flag(given: Mapping[str, object], name: str, default: bool) -> bool:
    """True or false."""
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise ConfigurationError(f"catalog.{name} is {value!r}: expected true or false")
    return value


def text(given: Mapping[str, object], name: str, default: str) -> str:
    """Text that is not empty."""
    value = given.get(name, default)
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"catalog.{name} is {value!r}: expected text")
    return value
