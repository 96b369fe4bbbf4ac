"""The catalog in SQLite, through the standard library."""
