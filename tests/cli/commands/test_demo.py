"""The demo, run end to end: what it printed, and what the lake then really holds."""

from __future__ import annotations

import ast
import importlib
import json
import pickle
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.cli.commands.demo import calls, run
from lakebed.cli.commands.demo.flights import PACKAGE, read_flights
from lakebed.cli.commands.demo.stage import shown_body
from lakebed.cli.commands.demo.stdlib_docs import documentation
from tests.cli.conftest import Cli
from tests.sharing import made_once

ROOT = Path(__file__).parents[3]
COMMAND = str(Path(sys.executable).with_name("lakebed"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that the demo ran in, and what it printed."""

    def run_it(folder: Path) -> None:
        ran = subprocess.run(
            [COMMAND, "demo"], cwd=folder, text=True, capture_output=True, check=False
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        (folder / "printed").write_text(ran.stdout, "utf-8")

    folder = made_once(tmp_path_factory, "demo", run_it)
    return folder, (folder / "printed").read_text("utf-8")


@pytest.fixture(scope="module")
def memories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the demo stores, by key."""

    def gather(folder: Path) -> None:
        (folder / "memories").write_bytes(pickle.dumps(list(documentation())))

    folder = made_once(tmp_path_factory, "demo-memories", gather)
    gathered = pickle.loads((folder / "memories").read_bytes())  # noqa: S301 - written above
    return {memory["key"]: memory for memory in gathered}


def test_it_shows_the_calls_that_it_makes(ran: tuple[Path, str]) -> None:
    _, printed = ran
    lines = {line.strip() for line in printed.splitlines()}
    for name, call in vars(calls).items():
        if callable(call) and getattr(call, "__module__", "") == calls.__name__:
            body = shown_body(call)
            ast.parse(body)
            missing = {line.strip() for line in body.splitlines()} - lines
            assert not missing, name
    assert "\x1b" not in printed
    assert all(line == line.rstrip() for line in printed.splitlines() if "lake." in line)


def test_the_lake_holds_what_it_says(
    ran: tuple[Path, str], memories: dict[str, dict[str, Any]]
) -> None:
    folder, printed = ran
    assert len(memories) > 5000
    with lakebed.open(folder / "lakebed-demo") as lake:
        for key, memory in memories.items():
            assert key in lake
            if memory["metadata"]["package"] == "json":
                entry = lake.entry(key)
                assert entry is not None
                assert (entry.value, entry.metadata) == (memory["value"], memory["metadata"])
        stats = lake.stats()
        kept = lake.at("before")
        assert len(list(kept.list("asyncio."))) == len(list(lake.list("agents/ada/asyncio."))) > 200
        assert {snapshot.name.partition("-restore-")[0] for snapshot in lake.snapshots()} == {
            "before"
        }
        assert lake.diff("before", prefix="json.").summary().changed == 0  # it went back
        (undone,) = (found for found in lake.snapshots() if found.name != "before")
        assert "note" in lake.at(undone).retrieve("json.loads")
        assert "lessons/1" in lake.at(undone)
        assert "lessons/1" not in lake
        assert "scratch/1" not in lake  # it expired
        assert stats.expired == 0
    assert f"{len(memories):,} entries in" in printed
    assert f"entries                      {stats.entries:,}" in printed
    assert f"{stats.entry_bytes:,}" in printed
    assert stats.deduplicated_bytes > 50_000
    assert "4 differences undone" in printed
    assert "0 bytes of new contents" in printed


def test_tables_and_search(ran: tuple[Path, str]) -> None:
    folder, printed = ran
    flights = read_flights()
    assert flights is not None
    assert flights.num_rows == 336_776
    with lakebed.open(folder / "lakebed-demo") as lake:
        months = [lake[f"flights/2013-{month:02}"] for month in range(1, 13)]
        assert [set(table["month"].to_pylist()) for table in months] == [{n} for n in range(1, 13)]
        assert sum(table.num_rows for table in months) == 336_776
        row = next(row for row in calls.delays(lake).to_pylist() if row["carrier"] == "FL")
        assert f"FL            {row['flight_count']}" in printed
        hits = calls.search(lake)
        assert hits[0].key == "email._parseaddr.parsedate_tz"
        assert all(hit.key in printed for hit in hits)
        assert f"{len(hits)} of {hits.total:,} hits" in printed


def test_queries(ran: tuple[Path, str], memories: dict[str, dict[str, Any]]) -> None:
    folder, printed = ran
    examples = Counter[str]()
    functions = Counter[str]()
    for memory in memories.values():
        if memory["metadata"]["kind"] == "function":
            functions[memory["metadata"]["package"]] += 1
            examples[memory["metadata"]["package"]] += ">>>" in memory["value"]["doc"]
    best = sorted(examples, key=lambda package: (-examples[package], package))[:4]
    flights = read_flights()
    assert flights is not None
    with lakebed.open(folder / "lakebed-demo") as lake:
        expected = [(name, functions[name], examples[name]) for name in best]
        assert calls.ask(lake).fetchall() == expected
        found = calls.all_flights(lake).to_pyarrow().to_pylist()
        counts = Counter(flights["origin"].to_pylist())
        assert {row["origin"]: row["flights"] for row in found} == counts
    for name, *numbers in expected:
        assert [name, *(f"{n:,}" for n in numbers)] in [
            line.split() for line in printed.split("\n")
        ]
    assert all(f"{count:,}" in printed for count in counts.values())


def test_the_commands_to_try_next_work(ran: tuple[Path, str]) -> None:
    folder, printed = ran
    commands = printed.rstrip().splitlines()[-3:]
    printed_by = []
    for command in commands:
        # By its name where that finds it, else by its path from here.
        program = shlex.split(command)[0]
        assert program == "lakebed" or (folder / program).samefile(COMMAND)
        printed_by.append(
            subprocess.run(
                ["bash", "-c", command],  # as the user would paste it
                cwd=folder,
                env={"PATH": f"{Path(COMMAND).parent}:/usr/bin:/bin"},
                text=True,
                capture_output=True,
                check=True,
            ).stdout
        )
    assert "textwrap.dedent" in printed_by[0].split()
    assert json.loads(printed_by[1])["signature"] == "def dedent(text)"
    assert len(printed_by[2].splitlines()) == 5


def test_it_runs_again_in_place_of_itself(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First without Ibis, where it says what it skips. The lake that the environment names stays
    as it was."""
    cli("--lake", "mine", "put", "a", "1")
    monkeypatch.setenv("LAKEBED", "mine")
    with monkeypatch.context() as without:
        without.setattr(run, "find_spec", lambda _: None)
        printed = cli("demo", "here").stdout
    assert "skipped: it needs pip install 'lakebed[ibis]'" in printed
    assert "Done in" in printed
    with lakebed.open("here") as lake:
        lake.store("mine", 1)
    told = json.loads(cli("demo", "here", "--json").stdout)
    assert cli("ls").stdout == "a\n"
    assert {path.name for path in folder.iterdir()} == {"here", "mine"}
    with lakebed.open("here") as lake:
        assert "mine" not in lake
        assert told["stats"] == lake.stats()
    assert told["folder"] == "here"
    assert told["seconds"] > 0


def test_make_demo_installs_what_it_shows(tmp_path: Path) -> None:
    """The environment itself is built by whoever runs it: that takes a minute."""
    command = ["make", "--dry-run", f"VENV={tmp_path / 'environment'}", "demo"]
    told = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert "--editable '.[ibis]'" in told
    assert PACKAGE in told


def test_documentation_is_that_of_the_modules(memories: dict[str, dict[str, Any]]) -> None:
    for name in ("json", "textwrap", "shelve", "colorsys"):
        module = importlib.import_module(name)
        assert module.__doc__
        assert memories[name]["value"]["doc"].split() == module.__doc__.split()
    dedent = memories["textwrap.dedent"]
    assert dedent["metadata"] | {"line": 0} == {
        "package": "textwrap",
        "module": "textwrap",
        "file": "textwrap.py",
        "kind": "function",
        "line": 0,
        "public": True,
    }
    assert memories["json.encoder.JSONEncoder"]["value"]["signature"] == "class JSONEncoder(object)"
    assert memories["asyncio.tasks.wait"]["value"]["signature"].startswith("async def wait(fs, *")
    assert memories["json.encoder.JSONEncoder.default"]["metadata"]["kind"] == "method"
    assert memories["re"]["metadata"]["line"] == 1
    assert memories["_pyio.open"]["metadata"]["public"] is False
