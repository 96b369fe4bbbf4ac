"""DuckDB over a lake: sessions, what a query may do, and its results. Knows no catalog."""
