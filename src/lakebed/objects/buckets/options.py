"""The options of a bucket's filesystem, so that a mistyped one raises an error."""

from __future__ import annotations

import inspect

from fsspec.asyn import AsyncFileSystem
from fsspec.dircache import DirCache


def constructor_options(filesystem: type) -> set[str]:
    """Return the options that the constructors of a filesystem and of fsspec's classes name."""
    named = {"skip_instance_cache"}
    for one in (filesystem, AsyncFileSystem, DirCache):
        constructor = getattr(one, "__init__")  # noqa: B009 - the constructor of the class
        _, *parameters = inspect.signature(constructor).parameters.values()
        named |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named
