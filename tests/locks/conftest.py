"""The servers that keep locks."""

from __future__ import annotations

from tests.buckets import azure, gcs, s3
from tests.servers import postgres_18
from tests.services.dynamodb import dynamodb, private_dynamodb
from tests.services.firestore import firestore, private_firestore
from tests.services.redis import guarded_redis, private_redis, redis_server

__all__ = [
    "azure", "dynamodb", "firestore", "gcs", "guarded_redis", "postgres_18", "private_dynamodb",
    "private_firestore", "private_redis", "redis_server", "s3",
]  # fmt: skip
