"""Checks of a store's options. Each raises a ConfigurationError that names an invalid option."""

from __future__ import annotations

from lakebed.errors import ConfigurationError


def text(name: str, value: object) -> str:
    """Return a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{name} must be a string that is not empty")
    return value


def optional_text(name: str, value: object) -> str | None:
    """Return a string that is not empty, or None."""
    return None if value is None else text(name, value)


def count(name: str, value: object, *, least: int = 1) -> int:
    """Return a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name} must be a whole number, {least} or more")
    return value


def seconds(name: str, value: object) -> float:
    """Return a time in seconds, above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
        raise ConfigurationError(f"{name} must be seconds above 0")
    return float(value)


def flag(name: str, value: object) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False")
    return value
