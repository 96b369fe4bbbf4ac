"""Queries in SQL and Ibis over the lake's relations and stored tables."""
