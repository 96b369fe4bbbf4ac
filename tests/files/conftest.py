"""The places of these tests."""

from tests.files.places import place

__all__ = ["place"]
