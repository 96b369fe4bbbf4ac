"""The servers that speak the buckets' protocols."""

from __future__ import annotations

from tests.buckets import azure, gcs, s3

__all__ = ["azure", "gcs", "s3"]
