"""Collections of documents, in Postgres, MongoDB, DynamoDB, Firestore, or a lake.

```python
from lakebed.documents import create_metadata_store

with create_metadata_store("postgres", url="postgresql://host/database") as store:
    store.set_document("users", "ada", {"name": "Ada", "visits": store.increment(1)})
    store.query("users", filters=[("name", "==", "Ada")])["results"]
```
"""

from __future__ import annotations

from lakebed.documents.async_store import AsyncMetadataStore, AsyncTransaction
from lakebed.documents.backend import Backend
from lakebed.documents.dynamodb.store import (
    AsyncDynamoDBMetadataStore,
    DynamoDBMetadataStore,
)
from lakebed.documents.firestore import AsyncFirestoreMetadataStore, FirestoreMetadataStore
from lakebed.documents.lake import AsyncLakeMetadataStore, LakeMetadataStore
from lakebed.documents.mongodb.store import AsyncMongoDBMetadataStore, MongoDBMetadataStore
from lakebed.documents.postgres.store import (
    AsyncPostgresMetadataStore,
    PostgresMetadataStore,
)
from lakebed.documents.registry import (
    create_metadata_store,
    get_registered_metadata_stores,
    register_metadata_store,
)
from lakebed.documents.store import (
    Documents,
    DocumentsTransaction,
    FieldValues,
    MetadataStore,
    Transaction,
)

__all__ = [
    "AsyncDynamoDBMetadataStore",
    "AsyncFirestoreMetadataStore",
    "AsyncLakeMetadataStore",
    "AsyncMetadataStore",
    "AsyncMongoDBMetadataStore",
    "AsyncPostgresMetadataStore",
    "AsyncTransaction",
    "Backend",
    "Documents",
    "DocumentsTransaction",
    "DynamoDBMetadataStore",
    "FieldValues",
    "FirestoreMetadataStore",
    "LakeMetadataStore",
    "MetadataStore",
    "MongoDBMetadataStore",
    "PostgresMetadataStore",
    "Transaction",
    "create_metadata_store",
    "get_registered_metadata_stores",
    "register_metadata_store",
]
