"""The installed command as a process: pipes, interrupts, terminals, completion, start-up."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from rich.cells import cell_len

import lakebed
from lakebed.lake.upkeep.turns import take_turn

COMMAND = str(Path(sys.executable).with_name("lakebed"))
INTERRUPT = "\x03"


@pytest.fixture
def forked(forked_command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what many commands say, which need not all start anew."""
    monkeypatch.setattr(sys.modules[__name__], "COMMAND", str(forked_command / "lakebed"))


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([COMMAND, *arguments], input=stdin, capture_output=True, check=False)


def heed_interrupts() -> None:
    """In a child: SIGINT as a shell's user has it. A run in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def terminal(*arguments: str, typed: str = "", code: int = 0, columns: int = 100) -> str:
    """Run a command in a terminal of its own, and give all that it showed.

    `typed` is typed when it asks.
    """
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(columns))
        os.environ.pop("NO_COLOR", None)
        heed_interrupts()
        os.execv(COMMAND, [COMMAND, *arguments])  # noqa: S606
    shown, asked, deadline = b"", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            if asked and typed == INTERRUPT and b"interrupted" not in shown:
                # The first came before Python began to wait for an answer, which it then does all
                # the same: press the keys again, as anybody would.
                os.write(terminal, typed.encode())
            continue
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
        if typed and not asked and b"[y/N]" in shown:
            os.write(terminal, typed.encode())
            asked = True
    else:
        os.kill(process, signal.SIGKILL)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == code, shown.decode()
    return shown.decode()


def plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r\n", "\n")


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("columns", [80, 120])
def test_lines_fit_a_terminal(columns: int) -> None:
    keys = [
        "short",
        "user/42/conversation/2026-11-29/turn/000017",
        "user/茶茶茶茶茶茶茶茶茶茶茶茶茶",
    ]
    with lakebed.open("lakebed", history="all") as lake:
        for key in keys:
            lake.store(key, "x" * len(key), {"source": "chat", "speaker": "Ada" * 20}, ttl="3h")
        lake.store("short", "y" * 5000)
        lake.store("plain", 1)
    listed = plain(terminal("ls", "--long", columns=columns)).splitlines()
    kept = plain(terminal("history", "short", columns=columns)).splitlines()
    for lines in (listed, kept):
        assert len(lines) > 1
        assert all(cell_len(line) <= columns for line in lines)
    column = {cell_len(line[: line.index("{")]) for line in listed}
    assert len(column) == 1, "metadata stand below each other"
    assert any("turn/000017 " in line for line in listed)  # the end of a key tells more
    assert all(line.rstrip().endswith(("…", "{}")) for line in listed)
    assert ("sha256:" in kept[0]) is (columns == 120)
    piped = run("ls", "--long").stdout.decode()
    assert all(key in piped for key in keys)
    assert "Ada" * 20 in piped


def test_round_trip() -> None:
    assert run("put", "a", "-", stdin="ü".encode()).stdout == b"created a (4 bytes)\n"
    ran = run("get", "a")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, '"ü"\n'.encode(), b"")
    ran = run("get", "b")
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert ran.stderr == b"lakebed: no entry with the key 'b' (`lakebed ls` lists the keys)\n"
    assert run("get").returncode == 2
    assert run("put", b"\xff".decode(errors="surrogateescape"), "v").returncode == 2


def test_integers_of_any_size() -> None:
    digits = "7" * 10_000
    assert run("put", "a", digits).returncode == 0
    assert run("get", "a").stdout.decode() == f"{digits}\n"


def test_output_is_utf_8_whatever_the_locale() -> None:
    run("put", "é", '"é"')
    for locale in ("C", "POSIX"):
        ran = subprocess.run(
            [COMMAND, "ls"], env={**os.environ, "LC_ALL": locale}, capture_output=True, check=True
        )
        assert ran.stdout == "é\n".encode()


def test_a_reader_that_goes_away() -> None:
    with lakebed.open("lakebed") as lake:
        lake.store_batch({"key": f"{n:0200}", "value": n} for n in range(5000))
    for arguments in (["ls"], ["ls", "--json"], ["export"], ["ls", "--long"]):
        ran = subprocess.run(
            ["bash", "-c", f"{COMMAND} {' '.join(arguments)} | head -c 1; echo ${{PIPESTATUS[0]}}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout[1:] == "141\n"
        assert ran.stderr == ""


def test_interrupted() -> None:
    with subprocess.Popen(
        [COMMAND, "import", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b'{"key": "a", "value": 1}\n')
        process.stdin.flush()
        while not Path("lakebed/catalog.db").exists():
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == b"lakebed: interrupted\n"


@pytest.mark.usefixtures("forked")
def test_on_a_terminal_json_is_indented_and_in_colour() -> None:
    run("put", "a", '{"b": [1, "x\\u009by"]}')
    shown = terminal("get", "a")
    assert "\x1b[" in shown
    assert "\x9b" not in shown
    assert [line.rstrip() for line in plain(shown).splitlines()] == [
        "{",
        '  "b": [',
        "    1,",
        '    "x\\u009by"',
        "  ]",
        "}",
    ]
    run("put", "large", "-", stdin=b"x" * 200_000)
    assert len(plain(terminal("get", "large")).strip()) == 200_002


@pytest.mark.usefixtures("forked")
def test_bytes_stay_away_from_a_terminal() -> None:
    run("put", "a", "-", "--bytes", stdin=b"\x1b[31m")
    assert "may disturb a terminal" in terminal("get", "a", code=2)
    assert "5 bytes" in terminal("get", "a", code=2)


@pytest.mark.usefixtures("forked")
def test_progress_on_a_terminal() -> None:
    Path("f.ndjson").write_text("".join(f'{{"key":"{n}","value":1}}\n' for n in range(5_000)))
    shown = plain(terminal("import", "f.ndjson"))
    assert "Importing f.ndjson" in shown
    assert "stored 5,000 entries" in shown
    assert "Exporting" in plain(terminal("export", "--output", "out"))
    run("import", "-", stdin=b'{"key": "gone", "value": 1, "expires_at": "2001-01-01T00:00:00Z"}')
    assert "removed 1 expired entry" in plain(terminal("cleanup-expired", "--yes"))
    Path("f.csv").write_text("id\na\n")
    assert "stored 1 entry" in plain(terminal("import", "f.csv", "--key", "id"))


def test_restore_asks_on_a_terminal() -> None:
    run("put", "a", "1")
    run("snapshot", "create", "then")
    run("put", "a", "2")
    shown = plain(terminal("restore", "then", typed="n\n"))
    assert "~ a  content" in shown
    assert "Make these changes?" in shown
    assert "nothing was changed" in shown
    assert run("get", "a").stdout == b"2\n"
    assert "restored then" in plain(terminal("restore", "then", typed="y\n"))
    assert run("get", "a").stdout == b"1\n"
    assert "interrupted" in plain(terminal("restore", "then", typed=INTERRUPT, code=130))


@pytest.mark.usefixtures("forked")
def test_purge_asks_on_a_terminal() -> None:
    run("put", "a", "1")
    assert "nothing was changed" in plain(terminal("purge", "a", typed="n\n"))
    shown = plain(terminal("purge", "a", typed="y\n"))
    assert "Erase a for good, in every snapshot as well?" in shown
    assert "forgot 1 entry" in shown
    assert run("get", "a").returncode == 1


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("command", ["cleanup-expired", "collect", "maintain"])
def test_what_deletes_asks_on_a_terminal(command: str) -> None:
    run("import", "-", stdin=b'{"key": "gone", "value": 1, "expires_at": "2001-01-01T00:00:00Z"}')
    shown = plain(terminal(command, typed="n\n"))
    assert "for good? [y/N]" in shown
    assert "nothing was changed" in shown
    assert b"would remove 1 " in run("cleanup-expired", "--dry-run").stdout
    assert "nothing was changed" not in plain(terminal(command, typed="y\n"))
    assert "[y/N]" not in plain(terminal(command, "--yes"))
    assert "[y/N]" not in plain(terminal(command, "--dry-run"))
    assert run(command).returncode == 0  # a cron job is not asked


def complete(words: str, number: int, environment: dict[str, str] | None = None) -> list[str]:
    ran = subprocess.run(
        [COMMAND],
        env={
            **os.environ,
            **(environment or {}),
            "_LAKEBED_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(number),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    return ran.stdout.split()


@pytest.mark.usefixtures("forked")
def test_completion() -> None:
    assert complete("lakebed get us", 2) == []  # no lake: nothing to offer, nothing made
    assert not Path("lakebed").exists()
    for key in ("user/1", "user/2", "other"):
        run("put", key, "1")
        run("--lake", "second", "put", f"second/{key}", "1")
    run("snapshot", "create", "monday")
    assert complete("lakebed sna", 1) == ["snapshot"]
    assert complete("lakebed get us", 2) == ["user/1", "user/2"]
    assert complete("lakebed rm user/1 o", 3) == ["other"]
    assert complete("lakebed --lake second get s", 4) == [
        "second/other",
        "second/user/1",
        "second/user/2",
    ]
    assert len(complete("lakebed get s", 2, {"LAKEBED": "second"})) == 3
    assert complete("lakebed diff m", 2) == ["monday"]
    assert complete("lakebed get a --at mo", 4) == ["monday"]


@pytest.mark.parametrize("arguments", [["--help"], ["get", "a"]])
def test_a_short_command_loads_nothing_heavy(arguments: list[str]) -> None:
    run("put", "a", "1")
    code = (
        "import sys, lakebed.cli\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "try:\n    lakebed.cli.main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.splitlines()[-1].split())
    assert "typer" in loaded
    heavy = {"duckdb", "ibis", "numpy", "pandas", "pyarrow", "deepdiff", "pygments"}
    assert loaded & heavy == set()


def test_exit_codes_and_output_once_arrow_is_loaded() -> None:
    with lakebed.open("lakebed") as lake:
        lake["t"] = pa.table({"n": [1, 2]})
    for _ in range(10):  # Arrow's threads used to abort some processes as they ended
        ran = run("get", "t")
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b'[\n{"n": 1},\n{"n": 2}\n]\n', b"")
    Path("bad.parquet").write_bytes(b"bad")
    ran = run("import", "bad.parquet", "--key", "n")
    assert ran.returncode == 2
    assert ran.stderr.startswith(b"lakebed: not a Parquet file")


def test_upkeep_as_a_service() -> None:
    with lakebed.open("lakebed") as lake:
        lake.store("brief", 1, ttl=0.001)
    with subprocess.Popen(
        [COMMAND, "maintain", "--every", "0.1s", "--yes", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        assert (first["expired"], second["expired"], second["finished"]) == (1, 0, True)
        assert first["at"] < second["at"]
        Path("lakebed").rename("away")  # a disk that is not there for a while
        error = json.loads(process.stderr.readline())
        assert error["error"].startswith("no lake at lakebed")
        Path("away").rename("lakebed")
        while json.loads(process.stdout.readline())["at"] < first["at"]:
            continue
        with lakebed.open("lakebed") as lake:
            until = time.monotonic() + 60
            while (turn := take_turn(lake._catalog, 0)) is None:
                assert time.monotonic() < until
            with turn:  # another service is at it
                while "left_to" not in (line := json.loads(process.stdout.readline())):
                    continue
                assert line["left_to"].endswith(f"process {os.getpid()}")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    refused = run("maintain", "--every", "soon", "--yes")
    assert refused.returncode == 2
    assert b"1h30m" in refused.stderr
    assert run("maintain", "--every", "0", "--yes").returncode == 2
