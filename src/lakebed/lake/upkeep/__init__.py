"""Collecting garbage, compacting, purging, verifying, and what a lake holds in numbers."""
