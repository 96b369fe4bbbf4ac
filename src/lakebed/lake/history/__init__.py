"""Snapshots, what changed between two, and going back."""
