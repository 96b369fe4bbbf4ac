"""The catalog in libSQL (Turso) by wire: Hrana over HTTP, spoken here."""
