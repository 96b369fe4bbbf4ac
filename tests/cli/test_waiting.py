"""What does not answer is named after three seconds, and waited for no longer than one wants."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lakebed
from tests.servers import free_port
from tests.waiting import PATIENCE

LARGE = "x" * 10_000


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken, and never answered."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(100)
        yield server.getsockname()[1]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from lakebed.cli import main; main()", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
    )  # fmt: skip


def configure(folder: Path, port: int) -> None:
    (folder / "lakebed.yaml").write_text(
        "backend: duckdb\ncatalog: {type: sqlite, path: names.db}\n"
        f"storage: {{uri: 's3://b/x', endpoint_url: 'http://127.0.0.1:{port}', region: r-1}}\n"
    )


@pytest.mark.parametrize("silent", [True, False])
def test_a_bucket_that_does_not_answer(tmp_path: Path, silent_port: int, silent: bool) -> None:
    configure(tmp_path, silent_port if silent else free_port())
    done = run(tmp_path, "--timeout", "5", "put", "x", LARGE)
    assert done.returncode == 2
    assert "trying for" in done.stderr, done.stderr
    assert "s3://b/x/objects/" in done.stderr
    assert "tried for 5 s" in done.stderr


def test_a_database_that_does_not_answer(tmp_path: Path, silent_port: int) -> None:
    url = f"postgresql://ada:secret@127.0.0.1:{silent_port}/names"
    done = run(tmp_path, "--timeout", "5", "--lake", url, "ls")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[-2] == (f"lakebed: no answer from postgresql://127.0.0.1:{silent_port}/names yet")
    assert "secret" not in done.stderr
    assert "connection timeout expired" in lines[-1]


def test_a_replica_that_does_not_answer(tmp_path: Path, silent_port: int) -> None:
    (tmp_path / "lakebed.yaml").write_text(
        "backend: litestream\npath: names.db\nreplica: s3://b/x\n"
        f"endpoint_url: http://127.0.0.1:{silent_port}\nregion: r-1\n"
    )
    done = run(tmp_path, "--timeout", "5", "init")
    assert done.returncode == 2
    assert "no fence of the replica s3://b/x yet, which another node may hold" in done.stderr
    assert "the service does not answer, tried for 5 s: timeout: no answer" in done.stderr


def test_doctor_takes_ten_seconds_for_a_check(tmp_path: Path, silent_port: int) -> None:
    configure(tmp_path, silent_port)
    done = run(tmp_path, "doctor")
    assert done.returncode == 2
    assert "!! storage" in done.stdout
    (tried,) = re.findall(r"the service does not answer, tried for (\d+) s", done.stdout)
    assert int(tried) <= 10


def test_a_lake_that_answers_says_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "--timeout", "1", "put", "x", LARGE)
    assert (done.returncode, done.stderr) == (0, "")
    with lakebed.open(tmp_path / "lakebed") as lake:
        assert lake["x"] == LARGE


def test_config_check_names_a_package_that_is_missing(tmp_path: Path) -> None:
    configure(tmp_path, 1)
    (tmp_path / "pg.yaml").write_text("backend: postgres\nurl: postgresql://localhost/names\n")
    code = (
        "import importlib.util as u, lakebed.config.extras as e\n"
        "real = u.find_spec\n"
        "e.find_spec = lambda name: None if name in ('s3fs', 'psycopg_pool') else real(name)\n"
        "from lakebed.cli.app import app\n"
        "app(prog_name='lakebed')\n"
    )
    for file, told in (
        ("lakebed.yaml", "lakebed.yaml: storage needs a package: pip install 'lakebed[s3]'"),
        ("pg.yaml", "pg.yaml: catalog needs a package: pip install 'lakebed[postgres]'"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, "config", "check", file],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr.strip() == told
