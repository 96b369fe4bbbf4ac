"""DuckDB over a lake: sessions, the checks of queries, and their results. It knows no catalog."""
