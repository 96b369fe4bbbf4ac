"""Docstrings describe parameters in lines that begin with their name: here they become a list."""

from __future__ import annotations

import re
from typing import Any

import griffe

BEGINS = re.compile(r"`\w+`(?:(?:, | and )`\w+`)*: ")


class ParametersAsList(griffe.Extension):
    """Turn each such line, and those that go on from it, into an item of a list."""

    def on_instance(self, *, obj: griffe.Object, **_options: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_list(obj.docstring.value)


def as_list(text: str) -> str:
    """The text of a docstring with its parameters as a list."""
    lines: list[str] = []
    fenced = listed = False
    for line in text.split("\n"):
        fenced ^= line.startswith("```")
        if not fenced and BEGINS.match(line):
            lines += ([] if listed else [""]) + [f"- {line}"]
            listed = True
        elif listed and line and not line.startswith((" ", "```")):
            lines.append(f"    {line}")
        else:
            lines.append(line)
            listed = False
    return "\n".join(lines)
