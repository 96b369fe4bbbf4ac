"""The catalog in a SQLite file that Litestream copies, all the time, to a replica."""
