"""The servers of these tests, beside those of all tests of lakes."""

from tests.servers import s3

__all__ = ["s3"]
