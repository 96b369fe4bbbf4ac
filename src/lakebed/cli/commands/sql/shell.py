"""A shell for queries, with history, completion, and statements over several lines."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lakebed.errors import LakebedError
from lakebed.lake.lake import Lake

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

_ENTRY = (
    "key version content_hash format byte_size inlined storage_uri metadata expires_at created_at "
    "updated_at"
)
TABLES: Mapping[str, str] = {
    "entries": _ENTRY,
    "documents": f"{_ENTRY} value",
    "history": f"{_ENTRY} end_version ended_at",
    "snapshots": "id name version message author created_at purged_at",
    "objects": "content_hash format byte_size inlined storage_uri created_at",
    "entries_at('snapshot')": _ENTRY,
    "changes('a', 'b')": (
        "key change before_content_hash before_byte_size before_metadata before_expires_at "
        "before_updated_at after_content_hash after_byte_size after_metadata after_expires_at "
        "after_updated_at"
    ),
    "search('question', 10)": "key score",
}
"""The tables of a lake and their columns, as `Lake.sql` documents them."""
_WORDS = (
    "SELECT FROM WHERE GROUP BY ORDER LIMIT JOIN USING ON AS AND OR NOT IN LIKE IS NULL DISTINCT "
    "HAVING UNION ALL WITH CASE WHEN THEN ELSE END count sum avg min max DESC EXPLAIN"
)
HELP = """\
A query ends with a semicolon. It can have several lines.
.tables   the tables and their columns
.help     this
.quit     leave; so does Ctrl-D. Ctrl-C drops what is typed, or ends a query."""


def run_shell(lake: Lake, answer: Callable[[str], None]) -> None:
    """Read queries until the end of input. `answer`: runs a query and prints its result.

    An error ends the query, not the shell.
    """
    session = _session()
    print(f"{lake.name}: type .help for help")
    while True:
        try:
            text = session.prompt("lakebed> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text in (".quit", ".exit"):
            return
        try:
            _run(text, answer)
        except LakebedError as error:
            from lakebed.cli.errors import report

            report(error, as_json=False)
        except KeyboardInterrupt:
            print("interrupted")


def _run(text: str, answer: Callable[[str], None]) -> None:
    if text == ".help":
        print(HELP)
    elif text == ".tables":
        for name, columns in TABLES.items():
            print(
                textwrap.fill(
                    ", ".join(columns.split()),
                    shutil.get_terminal_size().columns,
                    initial_indent=f"{name:<24}",
                    subsequent_indent=" " * 24,
                )
            )
    elif text.startswith("."):
        print(f"unknown command {text.split()[0]}: .help lists the commands")
    elif text.strip(";").strip():
        answer(text.rstrip(";"))


def _session() -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory

    columns = {column for names in TABLES.values() for column in names.split()}
    tables = {name.partition("(")[0] for name in TABLES}
    words = sorted({*tables, *columns, *_WORDS.split(), ".tables", ".help", ".quit"})
    return PromptSession(
        history=FileHistory(str(history_file())),
        completer=WordCompleter(words, ignore_case=True, WORD=False),
        complete_while_typing=False,
        multiline=True,
        prompt_continuation="    ...> ",
        key_bindings=_keys(),
    )


def history_file() -> Path:
    """Return the file with the history of queries. Only the user can read it."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    folder = Path(state).expanduser() / "lakebed"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sql_history"
    path.touch(mode=0o600)
    return path


def _keys() -> KeyBindings:
    """Return key bindings: Enter runs a complete query, and begins a new line otherwise."""
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def _enter(event: KeyPressEvent) -> None:
        text = event.current_buffer.text.strip()
        if not text or text.startswith(".") or text.endswith(";"):
            event.current_buffer.validate_and_handle()
        else:
            event.current_buffer.insert_text("\n")

    return keys
