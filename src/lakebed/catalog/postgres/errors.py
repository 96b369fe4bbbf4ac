"""Turns errors of Postgres and of the network into those of `lakebed.errors`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lakebed.catalog.protocol import MissingContentError
from lakebed.catalog.statements.executor import Row
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    CorruptionError,
    LakebedError,
    LockTimeoutError,
    StorageError,
    ValidationError,
)

EXHAUSTED = (
    "no connection to {where} became free within {timeout:g} seconds: all {most} of the pool are "
    "in use or being renewed (max_size, timeout)"
)
_REFUSED = "LB001"
_CONTENT_GONE = "LB002"
_WRITER_CLOSED = "LB003"
READ_ONLY = "25006"
"""The SQLSTATE of a transaction that may not write."""

_GRANTS = {  # by a word in the server's message
    "row-level": "row_security is off, because no rows of a lake may be hidden: drop the policies",
    "temporary": "GRANT TEMPORARY ON DATABASE … (for batches)",
    "database": "GRANT CREATE ON DATABASE … (to make the schema)",
    "schema": "GRANT USAGE ON SCHEMA … (and CREATE to make the tables)",
    "table": "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA … (SELECT to read)",
    "sequence": "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA … (SELECT to read)",
    "function": "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA …",
}
SESSION = "SET search_path = pg_catalog; SET row_security = off"
"""The settings of each session. No user's function can replace one of Postgres, and rows that a
policy hides are an error instead of missing entries."""
_REPEATABLE = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock
        "23503",  # an object was collected before it was used
        READ_ONLY,  # a standby, until it is promoted or the pool finds the primary
        "53300",  # too many connections
        "57P01",  # shutdown
        "57P02",
        "57P03",  # starting up
        _WRITER_CLOSED,
    }
)


class OvertakenError(CatalogError):
    """Another client was faster. Nothing has happened, and trying again is safe."""


def explain(error: Exception, where: str) -> LakebedError:
    """Return the error of `lakebed.errors` for an error of psycopg. `where`: the server's name."""
    state: str = getattr(error, "sqlstate", None) or ""
    text = _text(error)
    if state == _REFUSED:
        return ConflictError(text)
    if state == _CONTENT_GONE:
        return MissingContentError(text)
    if state.startswith("28"):
        return ConnectError(f"{where} refuses the credentials: {text}", "auth_failed")
    if state == "55P03":
        return LockTimeoutError(
            f"a lock in {where} was not free in time (lock_timeout); nothing was written"
        )
    if state == "57014":
        return CatalogError(f"{where} cancelled a statement: {text}")
    if state == "42501":
        return StorageError(f"the user of {where} lacks a right: {text}; {_grant(text)}")
    if state == READ_ONLY:
        return StorageError(
            f"cannot write to {where}: the server is read-only, as a standby is, or "
            "default_transaction_read_only is on for this user or database; read_only=True reads it"
        )
    if state.startswith(("53", "54", "58")) and state != "53300":
        return StorageError(f"{where} has run out of a resource: {text}")
    if state in ("XX001", "XX002"):
        return CorruptionError(f"{where} is damaged: {text}")
    if state == "3D000":
        return ConfigurationError(f"{where}: {text}; create it first")
    if state.startswith("23"):  # integrity_constraint_violation
        return ValidationError(f"{where} refuses the entry: {text}")
    if state.startswith(("08", "57P")) or state == "53300" or (not state and _is_lost(error)):
        return _connect_error(where, text)
    if state in ("42P07", "42723", "42710"):
        return ConfigurationError(
            f"{where} holds something that is not Lakebed's: {text}; give the lake a schema of its "
            "own (schema)"
        )
    if state in ("42P01", "3F000", "42883", "42703"):
        return CatalogError(f"{where} lacks a part of the lake's schema: {text}")
    return CatalogError(f"{where} failed: {text}")


def _grant(text: str) -> str:
    """Return the statement that grants a missing right.

    If the server's message is in another language, all statements are returned.
    """
    for word, grant in _GRANTS.items():
        if f" {word} " in text:
            return grant
    return "; ".join(_GRANTS.values())


def _connect_error(where: str, text: str) -> LakebedError:
    lowered = text.lower()
    if "password" in lowered or "authentication failed" in lowered or "no pg_hba" in lowered:
        return ConnectError(f"{where} refuses the credentials: {text}", "auth_failed")
    if "certificate verify failed" in lowered:
        why = "its certificate has expired, or is from an authority that sslrootcert does not hold"
        return ConnectError(f"no connection to {where}: {text}: {why}")
    if 'database "' in lowered and "does not exist" in lowered:
        return ConfigurationError(f"{where}: {text}; create it first")
    if 'role "' in lowered and "does not exist" in lowered:
        return ConnectError(f"{where} refuses the credentials: {text}", "auth_failed")
    if "timeout" in lowered or "timed out" in lowered:
        return ConnectError(f"{where} does not answer: {text}", "connection_timeout")
    return ConnectError(f"no connection to {where}: {text}")


def _text(error: Exception) -> str:
    """Return the first line of the message. It may name hosts, users and databases, but no
    secrets."""
    diagnosis = getattr(error, "diag", None)
    primary = getattr(diagnosis, "message_primary", None)
    lines = (primary or str(error)).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _is_lost(error: Exception) -> bool:
    import psycopg

    return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))


def is_broken(error: BaseException) -> bool:
    """Return whether the connection is lost.

    Then it is unknown whether the statement took effect.
    """
    cause = error.__cause__ if isinstance(error, LakebedError) else error
    if cause is None or not isinstance(cause, Exception):
        return False
    state: str = getattr(cause, "sqlstate", None) or ""
    return state.startswith(("08", "57P")) or (not state and _is_lost(cause))


def is_conflict(error: Exception) -> bool:
    """Return whether an error of psycopg says that a condition of a change did not hold."""
    return getattr(error, "sqlstate", None) == _REFUSED


def is_retired(error: Exception) -> bool:
    """Return whether the connection must not be used again.

    It is lost, or its server was demoted.
    """
    return is_broken(error) or getattr(error, "sqlstate", None) == READ_ONLY


def stays_read_only(error: BaseException, fetch: Callable[[str], Sequence[Row]]) -> bool:
    """Return whether a server that is not a standby refused a write.

    Then neither a promotion nor another try will help. `fetch`: gives the rows of a statement.
    """
    if getattr(error.__cause__, "sqlstate", None) != READ_ONLY:
        return False
    try:
        return not fetch("SELECT pg_is_in_recovery()")[0][0]
    except LakebedError:  # the server may be changing its role
        return False


def is_repeatable(error: BaseException) -> bool:
    """Return whether nothing has happened and another try may succeed."""
    if isinstance(error, OvertakenError):
        return True
    cause = error.__cause__
    if not isinstance(error, LakebedError) or cause is None:
        return False
    if isinstance(error, ConnectError) and error.error_type == "auth_failed":
        return False
    if isinstance(error, ConfigurationError):
        return False
    return getattr(cause, "sqlstate", None) in _REPEATABLE or is_broken(error)
