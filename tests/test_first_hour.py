"""The first hour of three users: what they read, in a fresh environment, at a terminal.

The environment has what `pip install lakebed` and the extras that the page names install, and
nothing else. `make test` walks each page once, `make soak` from both archives and at both widths.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.packages import PROJECT, package, user_venv
from tests.pages import DATABASE, STORAGE, parse
from tests.servers import PostgresServer
from tests.sharing import made_once
from tests.terminal import run_at_terminal

WALKER = Path(__file__).with_name("walker.py")


class Walk(NamedTuple):
    page: str
    extras: str
    archive: str
    columns: int


EXTRAS = {
    "README.md": "pandas",
    "docs/guides/first-steps.md": "",
    "docs/guides/command-line.md": "",
    "docs/guides/agent-memory.md": "",
    "docs/guides/sql.md": "pandas",
    "docs/guides/twenty-agents.md": "postgres",
    "docs/guides/backup.md": "postgres",
}
TURNS = [("wheel", 80), ("sdist", 120), ("wheel", 120), ("sdist", 80)]
WALKS = [Walk(page, extras, *turn) for page, extras in EXTRAS.items() for turn in TURNS]
# Each page of the three users once. Pages with the same extras share an environment, which takes
# longer to make than the walk: from the sdist without any, from the wheel with them.
PAGES = ("README", "first-steps", "agent-memory", "sql", "twenty-agents")
ONCE = {
    walk for walk in WALKS
    if Path(walk.page).stem in PAGES and walk[2:] == TURNS[not walk.extras]
}  # fmt: skip


@pytest.fixture(scope="session")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Walk], Path]:
    """The python of a fresh environment for a walk; walks that need the same share it."""

    def make(walk: Walk) -> Path:
        archive, extras = package(built, walk.archive), walk.extras.split()
        folder = made_once(
            tmp_path_factory,
            "-".join(["venv", walk.archive, *extras]),
            lambda folder: user_venv(folder, archive, extras),
        )
        return folder / "bin" / "python"

    return make


@pytest.mark.parametrize(
    "walk", WALKS, ids=lambda walk: f"{walk.page}-{walk.archive}-{walk.columns}"
)
def test_first_hour(
    walk: Walk,
    environment: Callable[[Walk], Path],
    soak: bool,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if not soak and walk not in ONCE:
        pytest.skip("make soak walks all of them")
    text = (PROJECT / walk.page).read_text("utf-8").replace(STORAGE, str(tmp_path / "bucket"))
    python = environment(walk)
    path = [str(python.parent), "/usr/bin", "/bin"]
    if databases := {found["name"] for found in DATABASE.finditer(text)}:
        server: PostgresServer = request.getfixturevalue("postgres_18")
        urls = {name: server.url(server.create_database()) for name in sorted(databases)}
        text = DATABASE.sub(lambda found: urls[found["name"]], text)
        path.insert(1, str(server.binaries))
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    blocks = [
        (example.region.lexemes["language"], example.line, example.parsed)
        for example in parse(page)
        if example.region.evaluator is not None
    ]
    (tmp_path / "blocks.json").write_text(json.dumps(blocks))
    shutil.copy(WALKER, tmp_path)
    home = tmp_path / "home"
    home.mkdir()

    shown = run_at_terminal(
        f"cd ~ && python {tmp_path}/walker.py {tmp_path}/blocks.json",
        home,
        {"PATH": os.pathsep.join(path), "HOME": str(home), "LANG": "C.UTF-8"},
        columns=walk.columns,
    )

    assert shown.status == 0, shown.text
    assert shown.lines[-1] == "--- end"
    assert "Warning" not in shown.text


LISTINGS = (
    "lakebed ls --long",
    "lakebed history user/42/profile",
    "lakebed snapshot list",
    "lakebed search oolong",
)
PROFILE = """{"name": "Ada", "likes": "oolong, trains, chess, long walks in the rain, and lists"}"""
BEGINNING = f"""
lakebed put user/42/profile '{PROFILE}' --metadata '{PROFILE}' --ttl 30d
lakebed snapshot create monday --message 'before the agents of the morning begin their long work'
lakebed put user/42/profile '{PROFILE.replace("Ada", "Ada Lovelace")}'
"""


@pytest.mark.parametrize("columns", [80, 120])
def test_commands_at_a_terminal(
    columns: int, environment: Callable[[Walk], Path], tmp_path: Path
) -> None:
    """Listings fit its width, and a pipe between two commands of ours works."""
    python = environment(Walk("", "", "sdist", columns))
    variables = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    begun = run_at_terminal(f"set -e\n{BEGINNING}", tmp_path, variables, columns=columns)
    assert begun.status == 0, begun.text
    moved = "set -o pipefail; lakebed export | lakebed --lake copy import -"
    shown = run_at_terminal(moved, tmp_path, variables, columns=columns)
    assert shown.status == 0, shown.text
    assert "stored 1 entry: 1 new" in shown.text
    for command in LISTINGS:
        shown = run_at_terminal(command, tmp_path, variables, columns=columns)
        assert shown.status == 0, shown.text
        assert not shown.too_long(), command
