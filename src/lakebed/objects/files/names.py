"""Names and values of metadata in the form in which services take them: as headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote

TOKEN = "lakebedupload"  # noqa: S105 - not a secret
"""The metadata name of the token by which a write whose answer was lost knows itself."""

_ESCAPED = re.compile(r"_x([0-9a-f]{1,6})_")
_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%") + " "


class Names(NamedTuple):
    """The names that a service takes as they are: those that `plain` matches whole. In others, each
    character outside of `chars` becomes `_x<its code>_`.

    S3 and Azure carry metadata as headers, which have no upper case and only ASCII. On Azure, a
    name must be an identifier too.
    """

    plain: re.Pattern[str]
    chars: str

    def encode(self, metadata: Mapping[str, str]) -> dict[str, str]:
        return {self._name(name): _value(value) for name, value in metadata.items()}

    def decode(self, metadata: Mapping[str, str]) -> dict[str, str]:
        return {
            _ESCAPED.sub(lambda found: chr(int(found[1], 16)), name): unquote(value)
            for name, value in metadata.items()
        }

    def _name(self, name: str) -> str:
        if self.plain.fullmatch(name) and not _ESCAPED.search(name):
            return name
        return "".join(
            char if char in self.chars and char != "_" else f"_x{ord(char):x}_" for char in name
        )


def _value(value: str) -> str:
    """Escape what a header cannot carry, as in URLs. A space at an end would be lost."""
    inner = quote(value, safe=_HEADER_SAFE)
    stripped = inner.strip(" ")
    before = len(inner) - len(inner.lstrip(" "))
    after = len(inner) - before - len(stripped)
    return "%20" * before + stripped + "%20" * max(after, 0)


_LETTERS = "abcdefghijklmnopqrstuvwxyz"
HEADER_NAMES = Names(re.compile(r"[a-z0-9_-]+"), f"{_LETTERS}0123456789-")
IDENTIFIERS = Names(re.compile(r"[a-z_][a-z0-9_]*"), _LETTERS)
