"""The catalog in libSQL (Turso), by its network protocol: Hrana over HTTP."""
