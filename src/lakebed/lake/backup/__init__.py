"""Backups of a lake: points in a folder or bucket. Points share their contents."""
