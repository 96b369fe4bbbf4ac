"""Collects garbage, compacts, purges and verifies."""
