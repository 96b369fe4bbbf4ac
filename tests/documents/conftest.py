"""The servers that stores of documents are tested on."""

from __future__ import annotations

from tests.servers import pgbouncer, postgres_15, postgres_18, private_postgres
from tests.services.dynamodb import dynamodb
from tests.services.firestore import firestore
from tests.services.mongodb import mongodb, private_mongodb

__all__ = [
    "dynamodb",
    "firestore",
    "mongodb",
    "pgbouncer",
    "postgres_15",
    "postgres_18",
    "private_mongodb",
    "private_postgres",
]
