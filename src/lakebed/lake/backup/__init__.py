"""Backups of a lake: points in a folder or bucket, which share their contents."""
