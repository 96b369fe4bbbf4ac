"""The servers of these tests."""

from tests.servers import s3

__all__ = ["s3"]
