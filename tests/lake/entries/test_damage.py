"""A bit flipped, a file cut short, removed, or swapped with another: whichever way a value is read,
damage is named by key and hash, and never returned."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from typer.testing import CliRunner

import lakebed
from lakebed.cli.app import app
from lakebed.errors import CorruptionError
from lakebed.lake.lake import Lake

DAMAGES = ("flip", "cut", "remove", "swap")
PLACES = ("inline", "object", "packed", "table")
COUNT = 6
HASHED_BY_VERIFY = {("table", "flip"), ("packed", "flip"), *(("inline", each) for each in DAMAGES)}
"""What a query in SQL does not see."""


class Stored(NamedTuple):
    """A lake whose key `damaged` holds a value of which no read may give anything else."""

    lake: Lake
    folder: Path
    place: str
    damage: str
    content_hash: str

    @property
    def key(self) -> str:
        return f"{self.place}/0"


def value_of(place: str, number: int) -> Any:
    if place == "table":
        count = 3000 + 100 * number
        return pa.table({"n": range(count), "text": [f"{number}"] * count})
    return f"canary {place} {number} " + "x" * (10 if place == "inline" else 400)


@pytest.fixture(params=[(p, d) for p in PLACES for d in DAMAGES], ids="-".join)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stored]:
    place, damage = request.param
    with lakebed.open(tmp_path / "lake", inline_threshold=100) as lake:
        for each in PLACES:
            values = {f"{each}/{n}": value_of(each, n) for n in range(COUNT)}
            if each == "packed":
                lake.store_batch({"key": key, "value": value} for key, value in values.items())
            else:
                for key, value in values.items():
                    lake.store(key, value)
        # A second pack, to swap the first with.
        lake.store_batch({"key": f"other/{n}", "value": value_of("other", n)} for n in range(COUNT))
        lake.create_snapshot("s")
        lake.search("warm the index")
        entry = lake.entry(f"{place}/0")
        assert entry is not None
        _damage(lake, place, damage)
        yield Stored(lake, tmp_path, place, damage, entry.content_hash)


def _file(lake: Lake, key: str) -> tuple[Path, str]:
    uri = lake.entry(key).storage_uri  # type: ignore[union-attr]
    assert uri is not None
    path, _, position = uri.removeprefix("file://").partition("#")
    return Path(path), position


def _damage(lake: Lake, place: str, damage: str) -> None:
    if place == "inline":
        _damage_row(lake, damage)
        return
    path, position = _file(lake, f"{place}/0")
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    if position:
        offset, length, _ = map(int, position.split("-"))
        at = offset + length // 2
    if damage == "flip":
        data[at] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:at])
    elif damage == "remove":
        path.unlink()
    else:
        other, _ = _file(lake, "other/0" if place == "packed" else f"{place}/1")
        path.write_bytes(other.read_bytes())


def _damage_row(lake: Lake, damage: str) -> None:
    whole, other = (json.dumps(value_of("inline", n)).encode() for n in (0, 1))
    flipped = bytes([whole[0], whole[1] ^ 1, *whole[2:]])
    changed = {"flip": flipped, "cut": whole[:-3], "remove": b"", "swap": other}[damage]
    update = "UPDATE object SET inline_value = :changed WHERE inline_value = :whole"
    params = {"changed": changed, "whole": whole}
    executor = lake._catalog._executor  # type: ignore[attr-defined]
    assert executor.transact(lambda tx: tx.run(update, params)) == 1


def refused(stored: Stored, read: Callable[[], object]) -> None:
    """Reading names the damage."""
    with pytest.raises(CorruptionError) as caught:
        read()
    assert repr(stored.key) in str(caught.value)
    assert stored.content_hash in str(caught.value)


def test_reads(stored: Stored) -> None:
    lake, key = stored.lake, stored.key
    view = lake.at("s")
    entry = lake.entry(key)
    assert entry is not None
    for read in (
        lambda: lake.retrieve(key),
        lambda: lake.retrieve(key, "a default"),
        lambda: lake[key],
        lambda: entry.value,
        lambda: [each.value for each in lake.list(stored.place)],
        lambda: dict(lake.items()),
        lambda: list(lake.values()),
        lambda: view.retrieve(key),
        lambda: dict(view.items()),
        lambda: [each.value for each in view.list(stored.place)],
        lambda: lake.history(key)[0].value,
        lambda: lake.search(None, prefix=key)[0].value,
        lambda: lake.publish(stored.folder / "published"),
    ):
        refused(stored, read)
    with lake.transaction() as tx:
        refused(stored, lambda: tx.retrieve(key))


def test_batches(stored: Stored) -> None:
    """What is damaged is an error of its key; a damaged page or pack hides its own values alone."""
    keys = [f"{place}/{n}" for place in (*PLACES, "other") for n in range(COUNT)]
    for reads in (stored.lake, stored.lake.at("s")):
        found = reads.retrieve_batch(keys)
        assert stored.key in found.errors
        assert not found.missing
        assert all(key.startswith(stored.place) for key in found.errors)
        if stored.place != "packed":
            assert set(found.errors) == {stored.key}
        for key in found:
            place, number = key.split("/")
            expected = value_of(place, int(number))
            assert found[key].equals(expected) if place == "table" else found[key] == expected
        for key, error in found.errors.items():
            assert isinstance(error, CorruptionError)
            assert repr(key) in str(error)
        assert stored.content_hash in str(found.errors[stored.key])


def test_searches(stored: Stored) -> None:
    if stored.place == "table":
        pytest.skip("the text of a table is not searched")
    hits = stored.lake.search("canary", prefix=stored.place, limit=COUNT)
    assert stored.key in [hit.key for hit in hits]
    for hit in hits:
        if hit.key == stored.key:
            refused(stored, lambda hit=hit: hit.value)  # type: ignore[misc]


def test_an_index_does_not_take_what_is_damaged(stored: Stored) -> None:
    """Nor does it let the search fail."""
    if stored.place == "table":
        pytest.skip("the text of a table is not searched")
    with lakebed.open(stored.folder / "lake") as other:  # which has read nothing so far
        other.maintain()
        hits = other.search("canary", limit=100)
    assert stored.key not in [hit.key for hit in hits]
    assert hits.unread >= 1


def test_queries(stored: Stored) -> None:
    """A query reads what it needs and hashes no columns of tables or packs, nor rows of the
    catalog: it names what is not there, or not whole, and `verify` the rest."""
    if (stored.place, stored.damage) in HASHED_BY_VERIFY:
        assert stored.lake.verify().problems
        return
    if stored.place == "table":
        refused(stored, lambda: stored.lake.table(stored.key).execute())
        refused(stored, lambda: stored.lake.tables("table/").execute())
        refused(stored, lambda: stored.lake.at("s").table(stored.key).execute())
        return
    one = f"SELECT value FROM documents WHERE key = '{stored.key}'"  # noqa: S608
    for query in (one, "SELECT key, value FROM documents"):
        refused(stored, lambda query=query: stored.lake.sql(query).fetchall())  # type: ignore[misc]


def test_the_command_line(stored: Stored) -> None:
    def run(*arguments: str, code: int) -> Any:
        given = ["--lake", str(stored.folder / "lake"), *arguments]
        result = CliRunner().invoke(app, given, prog_name="lakebed", catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    output = ["--output", str(stored.folder / "values")]
    told = run("get", stored.key, *(output if stored.place == "table" else []), code=2).stderr
    assert stored.key in told
    assert stored.content_hash in told
    told = run("export", code=2)
    assert stored.key in told.stderr
    assert stored.content_hash in told.stderr
    assert all(json.loads(line)["key"] != stored.key for line in told.stdout.splitlines())
    found = json.loads(run("verify", "--json", code=2).stdout)
    assert stored.key in found["problems"][0]["text"]


def test_verify(stored: Stored) -> None:
    problems = [each for each in stored.lake.verify().problems if stored.key in each.entry_keys]
    (problem,) = problems
    assert problem.kind in ("damaged", "missing")
    assert problem.snapshots == ["s"]
    assert repr(stored.key) in problem.text
    assert stored.content_hash in problem.text
    assert problem.content_hash == stored.content_hash
    (repaired,) = (
        each for each in stored.lake.verify(repair=True).problems if stored.key in each.entry_keys
    )
    assert not repaired.repaired  # nothing proves another content


def test_cleaning_moves_nothing_that_is_damaged(stored: Stored) -> None:
    """Nor does it hide it."""
    lake = stored.lake
    executor = lake._catalog._executor  # type: ignore[attr-defined]
    executor.transact(lambda tx: tx.run("UPDATE object SET created_at = 0", {}))
    lake.maintain()
    lake.compact()
    lake.collect(0)
    refused(stored, lambda: lake[stored.key])
    found = {key for problem in lake.verify().problems for key in problem.entry_keys}
    assert stored.key in found
    intact = set(lake) - found
    assert {f"{place}/5" for place in PLACES if place != stored.place} <= intact
    for key in intact:
        assert lake[key] is not None
