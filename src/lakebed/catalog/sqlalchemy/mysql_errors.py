"""Turns errors of MySQL, MariaDB and the network into those of `lakebed.errors`."""

from __future__ import annotations

from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    ConnectError,
    LakebedError,
    LockTimeoutError,
    StorageError,
    ValidationError,
)

_DEADLOCK = 1213
_LOCKED = frozenset({1205, 3572, 1206})
_CANCELLED = frozenset({1969, 3024})
_LOST = frozenset({2006, 2013, 2014, 2055, 1053, 1927, 4031})
_REFUSED = frozenset({1045, 1698})
_NO_RIGHT = frozenset({1142, 1143, 1227, 1370})
_FULL = frozenset({1021, 1114, 1030, 1041, 1037, 3})
_READ_ONLY = frozenset({1290, 1792, 1836})
# Duplicate key, null, foreign key, check (MySQL, MariaDB), and a trigger's signal.
_CONSTRAINTS = frozenset({1022, 1048, 1062, 1451, 1452, 1644, 3819, 4025})
_REPEATABLE = _LOST | {_DEADLOCK, 1040, 1203, 2002, 2003, 1452}
_GRANT = (
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES ON its database (SELECT to "
    "read; CREATE, DROP, ALTER, INDEX, REFERENCES to make the tables)"
)


def code_of(error: BaseException | None) -> int:
    """Return the error's number, or 0 if it has none."""
    code = error.args[0] if error is not None and error.args else 0
    return code if isinstance(code, int) else 0


def explain(error: BaseException, where: str, lock_timeout: float) -> LakebedError:
    """Return the error of `lakebed.errors` for an error of PyMySQL. `where`: the server's name."""
    code = code_of(error)
    text = str(error.args[1]) if len(error.args) > 1 else type(error).__name__
    if code in _LOCKED:
        return LockTimeoutError(
            f"a lock in {where} was not free within {lock_timeout:g} seconds (lock_timeout); "
            "nothing was written"
        )
    if code in _CANCELLED:
        return CatalogError(f"{where} cancelled a statement (statement_timeout): {text}")
    if code == 1044:
        return ConnectError(f"the user of {where} lacks a right: {text}; {_GRANT}", "auth_failed")
    if code in _REFUSED:
        return ConnectError(f"{where} refuses the credentials: {text}", "auth_failed")
    if code == 1049:
        return ConfigurationError(f"{where}: {text}; create it first")
    if code in _NO_RIGHT:
        return StorageError(f"the user of {where} lacks a right: {text}; {_GRANT}")
    if code in _READ_ONLY:
        return StorageError(f"cannot write to {where}: the server is read-only")
    if code in _FULL:
        return StorageError(f"{where} has run out of a resource: {text}")
    if code in _CONSTRAINTS:
        return ValidationError(f"{where} refuses the entry: {text}")
    if code == 1153:
        return StorageError(f"a value is larger than {where} takes (max_allowed_packet)")
    if "timed out" in text.lower():
        return ConnectError(f"{where} does not answer: {text}", "connection_timeout")
    if code in _LOST or code in (0, 1040, 1203, 2002, 2003, 2005):
        return ConnectError(f"no connection to {where}: {text}")
    return CatalogError(f"{where} failed: {text}")


def is_repeatable(error: BaseException) -> bool:
    """Return whether nothing has happened and another try may succeed."""
    return isinstance(error, LakebedError) and code_of(error.__cause__) in _REPEATABLE
