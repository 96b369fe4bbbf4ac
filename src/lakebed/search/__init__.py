"""Search without a database: immutable segments, exact ranking, vectors. It knows no lake."""
