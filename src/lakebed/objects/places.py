"""The identity of a place: all ways to write a folder or prefix give one site."""

# No `from __future__ import annotations`: a NamedTuple compiles annotations that are text, at each
# start.

import os
import re
from typing import Any, NamedTuple

from lakebed.errors import ConfigurationError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_SERVICES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}
_LOCAL = ("file", "local")
_BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")


class Site(NamedTuple):
    """The identity of a place. `service`: `file` for a folder on this machine, `s3`, `gs`, `az`, or
    another protocol. `path`: the real path of a folder, with links followed; otherwise the bucket
    and the prefix."""

    service: str
    path: str

    def overlaps(self, other: "Site") -> bool:
        """Return whether both are the same place, or one is inside the other.

        A bucket counts as the same at any address, because two addresses may mean one server.
        """
        if self.service != other.service:
            return False
        mine, theirs = _steps(self.path), _steps(other.path)
        shorter = min(len(mine), len(theirs))
        if mine[:shorter] == theirs[:shorter]:
            return True
        # A folder may have two names: on a case-insensitive file system, or through a second mount.
        return self.service == "file" and (
            _is_above(self.path, other.path) or _is_above(other.path, self.path)
        )


def site_of(uri: str, root: str) -> Site:
    """Return the site of a bucket's URI. `root` is its path in the filesystem."""
    service = uri.rpartition("::")[2].partition("://")[0].lower()
    return Site(_SERVICES.get(service, service), root)


def local_site(folder: str) -> Site:
    """Return the site of a folder. Raises ConfigurationError if its links form a cycle."""
    real = os.path.realpath(folder)
    if os.path.islink(real):
        raise ConfigurationError(f"{folder} cannot be resolved: its links form a cycle")
    return Site("file", real)


def local_path(text: str) -> str | None:
    """Return the local path that a text means, or None if it is a URI of another kind.

    `file://`, `local://` and `file:/` mean a path. Raises ConfigurationError for a text such as
    `data:x` or `dir::x`, which would become a folder of that name.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        if "://" in text:
            raise ConfigurationError(f"{text!r} is neither a path nor a URI")
        return text
    name, rest = scheme[1].lower(), text[scheme.end() :]
    if name in _LOCAL and rest.startswith("/"):
        path = rest.removeprefix("//")
        return _unquoted(path) if name == "file" else path
    if rest.startswith("//") or (rest.startswith(":") and "://" in rest):
        return None
    if _is_protocol(name):
        raise ConfigurationError(
            f"{text!r} is neither a path nor a URI: write ./{text} for a folder of that name, "
            f"{name}://… for a URI"
        )
    return text


def check_uri(uri: str) -> None:
    """Raise ConfigurationError for a URI with `.` or `..` in its path, because some filesystems
    resolve them and others do not. Raise it also for a bucket's URI with credentials, because no
    service accepts them there and they would be shown with the URI."""
    scheme, _, rest = uri.partition("://")
    if scheme in _BUCKETS and ":" in rest.partition("/")[0].rpartition("@")[0]:
        raise ConfigurationError(
            f"the URI of a bucket must not contain credentials: write {scheme}://bucket/prefix, "
            "and give them as options beside it or in the environment"
        )
    if not {".", ".."}.isdisjoint(uri.partition("://")[2].split("/")):
        raise ConfigurationError(f"{uri} must not have '.' or '..' in its path")


def unwrap(filesystem: Any, root: str) -> tuple[Any, str]:
    """Return the filesystem under fsspec's layers for caches and folders, and the path in it.

    Raises ConfigurationError for a layer that changes how files are stored, such as an archive.
    """
    from fsspec.implementations.cached import CachingFileSystem
    from fsspec.implementations.dirfs import DirFileSystem

    while True:
        if isinstance(filesystem, DirFileSystem):
            root = filesystem._join(root)
        elif not isinstance(filesystem, CachingFileSystem):
            break
        filesystem = filesystem.fs
    beneath = ("fs", "sync_fs", "fo", "fss", "of", "generic_fs")
    if any(getattr(filesystem, name, None) is not None for name in beneath) or _names(
        filesystem
    ) & {"data", "generic", "reference"}:
        raise ConfigurationError(
            f"{type(filesystem).__name__} cannot be resolved to the place that it writes to: "
            "name that place directly"
        )
    return filesystem, root


def is_local(filesystem: Any) -> bool:
    """Return whether a filesystem of fsspec is the local one."""
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(filesystem, LocalFileSystem)


def _names(filesystem: Any) -> set[str]:
    named = filesystem.protocol
    return {named} if isinstance(named, str) else set(named)


def _unquoted(path: str) -> str:
    from urllib.parse import unquote

    return unquote(path)


def _is_protocol(name: str) -> bool:
    from fsspec.registry import available_protocols

    return name in available_protocols()


def _steps(path: str) -> list[str]:
    return [step for step in path.replace(os.sep, "/").split("/") if step]


def _is_above(folder: str, path: str) -> bool:
    """Return whether a folder is the same as `path`, or a parent of it."""
    try:
        wanted = os.stat(folder)
    except OSError:  # it does not exist, so nothing is inside it
        return False
    while True:
        try:
            if os.path.samestat(os.stat(path), wanted):
                return True
        except OSError:  # it does not exist yet
            pass
        parent = os.path.dirname(path)
        if parent == path:
            return False
        path = parent
