"""Converts tables of common libraries to Parquet and back."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

from lakebed.errors import DependencyMissingError, SerializationError, ValidationError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from lakebed.values.encoded import Encoded, EncodedFile

TableLibrary = Literal["pandas", "polars"]
"""The libraries whose DataFrame can be returned instead of a pyarrow Table."""

# The kinds of object columns that Arrow stores correctly, by pandas's names.
_UNIFORM = frozenset(
    ("string", "bytes", "floating", "integer", "mixed-integer-float", "boolean", "decimal", "empty")
)

_BATCH_ROWS = 1 << 16


def is_table(value: object) -> bool:
    """Return whether a value is a table. Imports no library."""
    kind = type(value)
    return hasattr(kind, "__arrow_c_stream__") or _is(value, "polars", "LazyFrame")


def encode_table(value: Any) -> Encoded | EncodedFile:
    """Encode a table as Parquet.

    A RecordBatchReader or another stream is read to its end, in bounded memory. A LazyFrame is
    computed first. Raises SerializationError, naming the column, for data that would not come back
    as it went in.
    """
    from lakebed.values.parquet import write_table

    return write_table(*open_table(value))


def check_library(name: object) -> None:
    """Raise ValidationError unless `name` is a known library for DataFrames."""
    if name not in get_args(TableLibrary):
        choices = " or ".join(map(repr, get_args(TableLibrary)))
        raise ValidationError(
            f"as_ must be {choices}, got {name!r}: leave it out to get a pyarrow Table"
        )


def convert(value: Any, library: TableLibrary) -> Any:
    """Convert a stored table to a DataFrame of another library.

    Raises ValidationError if the value is not a table or the library cannot hold it, and
    DependencyMissingError, with the pip command, if the library is not installed.
    """
    if not _is(value, "pyarrow", "Table"):
        raise ValidationError(
            f"as_={library!r} requires a table, but the value is of type {type(value).__name__}"
        )
    try:
        module = import_module(library)
    except ImportError as error:
        raise DependencyMissingError(
            f"as_={library!r} needs the package {library}: pip install 'lakebed[{library}]'"
        ) from error
    try:
        return _to_pandas(value, module) if library == "pandas" else module.from_arrow(value)
    except _failures(module) as error:
        raise ValidationError(
            f"as_={library!r} cannot hold this table, so leave as_ out: {error}"
        ) from error


def _is(value: object, module: str, name: str) -> bool:
    """Return whether a value is an instance of a class, without importing the class's module."""
    return isinstance(value, getattr(sys.modules.get(module), name, ()))


def open_table(value: Any) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
    """Return the schema and the rows of any table. Raises SerializationError for a value that is
    not a table, or for data that would not come back as it went in."""
    import pyarrow as pa

    if _is(value, "polars", "LazyFrame"):
        value = value.collect(engine="streaming")
    if _is(value, "pandas", "DataFrame"):
        value = _from_pandas(value)
    elif _is(value, "polars", "DataFrame"):
        value = _from_polars(value)
    if isinstance(value, pa.RecordBatch):
        value = pa.Table.from_batches([value])
    if isinstance(value, pa.Table):
        if value.num_rows and not value.num_columns:
            raise _no_columns(value.num_rows)
        return value.schema, value.to_batches()
    if isinstance(value, pa.RecordBatchReader):
        return value.schema, value
    if _is(value, "ibis.expr.types", "Table"):  # Ibis would read its own stream into memory
        value = value.to_pyarrow_batches(chunk_size=_BATCH_ROWS)
        return value.schema, _cast(value)
    try:
        reader = pa.RecordBatchReader.from_stream(value)
    except pa.ArrowInvalid as error:
        raise SerializationError(
            f"$ must be a table, got {type(value).__module__}.{type(value).__name__} ({error}); "
            "to store a Series, call its to_frame()"
        ) from None
    return reader.schema, reader


def _no_columns(rows: int) -> SerializationError:
    return SerializationError(f"the table has {rows} rows and no columns: Parquet cannot keep them")


def _from_pandas(frame: pd.DataFrame) -> pa.Table:
    import pyarrow as pa

    from lakebed.values.parquet import REFUSALS, refusal

    if len({type(label) for label in frame.columns}) > 1:
        raise SerializationError(
            f"the column labels must be of one type, got {', '.join(map(repr, frame.columns))}: "
            "they would all come back as text"
        )
    try:
        table = pa.Table.from_pandas(frame)
    except REFUSALS as error:

        def attempt(name: str) -> None:
            position = names.index(name)
            pa.Table.from_pandas(frame.iloc[:, [position]], preserve_index=False)

        names = list(map(str, frame.columns))
        raise refusal(names, attempt, error) from None
    if table.num_rows != len(frame):
        raise _no_columns(len(frame))
    _check_objects(frame, table)
    _check_axes(frame, table)
    return table


