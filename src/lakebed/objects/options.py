"""Which options a bucket's filesystem takes, so that a mistyped one is told and not passed over."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from fsspec.asyn import AsyncFileSystem
from fsspec.dircache import DirCache

from lakebed.suggestions import closest


def unknown_options(uri: str, options: Iterable[str]) -> dict[str, str]:
    """What is wrong with those options that the filesystem of a URI does not take, by name.

    Nothing for what is no bucket: most filesystems hand what they do not name to a library beneath.
    Nothing either if the filesystem's package is not installed; opening it says so.
    """
    from lakebed.objects.store import cloud_class

    options = list(options)
    protocol = uri.partition("://")[0]
    cloud = cloud_class(protocol) if options else None
    if cloud is None:
        return {}
    try:
        known = cloud.known_options(protocol)
    except ImportError:
        return {}
    return {name: _words(name, known) for name in options if name not in known}


def _words(name: str, known: set[str]) -> str:
    near = closest(name, known)
    if near is None:
        return "unknown option: neither Lakebed nor the filesystem takes it"
    return f"unknown option: did you mean {near!r}?"


def constructor_options(filesystem: type) -> set[str]:
    """The options that a filesystem's constructor and those of fsspec's own classes name."""
    named = {"skip_instance_cache"}
    for one in (filesystem, AsyncFileSystem, DirCache):
        constructor = getattr(one, "__init__")  # noqa: B009 - that of the class
        _, *parameters = inspect.signature(constructor).parameters.values()
        named |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named
