"""Documents in a table of Postgres, as JSONB, which the tools of Postgres can query too."""
