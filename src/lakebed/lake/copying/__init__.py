"""Copying entries, snapshots and history from one lake to another."""
