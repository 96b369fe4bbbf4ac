"""The servers that speak the buckets' protocols."""

from __future__ import annotations

from tests.buckets import azure, gcs, guarded_s3, s3

__all__ = ["azure", "gcs", "guarded_s3", "s3"]
