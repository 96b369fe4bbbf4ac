"""Local paths as text: pathlib takes longer to load than a first store may."""

from __future__ import annotations

import os

from lakebed.errors import ValidationError


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute path. `..` stays, because the system follows links first.

    Raises ValidationError for a text that cannot name a file.
    """
    whole = os.path.join(os.getcwd(), path)
    try:
        usable = b"\0" not in os.fsencode(whole)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ValidationError(
            f"the path {whole!a} is not valid: it contains a NUL character or a lone surrogate"
        )
    drive, tail = os.path.splitdrive(whole)
    parts = [part for part in tail.replace(os.sep, "/").split("/") if part not in ("", ".")]
    return drive + os.sep + os.sep.join(parts)
