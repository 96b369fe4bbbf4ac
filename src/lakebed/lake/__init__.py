"""The lake: names from a catalog, contents from a storage, one file a capability."""
