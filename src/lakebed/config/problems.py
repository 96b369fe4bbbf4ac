"""What is wrong with a configuration: errors with a path, a place and a suggestion."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from lakebed.errors import ConfigurationError

Path = tuple[str | int, ...]
"""Where a setting stands: keys, and positions in lists."""

_WORD = re.compile(r"[A-Za-z0-9_+-]{1,40}\Z")


class Place(NamedTuple):
    """Line and column in a file, both from 1."""

    line: int
    column: int


class Problem(NamedTuple):
    """One fault: the setting's path, where it stands if a file holds it, and what is wrong."""

    path: str
    place: Place | None
    message: str

    def text(self, name: str) -> str:
        """The problem on one line, as compilers print theirs."""
        place = "" if self.place is None else f":{self.place.line}:{self.place.column}"
        return ": ".join(part for part in (f"{name}{place}", self.path, self.message) if part)


class InvalidConfiguration(ConfigurationError):
    """A configuration that cannot be used. `problems` has each fault with its path and place."""

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.text(name) for problem in self.problems))


def dotted(path: Path) -> str:
    """A path as people write it: `settings.ltm.catalog.pool_size`, `catalog.hosts[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def quoted(value: object) -> str:
    """A mistaken word for a message; nothing else is repeated, for it might be a secret."""
    return repr(value) if isinstance(value, str) and _WORD.match(value) else kind(value)


def kind(value: object) -> str:
    """What a value is, in the words of YAML."""
    names: dict[type, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        list: "a list",
        tuple: "a list",
        dict: "a mapping",
        type(None): "nothing",
    }
    return names.get(type(value), f"a value of type {type(value).__name__}")
