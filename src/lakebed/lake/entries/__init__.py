"""Storing, reading and listing entries."""
