"""Who runs the Postgres server: one file a provider, one line of `PROVIDERS` in `options`."""
