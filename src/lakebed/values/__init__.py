"""Turns values into bytes and back: a strict check, a canonical encoding and the content hash."""
