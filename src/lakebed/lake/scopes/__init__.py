"""Scopes: a lake under a prefix."""
