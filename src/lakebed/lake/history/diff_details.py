"""What changed inside a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakebed.records import Entry

if TYPE_CHECKING:
    import pyarrow as pa

_TABLES = ("parquet", "table")


def details(before: Entry, after: Entry) -> dict[str, Any]:
    """The differences between two values; see `EntryChange.details`."""
    if before.format == after.format == "json":
        from deepdiff import DeepDiff

        differences: dict[str, Any] = DeepDiff(
            before.value, after.value, verbose_level=2, ignore_private_variables=False
        ).to_dict()  # names that begin with "__" are fields like others
        return differences or _sizes(before, after)  # 0.0 and -0.0 are equal to it
    if before.format in _TABLES and after.format in _TABLES:
        return _table_details(before.value, after.value)
    return _sizes(before, after)


def _sizes(before: Entry, after: Entry) -> dict[str, Any]:
    return {
        "format": (before.format, after.format),
        "byte_size": (before.byte_size, after.byte_size),
    }


def _table_details(before: pa.Table, after: pa.Table) -> dict[str, Any]:
    old = {field.name: str(field.type) for field in before.schema}
    new = {field.name: str(field.type) for field in after.schema}
    return {
        "rows": (before.num_rows, after.num_rows),
        "columns_added": {name: kind for name, kind in new.items() if name not in old},
        "columns_removed": {name: kind for name, kind in old.items() if name not in new},
        "types_changed": {
            name: (kind, new[name]) for name, kind in old.items() if new.get(name, kind) != kind
        },
    }
