"""Checks of a store's options. Each raises a ConfigurationError that names an invalid option.

No error shows a text, because the text may be a password.
"""

from __future__ import annotations

from lakebed.errors import ConfigurationError

_MOST_SECONDS = 1_000_000


def text(name: str, value: object) -> str:
    """Return a string that is not empty."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, got {type(value).__name__}")
    if not value:
        raise ConfigurationError(f"{name} must not be empty")
    return value


def optional_text(name: str, value: object) -> str | None:
    """Return a string that is not empty, or None."""
    return None if value is None else text(name, value)


def count(name: str, value: object, *, least: int = 1) -> int:
    """Return a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{name} must be a whole number, got {type(value).__name__}")
    if value < least:
        raise ConfigurationError(f"{name} must be {least} or more, got {value}")
    return value


def seconds(name: str, value: object) -> float:
    """Return a time in seconds, above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"{name} must be seconds, got {type(value).__name__}")
    if not 0 < value < _MOST_SECONDS:
        raise ConfigurationError(
            f"{name} must be more than 0 and less than {_MOST_SECONDS:,} seconds, got {value}"
        )
    return float(value)


def flag(name: str, value: object) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, got {type(value).__name__}")
    return value
