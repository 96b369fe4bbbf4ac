"""Long-term memory for agents, with results as dictionaries.

```python
from lakebed.ltm import create_ltm_backend

memory = create_ltm_backend("sqlite", path="memory.db")
memory.store("user/42/name", "Ada", {"source": "chat"})
memory.retrieve("user/42/name")["value"]
```
"""

from __future__ import annotations

from typing import Any

from lakebed.config.reading.interpolation import expand_env_vars
from lakebed.ltm.adapter import LTMBackend
from lakebed.ltm.available import (
    AZURE_AVAILABLE,
    DYNAMODB_AVAILABLE,
    FIRESTORE_AVAILABLE,
    GCS_AVAILABLE,
    LITESTREAM_AVAILABLE,
    MONGODB_AVAILABLE,
    POSTGRES_AVAILABLE,
    REDIS_AVAILABLE,
    S3_AVAILABLE,
    SQLALCHEMY_AVAILABLE,
    TURSO_AVAILABLE,
)
from lakebed.ltm.backends import (
    BlobSQLiteBackend,
    BucketBackend,
    D1Backend,
    DuckDBBackend,
    DuckLakeBackend,
    DynamoDBBackend,
    FirestoreBackend,
    LitestreamBackend,
    MongoDBBackend,
    PostgresBackend,
    RedisBackend,
    SQLAlchemyBackend,
    SQLiteBackend,
    TursoBackend,
)
from lakebed.ltm.host import LakebedMemory
from lakebed.ltm.registry import (
    create_ltm_backend,
    get_registered_backends,
    open_memory,
    parse_backend_config,
    parse_catalog_config,
    register_backend,
)
from lakebed.ltm.transactions import LTMTransaction
from lakebed.values.codec import encode_value

__all__ = [
    "AZURE_AVAILABLE",
    "DYNAMODB_AVAILABLE",
    "FIRESTORE_AVAILABLE",
    "GCS_AVAILABLE",
    "LITESTREAM_AVAILABLE",
    "MONGODB_AVAILABLE",
    "POSTGRES_AVAILABLE",
    "REDIS_AVAILABLE",
    "S3_AVAILABLE",
    "SQLALCHEMY_AVAILABLE",
    "TURSO_AVAILABLE",
    "BlobSQLiteBackend",
    "BucketBackend",
    "D1Backend",
    "DuckDBBackend",
    "DuckLakeBackend",
    "DynamoDBBackend",
    "FirestoreBackend",
    "LTMBackend",
    "LTMTransaction",
    "LakebedMemory",
    "LitestreamBackend",
    "MongoDBBackend",
    "PostgresBackend",
    "RedisBackend",
    "SQLAlchemyBackend",
    "SQLiteBackend",
    "TursoBackend",
    "compute_content_hash",
    "create_ltm_backend",
    "expand_env_vars",
    "get_registered_backends",
    "open_memory",
    "parse_backend_config",
    "parse_catalog_config",
    "register_backend",
]


def compute_content_hash(value: Any) -> str:
    """Return the content hash that a value has in every lake: `sha256:` and 64 hexadecimal digits.

    Raises SerializationError for a value that cannot be stored.
    """
    encoded = encode_value(value)
    encoded.close()
    return f"sha256:{encoded.content_hash.hex()}"
