"""Search without a database: immutable segments, exact ranking, vectors. Knows no lake."""
