"""Opens the storage at a path or a URI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakebed.errors import ConfigurationError
from lakebed.objects.places import check_uri, is_local, local_path, unwrap
from lakebed.objects.store import ObjectStore
from lakebed.paths import absolute

if TYPE_CHECKING:
    from lakebed.objects.buckets.cloud import CloudStore


def parse_place(field: str, place: object) -> tuple[str, dict[str, object]]:
    """Return the URI or absolute path of a place, and the options of its filesystem.

    Raises ConfigurationError, naming the field, unless `place` is a path, a URI, or a mapping with
    `uri`; also for a text that could be either a path or a URI (see `local_path`).
    """
    options: dict[str, object] = {}
    if isinstance(place, Mapping):
        options = {str(name): value for name, value in place.items() if name != "uri"}
        place = place.get("uri")
    if not isinstance(place, (str, os.PathLike)) or not os.fspath(place):
        raise ConfigurationError(
            f"{field}: expected a path, a URI such as s3://bucket/prefix, or a mapping with 'uri'"
        )
    uri = os.fspath(place)
    if not isinstance(uri, str):
        raise ConfigurationError(f"{field}: expected a path as text, got bytes")
    try:
        path = local_path(uri)
        if path is None:
            check_uri(uri)
    except ConfigurationError as error:
        raise ConfigurationError(f"{field}: {error}") from None
    if path is not None and "://" not in uri:
        uri = absolute(os.path.expanduser(path))
    return uri, options


def open_store(uri: str, options: Mapping[str, object] | None = None) -> ObjectStore:
    """Open the storage at a local path, or at a URI with any protocol that fsspec knows.

    `options` are passed to the fsspec filesystem. Raises ConfigurationError for an option that a
    bucket's filesystem does not know, and for any option of a local folder.
    """
    path = local_path(uri)
    if path is not None:
        if options:
            raise ConfigurationError(
                f"storage: a local folder has no options, got {', '.join(map(repr, options))}"
            )
        return _open_folder(path)
    protocol = uri.partition("://")[0]
    for name, problem in wrong_options(uri, options or {}).items():
        raise ConfigurationError(f"storage.{name}: {problem}")
    if cloud := cloud_class(protocol):
        return cloud(uri, options or {})
    from lakebed.objects.remote import FsspecStore

    store = FsspecStore(uri, options or {})
    filesystem, root = unwrap(store.filesystem, store.root)
    # A local folder under another of fsspec's names must be written as safely as any folder.
    return _open_folder(root) if is_local(filesystem) else store


def _open_folder(path: str) -> ObjectStore:
    from lakebed.objects.local import LocalStore

    return LocalStore(path)


def cloud_class(protocol: str) -> type[CloudStore] | None:
    """Return the store class for a protocol, or None if the protocol has no class of its own."""
    if protocol in ("s3", "s3a"):
        from lakebed.objects.buckets.s3 import S3Store

        return S3Store
    if protocol in ("gs", "gcs"):
        from lakebed.objects.buckets.gcs import GCSStore

        return GCSStore
    if protocol in ("az", "abfs", "abfss"):
        from lakebed.objects.buckets.azure import AzureStore

        return AzureStore
    return None


def wrong_options(uri: str, options: Mapping[str, object]) -> dict[str, str]:
    """Return what is wrong with the options of a URI's filesystem, by name: unknown options, and
    options with a word that they do not accept.

    Only buckets are checked, because other filesystems pass unknown options on to a library. The
    result is empty if the filesystem's package is not installed. Opening it then raises the error.
    """
    protocol = uri.partition("://")[0]
    cloud = cloud_class(protocol) if options else None
    if cloud is None:
        return {}
    unknown: dict[str, str] = {}
    if not cloud.is_usual(options):
        try:
            known = cloud.known_options(protocol)
        except ImportError:
            return {}
        unknown = {name: _words(name, known) for name in options if name not in known}
    found = {name: cloud.wrong_value(name, value) for name, value in options.items()}
    return unknown | {name: problem for name, problem in found.items() if problem}


def _words(name: str, known: set[str]) -> str:
    from lakebed.suggestions import closest  # a first store must not load it

    near = closest(name, known)
    if near is None:
        return "unknown option: neither Lakebed nor the filesystem knows it"
    return f"unknown option: did you mean {near!r}?"
