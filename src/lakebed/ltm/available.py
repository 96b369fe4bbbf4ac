"""Which optional packages are installed. They are not imported to find out."""

from __future__ import annotations

from importlib.util import find_spec

POSTGRES_AVAILABLE = find_spec("psycopg") is not None and find_spec("psycopg_pool") is not None
SQLALCHEMY_AVAILABLE = find_spec("sqlalchemy") is not None
S3_AVAILABLE = find_spec("s3fs") is not None
GCS_AVAILABLE = find_spec("gcsfs") is not None
AZURE_AVAILABLE = find_spec("adlfs") is not None
