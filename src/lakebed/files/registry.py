"""The known types of storage, and their names in configurations."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from inspect import Parameter, signature
from typing import Any

from lakebed.errors import ConfigurationError
from lakebed.files.kinds import (
    AzureBlobStorage,
    GCSBlobStorage,
    LocalBlobStorage,
    MemoryBlobStorage,
    S3BlobStorage,
)
from lakebed.files.storage import BlobStorage
from lakebed.suggestions import suggestion

ENTRY_POINTS = "lakebed.blob_storages"
"""The entry point group in which installed packages offer types, as `type = module:maker`."""

Factory = Callable[..., BlobStorage]
"""A function that makes a storage from its options, which are keyword arguments."""

_factories: dict[str, Factory] = {
    "s3": S3BlobStorage,
    "gcs": GCSBlobStorage,
    "azure": AzureBlobStorage,
    "local": LocalBlobStorage,
    "memory": MemoryBlobStorage,
}


def create_blob_storage(type: str, **options: Any) -> BlobStorage:  # noqa: A002
    """Make a storage by its type: `s3`, `gcs`, `azure`, `local`, `memory` or a registered one.

    The options are those of the type's class. Raises ConfigurationError, which is a ValueError, for
    an unknown type or option, and DependencyMissingError if a package is missing.
    """
    factory = _factories.get(type) if isinstance(type, str) else None
    factory = factory or _from_entry_point(type)
    if factory is None:
        known = get_registered_blob_storages()
        raise ConfigurationError(f"unknown blob storage {type!r}: {suggestion(str(type), known)}")
    _check_names(type, factory, options)
    return factory(**options)


def _check_names(type: str, factory: Factory, options: dict[str, Any]) -> None:  # noqa: A002
    parameters = signature(factory).parameters
    if any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values()):
        return  # a factory that takes any option checks them itself
    for name in options:
        if name not in parameters:
            told = suggestion(name, parameters) if parameters else "it has no options"
            raise ConfigurationError(f"the storage {type!r} has no option {name!r}: {told}")


def register_blob_storage(type: str, factory: Factory) -> None:  # noqa: A002
    """Register a type of storage. A type that is registered already is replaced.

    `factory`: a class or function that takes the options as keyword arguments. Installed packages
    use an entry point of the group `lakebed.blob_storages` instead.
    """
    _factories[type] = factory


def get_registered_blob_storages() -> list[str]:
    """Return the types that `create_blob_storage` knows, sorted."""
    offered = {point.name for point in metadata.entry_points(group=ENTRY_POINTS)}
    return sorted(offered | _factories.keys())


def _from_entry_point(name: object) -> Factory | None:
    if not isinstance(name, str):
        return None
    for point in metadata.entry_points(group=ENTRY_POINTS, name=name):
        factory: Factory = point.load()
        register_blob_storage(name, factory)
        return factory
    return None
