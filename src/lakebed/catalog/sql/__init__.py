"""The catalog over SQL text: the same queries on every database."""
