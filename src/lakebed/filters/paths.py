"""Dotted paths, by which filters and the metadata index name a place inside metadata."""

from __future__ import annotations

from collections.abc import Iterable

_ESCAPABLE = ".\\$"


def split_path(path: str) -> tuple[str, ...] | None:
    r"""Return the keys of a filter's dotted path, or None if a backslash has nothing to escape.

    `\.` is a dot inside a key, `\\` a backslash, `\$` a dollar sign. An empty segment is the empty
    key, which JSON allows: `""` names it at the top, and `"a."` inside `a`.
    """
    if "\\" not in path:
        return tuple(path.split("."))
    segments: list[str] = []
    segment = ""
    characters = iter(path)
    for character in characters:
        if character == ".":
            segments.append(segment)
            segment = ""
        elif character == "\\":
            escaped = next(characters, "")
            if not escaped or escaped not in _ESCAPABLE:
                return None
            segment += escaped
        else:
            segment += character
    segments.append(segment)
    return tuple(segments)


def escape(key: str) -> str:
    """Return the key as one segment of a path. Different keys give different segments."""
    if "." in key or "\\" in key:
        return key.replace("\\", "\\\\").replace(".", "\\.")
    return key


def join_path(segments: Iterable[str]) -> str:
    """Return the dotted path that the index uses for these keys."""
    return ".".join(map(escape, segments))
