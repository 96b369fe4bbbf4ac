"""The servers of the buckets."""

from tests.buckets import azure, gcs, s3
from tests.files.places import place
from tests.services.ministack import ministack_s3

__all__ = ["azure", "gcs", "ministack_s3", "place", "s3"]
