"""The base of catalogs without SQL, which keep pairs of a name and a text."""
