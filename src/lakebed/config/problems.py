"""The errors of a configuration. Each has a path, a place and a suggestion."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from lakebed.errors import ConfigurationError

Path = tuple[str | int, ...]
"""The path of a setting: keys, and positions in lists."""

_WORD = re.compile(r"[A-Za-z0-9_+-]{1,40}\Z")


class TextPosition(NamedTuple):
    """A line and a column in a file, both counted from 1."""

    line: int
    column: int


class ConfigProblem(NamedTuple):
    """One error: the path of the setting, its place if it is in a file, and what is wrong."""

    path: str
    place: TextPosition | None
    message: str

    def text(self, name: str) -> str:
        """Return the problem on one line, in the style of a compiler."""
        place = "" if self.place is None else f":{self.place.line}:{self.place.column}"
        return ": ".join(part for part in (f"{name}{place}", self.path, self.message) if part)


class InvalidConfiguration(ConfigurationError):
    """A configuration is invalid. `problems` lists each error with its path and place."""

    def __init__(self, name: str, problems: Iterable[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.text(name) for problem in self.problems))


def dotted(path: Path) -> str:
    """Write a path as people do: `settings.ltm.catalog.pool_size`, `catalog.hosts[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def quoted(value: object) -> str:
    """Quote a mistyped word for a message. Other values might be secrets: for them, return only the
    kind."""
    return repr(value) if isinstance(value, str) and _WORD.match(value) else kind(value)


def kind(value: object) -> str:
    """Return the kind of a value, in YAML's words."""
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
