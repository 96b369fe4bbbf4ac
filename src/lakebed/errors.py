"""Every error that Lakebed raises.

```text
LakebedError                      error_type
├── ValidationError (ValueError)  validation_error
├── SerializationError (ValueError) serialization_error
├── NotFoundError (KeyError)      not_found
├── ConflictError                 conflict
├── ConnectError                  connection_error | connection_timeout | auth_failed
├── LockTimeoutError (TimeoutError) lock_timeout
├── LockLostError                 lock_lost
├── StorageError                  storage_error
│   └── ReadOnlyError             read_only
├── CorruptionError               corruption_error
├── CatalogError                  catalog_error
├── QueryError                    query_error
├── UnreadError                   unread
├── ConfigurationError (ValueError) configuration_error
├── DependencyMissingError (ImportError) dependency_missing
└── RateLimitedError              rate_limited
```

`error_type` is stable, so programs can compare it; the LTM interface returns it. A failed atomic
batch raises its first error, whose `errors` holds all errors by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal


class LakebedError(Exception):
    """The base class: catch it to catch everything that Lakebed raises.

    If a batch failed, `errors` holds the errors by key. Otherwise it is empty.
    """

    error_type: str = "lakebed_error"
    errors: Mapping[str, LakebedError]

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.errors = {}

    def __str__(self) -> str:
        return self.message  # KeyError would show the repr


class ValidationError(LakebedError, ValueError):
    """An argument has the wrong type, form or range. Nothing was written."""

    error_type = "validation_error"


class SerializationError(LakebedError, ValueError):
    """A value contains something that would not come back as it went in. Nothing was written.

    The message names the path inside the value, such as `$.items[3].price`.
    """

    error_type = "serialization_error"


class NotFoundError(LakebedError, KeyError):
    """The key or snapshot does not exist, or has expired."""

    error_type = "not_found"


class ConflictError(LakebedError):
    """A condition did not hold: `if_absent`, `if_match`, or a name that must not be taken."""

    error_type = "conflict"


class ConnectError(LakebedError):
    """The catalog's server or the storage cannot be reached, or refuses the credentials.

    `error_type` is `connection_error`, `connection_timeout` or `auth_failed`.
    """

    error_type: Literal["connection_error", "connection_timeout", "auth_failed"]

    def __init__(
        self,
        message: str,
        error_type: Literal[
            "connection_error", "connection_timeout", "auth_failed"
        ] = "connection_error",
    ) -> None:
        super().__init__(message)
        self.error_type = error_type


class LockTimeoutError(LakebedError, TimeoutError):
    """The write lock was not free within `lock_timeout` seconds. Nothing was written.

    `acquire` of `lakebed.locks` raises it too, if the lock was not free in time.
    """

    error_type = "lock_timeout"


class LockLostError(LakebedError):
    """A lock of `lakebed.locks` is not held any more: its time to live has passed."""

    error_type = "lock_lost"


class StorageError(LakebedError):
    """Reading or writing objects, or the disk under the catalog, failed."""

    error_type = "storage_error"


class ReadOnlyError(StorageError):
    """A call that writes was refused, because the lake was opened with `read_only=True`."""

    error_type = "read_only"


class CorruptionError(LakebedError):
    """Stored bytes are missing, or differ from what was stored."""

    error_type = "corruption_error"


class CatalogError(LakebedError):
    """The catalog refused or failed an operation, and no other class fits the reason."""

    error_type = "catalog_error"


class QueryError(LakebedError):
    """A SQL query over the lake is not allowed, or it failed."""

    error_type = "query_error"


class UnreadError(LakebedError):
    """A value of an asynchronous lake was not read yet, and reading it takes an `await`."""

    error_type = "unread"


class ConfigurationError(LakebedError, ValueError):
    """The lake cannot be opened because a setting is wrong, missing or impossible."""

    error_type = "configuration_error"


class DependencyMissingError(LakebedError, ImportError):
    """A package that this feature needs is not installed. The message has the pip command."""

    error_type = "dependency_missing"


class RateLimitedError(LakebedError):
    """A service asked to slow down. `retry_after` is in seconds, or None if it named no time."""

    error_type = "rate_limited"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
