"""Which optional packages are installed. They are not imported to find out."""

from __future__ import annotations

from importlib.util import find_spec
from shutil import which
from sysconfig import get_path


def _has(name: str) -> bool:
    """Return whether a package inside other packages is installed."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # an outer package is missing
        return False


POSTGRES_AVAILABLE = find_spec("psycopg") is not None and find_spec("psycopg_pool") is not None
SQLALCHEMY_AVAILABLE = find_spec("sqlalchemy") is not None
LITESTREAM_AVAILABLE = bool(which("litestream", path=get_path("scripts")) or which("litestream"))
TURSO_AVAILABLE = find_spec("urllib3") is not None
DYNAMODB_AVAILABLE = find_spec("boto3") is not None
FIRESTORE_AVAILABLE = _has("google.cloud.firestore")
REDIS_AVAILABLE = find_spec("redis") is not None
MONGODB_AVAILABLE = find_spec("pymongo") is not None
S3_AVAILABLE = find_spec("s3fs") is not None
GCS_AVAILABLE = find_spec("gcsfs") is not None
AZURE_AVAILABLE = find_spec("adlfs") is not None
