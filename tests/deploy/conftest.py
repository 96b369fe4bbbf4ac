"""The servers that the deployments are tried on."""

from __future__ import annotations

from tests.buckets import guarded_s3
from tests.servers import postgres_18

__all__ = ["guarded_s3", "postgres_18"]
