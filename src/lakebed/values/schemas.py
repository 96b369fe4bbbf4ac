"""Checks whether rows fit a table, and finds the schema of the table after they are appended.

A column is widened to a type only if that holds every value of the narrower type exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from lakebed.errors import CorruptionError, SerializationError, ValidationError

_FLOAT_DIGITS = {16: 11, 32: 24, 64: 53}  # bits of the whole numbers that a float holds exactly


def combined(table: pa.Schema, rows: pa.Schema, *, widen: bool, key: str) -> pa.Schema:
    """Return the schema of a table after rows of another schema are appended to it.

    Columns are matched by name. A column of nulls fits any type. Whole numbers fit a column of
    floats, but `cast` then checks their values.

    Raises ValidationError, naming the column and both types, if a column or type differs and
    `widen` does not allow it, or if no type holds the values of both.
    """
    given = {field.name: field for field in rows}
    fields = [_combined(field, given.pop(field.name, None), widen, key) for field in table]
    for field in given.values():
        if not widen:
            raise _refusal(f"the column {field.name!r} is {field.type} in the rows and is not in "
                           f"the table {key!r}", "adds it")  # fmt: skip
        fields.append(field.with_nullable(True))
    return pa.schema(fields, table.metadata)


def aligned(rows: pa.Schema, table: pa.Schema) -> pa.Schema:
    """Return the schema in which rows are stored as a part of a table. It is the schema of the rows
    in the order of the table's columns. Columns that adapt get the type of the table's column."""
    fields = []
    for field in table:
        index = rows.get_field_index(field.name)
        if index >= 0:
            own = rows.field(index)
            fields.append(own.with_type(field.type) if _adapts(own.type, field.type) else own)
    return pa.schema(fields, rows.metadata)


def cast(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the batches in another schema. Missing columns are filled with nulls. Raises
    SerializationError for a value that would change."""
    for batch in batches:
        columns = []
        for field in schema:
            index = batch.schema.get_field_index(field.name)
            if index < 0:
                columns.append(pa.nulls(batch.num_rows, field.type))
            elif batch.column(index).type == field.type:
                columns.append(batch.column(index))
            else:
                columns.append(_cast(batch.column(index), field))
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def as_table(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a part of a table in the table's schema. Raises CorruptionError if it does not fit."""
    if table.schema.equals(schema):
        return table.replace_schema_metadata(schema.metadata)
    try:
        return pa.Table.from_batches(cast(table.to_batches(), schema), schema)
    except SerializationError as error:
        raise CorruptionError(f"a part does not fit its table: {error}") from None


def _cast(column: pa.Array, field: pa.Field) -> pa.Array:
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise SerializationError(
            f"the column {field.name!r} is {column.type}, and its values do not all fit "
            f"{field.type}: {error}"
        ) from None


def _combined(field: pa.Field, given: pa.Field | None, widen: bool, key: str) -> pa.Field:
    if given is None:
        if not widen:
            raise _refusal(f"the column {field.name!r} is {field.type} in the table {key!r} and is "
                           "not in the rows", "fills it with nulls")  # fmt: skip
        return field.with_nullable(True)
    nullable = field.nullable or given.nullable
    if field.type == given.type or _adapts(given.type, field.type):
        return field.with_nullable(nullable)
    differs = (
        f"the column {field.name!r} is {field.type} in the table {key!r} and {given.type} in the "
        "rows"
    )
    wide = wider(field.type, given.type)
    if wide is None:
        raise ValidationError(f"{differs}: no type holds the values of both")
    if not widen:
        raise _refusal(differs, f"makes it {wide}")
    return field.with_type(wide).with_nullable(nullable)


def _adapts(rows: pa.DataType, table: pa.DataType) -> bool:
    """Return whether a column of rows takes the type of the table's column. This is so for nulls,
    and for whole numbers in a column of floats, because readers of JSON and CSV take the floats
    1.0, 2.0 for whole numbers."""
    whole = pa.types.is_integer(rows) and pa.types.is_floating(table)
    return bool(whole or pa.types.is_null(rows))


def _refusal(text: str, then: str) -> ValidationError:
    return ValidationError(f"{text}: widen=True {then}")


def wider(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """Return the type that holds the values of both exactly, or None if there is none."""
    if holds(a, b):
        return a
    if holds(b, a):
        return b
    candidates = [pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()]
    if pa.types.is_decimal(a) and pa.types.is_decimal(b):
        scale = max(a.scale, b.scale)
        digits = max(a.precision - a.scale, b.precision - b.scale) + scale
        candidates = [pa.decimal128(digits, scale)] if digits <= 38 else []
    return next((wide for wide in candidates if holds(wide, a) and holds(wide, b)), None)


def holds(wide: pa.DataType, narrow: pa.DataType) -> bool:
    """Return whether a type holds every value of another exactly."""
    types = pa.types
    if wide == narrow or types.is_null(narrow):
        return True
    if types.is_floating(wide):
        if types.is_integer(narrow):
            bits = narrow.bit_width - types.is_signed_integer(narrow)
            return bool(bits <= _FLOAT_DIGITS[wide.bit_width])
        return bool(types.is_floating(narrow) and wide.bit_width > narrow.bit_width)
    if types.is_integer(wide) and types.is_integer(narrow):
        if types.is_signed_integer(wide) and types.is_unsigned_integer(narrow):
            return bool(wide.bit_width > narrow.bit_width)
        same = types.is_signed_integer(wide) == types.is_signed_integer(narrow)
        return bool(same and wide.bit_width > narrow.bit_width)
    if types.is_decimal(wide) and types.is_decimal(narrow):
        return bool(
            wide.scale >= narrow.scale
            and wide.precision - wide.scale >= narrow.precision - narrow.scale
        )
    return bool(
        (types.is_large_string(wide) and types.is_string(narrow))
        or (types.is_large_binary(wide) and types.is_binary(narrow))
    )
