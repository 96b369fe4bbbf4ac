"""The values of documents for a query: which to fetch one by one, and which packs to read whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

import duckdb

from lakebed.duckdb import relations
from lakebed.duckdb.limits import check
from lakebed.duckdb.session import Session
from lakebed.errors import CorruptionError, LakebedError, NotFoundError, QueryError
from lakebed.lake.sql.rows import LoadedRows, Values, drop, new_name, new_table
from lakebed.model import EntryRow
from lakebed.objects.packs import HASH_PREFIX_BYTES

if TYPE_CHECKING:
    from lakebed.lake.contents.windows import ContentReader

_FETCHED = 4
"""If a query needs fewer than one in this many objects of a pack, reading ranges is faster."""
_READERS = 16  # separate files that are read at once
_FILES = 500  # separate files that are handed to the readers at once
_BATCH_BYTES = 32 << 20
_CONTENTS = (
    "SELECT DISTINCT ON (object_id) object_id, key, version, content_hash, format, byte_size, uri, "
    "position"
)


def bring_values(session: Session, rows: LoadedRows, lake: ContentReader) -> Values:
    """Make all values of the loaded documents available.

    Raises QueryError if a value has been collected since the rows were read, and CorruptionError if
    one is damaged or missing.
    """
    if rows.values is None or rows.added:
        connection = session.connect()
        try:
            with session.errors():
                if rows.values is None:
                    rows.values = _bring(session, connection, rows, lake)
                else:
                    rows.values = _bring_added(session, connection, rows, rows.values, lake)
                rows.added = False
        finally:
            session.release(connection)
    return rows.values


def _bring(
    session: Session, connection: duckdb.DuckDBPyConnection, rows: LoadedRows, lake: ContentReader
) -> Values:
    table = rows.table
    packs = connection.execute(
        "SELECT pack_id, uri, count(DISTINCT object_id) FROM "
        f"{table} WHERE {relations.DOCUMENT} AND pack_id IS NOT NULL GROUP BY ALL ORDER BY uri"
    ).fetchall()
    whole = _whole(packs, rows)
    sound = _find_sound(session, connection, [uri for _, uri in whole])
    whole = [(pack, uri) for pack, uri in whole if uri in sound]
    read = ", ".join(str(pack) for pack, _ in whole) or "-1"
    elsewhere = f"coalesce(pack_id, 0) NOT IN ({read})"
    fetched = _fetch(session, connection, table, elsewhere, lake)
    stride = 0
    if whole:
        try:
            stride = _place(session, connection, rows, whole)
        except BaseException as error:
            if fetched is not None:
                drop(session, fetched)
            if isinstance(error, (duckdb.Error, QueryError)):
                check()  # a timeout says nothing about damage
                _refuse_damaged(connection, table, whole, lake)
            raise
    return Values(fetched, [uri for _, uri in whole], stride)


def _bring_added(
    session: Session,
    connection: duckdb.DuckDBPyConnection,
    rows: LoadedRows,
    values: Values,
    lake: ContentReader,
) -> Values:
    """Fetch the values of new entries, except those in packs that are read whole."""
    elsewhere = "place IS NULL" if values.packs else "true"
    if values.fetched is not None:
        elsewhere += f" AND object_id NOT IN (SELECT object_id FROM {values.fetched})"
    return values._replace(
        fetched=_fetch(session, connection, rows.table, elsewhere, lake, values.fetched)
    )


def _whole(packs: list[tuple[int, str, int]], rows: LoadedRows) -> list[tuple[int, str]]:
    """Return the packs to read whole, because the query needs enough of their values."""
    return [(pack, uri) for pack, uri, wanted in packs if wanted * _FETCHED >= rows.packs[pack]]


def _find_sound(
    session: Session, connection: duckdb.DuckDBPyConnection, paths: list[str]
) -> set[str]:
    """Return the packs in which every value has its hash.

    A pack is checked once per session: files never change, and hashing in each query would take
    three times as long as the query. The values of other packs are fetched one by one, which finds
    the damaged ones.
    """
    unknown = [path for path in paths if path not in session.sound]
    try:
        session.sound |= _check(session, connection, unknown)
    except duckdb.Error:  # one is missing or unreadable: find out which
        for path in unknown:
            with suppress(duckdb.Error):
                session.sound |= _check(session, connection, [path])
        session.check_open()
    return session.sound & set(paths)


def _check(session: Session, connection: duckdb.DuckDBPyConnection, paths: list[str]) -> set[str]:
    """Return the packs whose contents have their hashes."""
    if not paths:
        return set()
    assert session.files is not None
    with session.files.grant(paths) as grant:
        query = (
            f"SELECT DISTINCT file_index FROM {relations.files(grant.address)} "
            f"WHERE sha256(value)[1:{2 * HASH_PREFIX_BYTES}] != lower(hex(hash_prefix))"
        )
        damaged = session.attend(connection, lambda: connection.execute(query).fetchall())
        return set(paths) - {grant.paths[index] for (index,) in damaged}


def _place(
    session: Session,
    connection: duckdb.DuckDBPyConnection,
    rows: LoadedRows,
    whole: list[tuple[int, str]],
) -> int:
    """Note for each row where in the packs its value is. Returns the distance between the places of
    two packs.

    Later queries join by these numbers, which takes half the time of a join by hashes.
    """
    assert session.files is not None
    with session.files.grant(uri for _, uri in whole) as grant:
        order = {path: index for index, path in enumerate(grant.paths)}
        numbers = ", ".join(f"({pack}, {order[uri]})" for pack, uri in whole)
        files = relations.files(grant.address)
        table, placed = rows.table, new_name()
        # If the call is interrupted, closing its connection undoes it.
        connection.begin()
        try:
            stride = session.attend(
                connection, lambda: _join_places(connection, table, placed, whole, files, numbers)
            )
            # Keep the name: another thread may be about to read the table.
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE {placed} RENAME TO {table.rpartition('.')[2]}")
            connection.commit()
        except (duckdb.Error, LakebedError):
            check()
            connection.rollback()
            raise
    return stride


def _with_places(table: str, files: str, numbers: str, stride: int) -> str:
    """Return a query for the rows of a table, each with the place of its value.

    A row that is not a document gets no place, because NULL in place of its hash joins with
    nothing. A separate condition for it would make DuckDB compare each row with each value.
    """
    return (
        f"SELECT r.*, h.file_index::BIGINT * {stride} + h.file_row_number AS place "
        f"FROM {table} r LEFT JOIN (VALUES {numbers}) f(pack, file) ON f.pack = r.pack_id "
        f"LEFT JOIN {files} h ON h.file_index = f.file AND h.hash_prefix = "
        f"CASE WHEN r.{relations.DOCUMENT} THEN r.content_hash[1:16] END"
    )


def _join_places(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    placed: str,
    whole: list[tuple[int, str]],
    files: str,
    numbers: str,
) -> int:
    ((most,),) = connection.execute(f"SELECT max(file_row_number) FROM {files}").fetchall()
    stride = int(most) + 1
    connection.execute(f"CREATE TABLE {placed} AS {_with_places(table, files, numbers, stride)}")
    packs = ", ".join(str(pack) for pack, _ in whole)
    lost = connection.execute(
        f"SELECT key, lower(hex(content_hash)), uri FROM {placed} "
        f"WHERE {relations.DOCUMENT} AND place IS NULL AND pack_id IN ({packs}) LIMIT 1"
    ).fetchall()
    if lost:
        ((key, digits, uri),) = lost
        raise CorruptionError(
            f"the content of {key!r} (sha256:{digits}) is damaged: it is not in the pack {uri}"
        )
    return stride


def _refuse_damaged(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    packs: list[tuple[int, str]],
    lake: ContentReader,
) -> None:
    """Raise a CorruptionError with key and hash if an unreadable pack is damaged or missing.

    A pack that was given up meanwhile is no error.
    """
    numbers = ", ".join(str(pack) for pack, _ in packs)
    wanted = connection.execute(
        f"{_CONTENTS} FROM {table} WHERE {relations.DOCUMENT} AND pack_id IN ({numbers})"
    ).fetchall()
    for _, data in lake.read_contents(_row(*item[1:]) for item in wanted):
        if isinstance(data, CorruptionError):
            raise data


def _fetch(
    session: Session,
    connection: duckdb.DuckDBPyConnection,
    table: str,
    elsewhere: str,
    lake: ContentReader,
    into: str | None = None,
) -> str | None:
    """Read values in separate files, and in packs of which few values are needed, into a table.
    Returns its name, or None if there are no such values.

    `into`: the table; None makes a new one. `elsewhere`: the condition that selects these values.
    """
    wanted = connection.execute(
        f"{_CONTENTS} FROM {table} WHERE {relations.DOCUMENT} AND uri IS NOT NULL AND {elsewhere}"
    ).fetchall()
    if not wanted:
        return into
    import pyarrow as pa

    fetched = into or new_table(session, "object_id BIGINT, value JSON")
    insert = f"INSERT INTO {fetched} SELECT object_id, decode(value)::JSON FROM batch"
    try:
        for batch in _batches(_read(lake, wanted)):
            check()
            ids, values = zip(*batch, strict=True)
            columns = {"object_id": pa.array(ids, pa.int64()), "value": pa.array(values)}
            connection.register("batch", pa.table(columns))
            connection.execute(insert)
            connection.unregister("batch")
    except BaseException:
        if into is None:
            drop(session, fetched)
        raise
    return fetched


def _read(lake: ContentReader, wanted: list[tuple[Any, ...]]) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the stored bytes of each object, the packed ones first."""
    rows = {item[0]: _row(*item[1:]) for item in wanted}
    numbers = {row: number for number, row in rows.items()}
    packed = [row for row in rows.values() if row.position is not None]
    for row, data in lake.read_contents(packed):
        yield numbers[row], _present(data)
    alone = iter([row for row in rows.values() if row.position is None])
    with ThreadPoolExecutor(_READERS) as readers:
        while chunk := list(islice(alone, _FILES)):
            for row, data in zip(chunk, readers.map(lake.read_content, chunk), strict=True):
                yield numbers[row], _present(data)


def _row(
    key: str, version: int, content_hash: bytes, format: str, size: int, uri: str, position: str
) -> EntryRow:
    return EntryRow(key, version, "{}", None, 0, 0, content_hash, format, size, None, uri, position)


def _present(data: bytes | LakebedError) -> bytes:
    if isinstance(data, NotFoundError):
        raise QueryError(f"the query has outlived the grace period: {data}. Run it again")
    if isinstance(data, LakebedError):
        raise data
    return data


def _batches(items: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    batch: list[tuple[int, bytes]] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item[1])
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
