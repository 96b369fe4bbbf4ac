"""The catalog in a SQLite file that Litestream continuously copies to a replica."""
