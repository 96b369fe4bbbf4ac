"""Lengths of time as text: `90s`, `1h30m`, `30d`."""

from __future__ import annotations

import re

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = r"\d+(?:\.\d+)?[smhdw]"


def parse_duration(text: str) -> float | None:
    """The seconds of a text such as `"90s"`, `"15m"`, `"1h30m"`, `"30d"` or `"2w"`.

    Each part is a number and a unit: `s`, `m` (minutes), `h`, `d` (24 hours) or `w` (7 days).
    Spaces between the parts do not matter. None if the text is anything else, such as a bare
    number.
    """
    compact = text.replace(" ", "")
    if re.fullmatch(f"(?:{_PART})+", compact, re.ASCII) is None:
        return None
    return sum(float(part[:-1]) * _SECONDS[part[-1]] for part in re.findall(_PART, compact))
