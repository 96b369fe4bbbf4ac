"""What a query of documents means, decided in Python. This is the oracle of every store."""
