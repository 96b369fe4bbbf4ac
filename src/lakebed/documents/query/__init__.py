"""The meaning of a query of documents, decided in Python: the oracle of every store."""
