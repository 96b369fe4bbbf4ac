"""Storing, reading, listing and counting entries."""
