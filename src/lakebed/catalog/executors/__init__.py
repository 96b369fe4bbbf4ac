"""Executors: each runs SQL text on one driver."""
