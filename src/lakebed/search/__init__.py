"""Search without a database: immutable segments, exact ranking, vectors. It does not know lakes."""
