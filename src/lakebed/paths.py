"""Local paths as text: pathlib takes longer to load than a first store may."""

from __future__ import annotations

import os


def absolute(path: str | os.PathLike[str]) -> str:
    """The path from the root. `..` is left to the system, which follows links first."""
    whole = os.path.join(os.getcwd(), path)
    drive, tail = os.path.splitdrive(whole)
    parts = [part for part in tail.replace(os.sep, "/").split("/") if part not in ("", ".")]
    return drive + os.sep + os.sep.join(parts)
