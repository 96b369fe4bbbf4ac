"""sql: query the lake, once or in a shell."""
