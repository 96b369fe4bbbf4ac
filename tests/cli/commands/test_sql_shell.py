"""sql without a query: a shell, in a terminal of its own."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lakebed
from lakebed.cli.commands.sql.shell import TABLES

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")


class Terminal:
    """A command in a pseudo-terminal of 80 columns; what it prints, without escape sequences."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        environment = {
            **os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24",
            "XDG_STATE_HOME": str(folder / "state"), "PROMPT_TOOLKIT_NO_CPR": "1",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from lakebed.cli import main; main()", *arguments],
            stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment,
        )  # fmt: skip
        os.close(slave)
        self.said = ""

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self.master, text.encode() + b"\r")

    def wait_for(self, words: str) -> str:
        """What was printed up to these words, since they were waited for last."""
        deadline = time.monotonic() + 60
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            if select.select([self.master], [], [], 1)[0]:
                data = os.read(self.master, 65536).decode(errors="replace")
                self.said += _ESCAPES.sub("", data)
        before, _, self.said = self.said.partition(words)
        return before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def shell(folder: Path) -> Iterator[Terminal]:
    with lakebed.open("lakebed") as lake:
        lake.store("user/1", {"name": "Ada"}, {"topic": "people"})
        lake.store("user/2", "x" * 300)
    terminal = Terminal(folder, "sql")
    try:
        terminal.wait_for("lakebed>")
        yield terminal
    finally:
        terminal.close()


def test_queries_errors_and_the_end(shell: Terminal, folder: Path) -> None:
    shell.type("SELECT key, byte_size")
    shell.type("FROM entries WHERE key = 'user/1';")
    answer = shell.wait_for("user/1 ")
    assert "byte_size" in answer
    shell.type("SELECT nothing FROM entries;")
    shell.wait_for("nothing")
    shell.wait_for("LINE 1")
    shell.type("SELECT key, value FROM documents;")  # wider than the terminal
    shell.wait_for("row 1")
    shell.wait_for("x" * 70)
    shell.type(".tables")
    tables = shell.wait_for("entries_at('snapshot')")
    assert "\n                        storage_uri, " in tables.replace(
        "\r", ""
    )  # no word is broken
    shell.type(".quit")
    assert shell.process.wait(30) == 0
    history = (folder / "state" / "lakebed" / "sql_history").read_text()
    assert "+FROM entries WHERE key = 'user/1';" in history


def test_it_knows_the_columns() -> None:
    from lakebed.cli.commands.sql.shell import TABLES

    with lakebed.open(":memory:", history="all") as lake:
        lake.store("a", 1)
        lake.create_snapshot("a")
        lake.create_snapshot("b")
        lake.create_snapshot("snapshot")
        for table, columns in TABLES.items():
            found = lake.sql(f"SELECT * FROM {table}").columns  # noqa: S608
            assert set(columns.split()) <= set(found), table


@pytest.mark.parametrize("table", TABLES)
def test_tables_names_all_columns(tmp_path: Path, table: str) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store("k", "a question")
        for name in ("a", "b", "snapshot"):
            lake.create_snapshot(name)
        found = lake.sql(f"FROM {table}").arrow()
        assert found.schema.names == TABLES[table].split()
