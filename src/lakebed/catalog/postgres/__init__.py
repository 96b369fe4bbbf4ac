"""The catalog in Postgres, through psycopg."""
