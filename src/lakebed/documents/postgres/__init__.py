"""Documents in a table of Postgres, as JSONB that its own tools see and query."""
