"""Upkeep of a lake: collect, compact, purge, verify."""
