"""Collecting garbage, compacting, purging and verifying."""
