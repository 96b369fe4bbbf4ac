"""Values to bytes and back: a strict check, canonical encoding, the content hash."""
