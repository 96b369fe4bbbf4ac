"""Rows of the catalog as Arrow tables."""
