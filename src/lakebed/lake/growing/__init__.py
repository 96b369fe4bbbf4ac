"""Tables that grow: an entry whose value is a list of parts, each a Parquet object."""
