"""The servers that speak the buckets' protocols."""

from __future__ import annotations

from tests.servers import s3

__all__ = ["s3"]
