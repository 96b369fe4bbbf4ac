"""The providers of Postgres servers. Each is one file, and one line of `PROVIDERS` in `server`."""
