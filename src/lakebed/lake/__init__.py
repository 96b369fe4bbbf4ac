"""The lake: names from a catalog, contents from a storage. Each capability is one file."""
