"""Local paths as text. pathlib is not used, because a first store cannot wait for it to load."""

from __future__ import annotations

import os

from lakebed.errors import ValidationError


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute path. `..` is kept, because the folder before it may be a link.

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


def cache_folder(given: str | None) -> str:
    """Return the folder for files that may be deleted at any time: the configured one, else
    `lakebed` in `$XDG_CACHE_HOME`, else `~/.cache/lakebed`."""
    if given is not None:
        return os.path.abspath(os.path.expanduser(given))
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    return os.path.join(os.path.expanduser(base), "lakebed")
