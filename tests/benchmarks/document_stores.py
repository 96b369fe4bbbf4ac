"""Documents in Postgres against the bare statements by psycopg, on one private server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from lakebed.documents import create_metadata_store
from tests.benchmarks.postgres import postgres_server
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark

_TEXT = "A document of some length, as programs keep them. " * 2
_SET = """INSERT INTO lakebed_metadata (collection, doc_id, data) VALUES (%s, %s, %s::jsonb)
    ON CONFLICT (collection, doc_id) DO UPDATE SET data = EXCLUDED.data, updated_at = now()
    RETURNING xmax = 0"""
_GET = "SELECT data FROM lakebed_metadata WHERE collection = %s AND doc_id = %s"
_QUERY = """SELECT doc_id, data FROM lakebed_metadata
    WHERE collection = %s AND data @> %s::jsonb ORDER BY doc_id LIMIT 100"""


def _document(number: int) -> dict[str, Any]:
    return {"text": _TEXT, "n": number, "group": f"g{number % 200}", "tags": ["a", "b"]}


@benchmark
def document_stores(room: Room) -> Iterator[Contest]:
    """Setting, getting and querying documents, one at a time."""
    import psycopg

    count = room.count(400)
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server(fsync="on", synchronous_commit="off"))
        store = stack.enter_context(create_metadata_store("postgres", url=server.url()))
        rows = room.count(10_000)
        store.batch_set(
            {"collection": "many", "doc_id": f"{i:06}", "data": _document(i)} for i in range(rows)
        )
        raw = stack.enter_context(psycopg.connect(server.url(), autocommit=True))
        raw.execute("ANALYZE lakebed_metadata")

        def ours_set(number: int) -> object:
            return store.set_document("c", f"{number}", _document(number))

        def bare_set(number: int) -> object:
            return raw.execute(_SET, ("r", f"{number}", json.dumps(_document(number)))).fetchone()

        def ours_get(number: int) -> object:
            return store.get_document("many", f"{number:06}")["data"]

        def bare_get(number: int) -> object:
            return raw.execute(_GET, ("many", f"{number:06}")).fetchone()

        def ours_query(number: int) -> object:
            return store.query("many", filters=[("group", "==", f"g{number % 200}")])["results"]

        def bare_query(number: int) -> object:
            wanted = json.dumps({"group": f"g{number % 200}"})
            return raw.execute(_QUERY, ("many", wanted)).fetchall()

        def contest(name: str, bar: float, ours: Any, bare: Any, times: int) -> Contest:
            contenders = {OURS: _all(ours, times), "psycopg": _all(bare, times)}
            return Contest(name, contenders, {"psycopg": bar}, times)

        yield contest("documents: set_document", 0.8, ours_set, bare_set, count)
        yield contest("documents: get_document", 0.8, ours_get, bare_get, min(count, rows))
        yield contest("documents: query by a field", 0.7, ours_query, bare_query, count // 4)


@benchmark
def documents_in_a_lake(room: Room) -> Iterator[Contest]:
    """What documents cost in a lake, beside its own calls."""
    count = room.count(400)
    with create_metadata_store("lake", path=room.folder / "lake") as store:

        def ours(number: int) -> object:
            return store.set_document("c", f"{number}", _document(number))

        def bare(number: int) -> object:
            return store.lake.store(f"own/{number}", _document(number))

        contenders = {OURS: _all(ours, count), "Lake.store": _all(bare, count)}
        yield Contest("documents in a lake: set_document", contenders, {}, count)


def _all(call: Callable[[int], object], times: int) -> Round:
    def run(_: int) -> None:
        for number in range(times):
            call(number)

    return run
