"""Writes names and values of metadata as services require them in headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote

TOKEN = "lakebedupload"  # noqa: S105 - not a secret
"""The metadata name of a token. If the answer to a write is lost, the token shows whether the
stored file is from that write."""

_ESCAPED = re.compile(r"_x([0-9a-f]{1,6})_")
_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%") + " "


class Names(NamedTuple):
    """The names that a service accepts.

    Names that `plain` matches as a whole stay as they are. In other names, each character outside
    `chars` becomes `_x<its code>_`. This is needed because S3 and Azure send metadata as headers,
    which have only ASCII and no upper case. On Azure, a name must also be an identifier.
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
    """Escape characters that a header cannot carry, as URLs do. Also escape spaces at the ends,
    which would be lost."""
    inner = quote(value, safe=_HEADER_SAFE)
    stripped = inner.strip(" ")
    before = len(inner) - len(inner.lstrip(" "))
    after = len(inner) - before - len(stripped)
    return "%20" * before + stripped + "%20" * max(after, 0)


_LETTERS = "abcdefghijklmnopqrstuvwxyz"
HEADER_NAMES = Names(re.compile(r"[a-z0-9_-]+"), f"{_LETTERS}0123456789-")
IDENTIFIERS = Names(re.compile(r"[a-z_][a-z0-9_]*"), _LETTERS)
