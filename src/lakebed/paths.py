"""Local paths as text: pathlib takes longer to load than a first store may."""

from __future__ import annotations

import os

from lakebed.errors import ValidationError


def absolute(path: str | os.PathLike[str]) -> str:
    """The path from the root. `..` is left to the system, which follows links first.

    Raises ValidationError for text that no file can be named by.
    """
    whole = os.path.join(os.getcwd(), path)
    try:
        usable = b"\0" not in os.fsencode(whole)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ValidationError(f"the path {whole!a} is none: it holds a NUL or a lone surrogate")
    drive, tail = os.path.splitdrive(whole)
    parts = [part for part in tail.replace(os.sep, "/").split("/") if part not in ("", ".")]
    return drive + os.sep + os.sep.join(parts)