def _check_objects(frame: pd.DataFrame, table: pa.Table) -> None:
    """Refuse columns whose values Arrow changed, for example datetimes to dates.

    The contents of lists and dicts are not checked.
    """
    from pandas.api.types import infer_dtype

    columns = (frame.iloc[:, number] for number in range(frame.shape[1]))
    levels = (frame.index.get_level_values(number) for number in range(frame.index.nlevels))
    for column, stored in zip(chain(columns, levels), table.columns, strict=False):
        if column.dtype != object or infer_dtype(column, skipna=True) in _UNIFORM:
            continue
        for given, kept in zip(column, stored.to_pylist(), strict=True):
            nested = isinstance(kept, (list, dict)) and not isinstance(given, (set, frozenset))
            if kept is not None and not nested and kept != given:
                raise SerializationError(
                    f"the column {str(column.name)!r} cannot be stored: {given!r} would come back "
                    f"as {kept!r}"
                )


def _check_axes(frame: pd.DataFrame, table: pa.Table) -> None:
    """Refuse labels and an index that would change or be lost. pyarrow restores all types of
    columns, but only the common types of labels and indexes."""
    import pandas as pd
    import pyarrow as pa

    try:
        labels = _to_pandas(table.slice(0, 0), pd).columns
    except _failures(pd):
        labels = None
    if labels is None or not labels.equals(frame.columns):
        raise SerializationError(
            f"the column labels of dtype {frame.columns.dtype} would not come back as they are: "
            "convert them to strings with frame.set_axis(frame.columns.astype(str), axis=1)"
        )
    for name in table.schema.pandas_metadata["index_columns"]:
        if isinstance(name, str) and isinstance(table[name].type, pa.BaseExtensionType):
            raise SerializationError(
                f"the index holds {table[name].type} and would come back as plain numbers: "
                "turn it into columns with reset_index(), because columns keep their types"
            )


def _cast(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches of Ibis with the types that Ibis declares. DuckDB's types may differ: for a
    sum, DuckDB returns decimals where Ibis declares int64."""
    import pyarrow as pa

    for batch in reader:
        try:
            yield batch.cast(reader.schema)
        except pa.ArrowException as error:
            raise SerializationError(
                f"the expression returns other types than Ibis declares: {error}"
            ) from None


def _from_polars(frame: pl.DataFrame) -> pa.Table:
    import polars as pl

    from lakebed.values.parquet import REFUSALS, refusal

    def to_arrow(part: pl.DataFrame) -> pa.Table:
        # The oldest level, because few other readers of Parquet know string views.
        return part.to_arrow(compat_level=pl.CompatLevel.oldest())

    for name, dtype in frame.schema.items():
        if dtype == pl.Object:  # Arrow would get the addresses of the objects
            raise SerializationError(f"the column {name!r} cannot be stored: it holds objects")
    try:
        return to_arrow(frame)
    except REFUSALS as error:
        raise refusal(frame.columns, lambda name: to_arrow(frame.select(name)), error) from None


def _to_pandas(table: pa.Table, pandas: ModuleType) -> Any:
    """Return a DataFrame. `Table.to_pandas` alone fails on ArrowDtypes whose name pandas cannot
    parse."""
    unreadable = set()
    for column in (table.schema.pandas_metadata or {}).get("columns", ()):
        if column["numpy_type"].endswith("[pyarrow]"):
            try:
                pandas.api.types.pandas_dtype(column["numpy_type"])
            except (TypeError, NotImplementedError):
                unreadable.add(table.schema.field(column["field_name"]).type)
    return table.to_pandas(
        types_mapper=lambda kind: pandas.ArrowDtype(kind) if kind in unreadable else None
    )


def _failures(library: ModuleType) -> tuple[type[BaseException], ...]:
    """Return the exceptions that converting to a DataFrame of the library may raise."""
    failures: tuple[type[BaseException], ...] = (ValueError, TypeError, NotImplementedError)
    if library.__name__ == "polars":
        failures += (library.exceptions.PolarsError, library.exceptions.PanicException)
    return failures
