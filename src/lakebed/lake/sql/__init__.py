"""Queries in SQL and Ibis, and the lake as Arrow tables."""
