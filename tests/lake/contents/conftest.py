"""The servers of these tests."""
