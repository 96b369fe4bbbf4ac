"""The known stores, by the names that configurations use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import metadata
from inspect import Parameter, signature
from typing import Any

from lakebed.documents.async_store import AsyncMetadataStore
from lakebed.documents.dynamodb.store import (
    AsyncDynamoDBMetadataStore,
    DynamoDBMetadataStore,
)
from lakebed.documents.firestore import AsyncFirestoreMetadataStore, FirestoreMetadataStore
from lakebed.documents.lake import AsyncLakeMetadataStore, LakeMetadataStore
from lakebed.documents.mongodb.store import AsyncMongoDBMetadataStore, MongoDBMetadataStore
from lakebed.documents.options import flag
from lakebed.documents.postgres.store import (
    AsyncPostgresMetadataStore,
    PostgresMetadataStore,
)
from lakebed.documents.store import MetadataStore
from lakebed.errors import ConfigurationError
from lakebed.suggestions import suggestion

ENTRY_POINTS = "lakebed.metadata_stores"
"""The entry point group in which installed packages offer stores, as `type = module:maker`."""

Factory = Callable[..., MetadataStore | AsyncMetadataStore]
"""A function that makes a store from its options, which are keyword arguments."""

_factories: dict[str, Factory] = {
    "lake": LakeMetadataStore,
    "lake_async": AsyncLakeMetadataStore,
    "postgres": PostgresMetadataStore,
    "postgres_async": AsyncPostgresMetadataStore,
    "dynamodb": DynamoDBMetadataStore,
    "dynamodb_async": AsyncDynamoDBMetadataStore,
    "firestore": FirestoreMetadataStore,
    "firestore_async": AsyncFirestoreMetadataStore,
    "mongodb": MongoDBMetadataStore,
    "mongodb_async": AsyncMongoDBMetadataStore,
}


def create_metadata_store(type: str = "lake", **options: Any) -> Any:  # noqa: A002
    """Make a store of documents by its type.

        store = create_metadata_store("postgres", url="postgresql://host/database")
        store = create_metadata_store("lake", path="memory")

    `type`: `postgres`, `mongodb`, `dynamodb`, `firestore`, `lake`, or one that another package
    registers. If the type ends in `_async`, or the option `async` is True, the store is for
    coroutines. Other options are those of the type's class (`PostgresMetadataStore` …). The store
    connects with its first call.

    Raises ConfigurationError if the type or an option is unknown or an option is invalid, and
    DependencyMissingError if a driver is not installed.
    """
    wants_async = flag("async", options.pop("async", False))
    if wants_async and isinstance(type, str) and not type.endswith("_async"):
        type = f"{type}_async"  # noqa: A001
    factory = _find(type)
    _refuse_unknown(type, factory, options)
    return factory(**options)


def register_metadata_store(type: str, factory: Factory) -> None:  # noqa: A002
    """Register a store under a type. A type that is registered already is replaced.

    `factory`: a class or function that takes the options as keyword arguments. Installed packages
    use an entry point of the group `lakebed.metadata_stores` instead.
    """
    _factories[type] = factory


def get_registered_metadata_stores() -> list[str]:
    """Return the types that `create_metadata_store` knows, sorted."""
    offered = {point.name for point in metadata.entry_points(group=ENTRY_POINTS)}
    return sorted(offered | _factories.keys())


def _find(name: object) -> Factory:
    factory = _factories.get(name) if isinstance(name, str) else None
    if factory is None:
        for point in metadata.entry_points(group=ENTRY_POINTS, name=str(name)):
            factory = _factories[point.name] = point.load()
    if factory is None:
        raise ConfigurationError(
            f"unknown metadata store {str(name)[:100]!r}: "
            f"{suggestion(str(name), get_registered_metadata_stores())}"
        )
    return factory


def _refuse_unknown(kind: str, factory: Factory, options: Mapping[str, object]) -> None:
    known = signature(factory).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values()):
        return  # an outside store checks its options itself
    for name in options:
        if name not in known:
            raise ConfigurationError(
                f"the metadata store {kind!r} has no option {name!r}: {suggestion(name, known)}"
            )
