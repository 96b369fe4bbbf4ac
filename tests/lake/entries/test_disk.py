"""A disk that is full, or that cannot be written."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import lakebed
from lakebed.errors import StorageError
from tests.disks import ROOT, mount


@ROOT
@pytest.mark.parametrize("inline", [True, False])
def test_full_disk(small_disk: Path, inline: bool) -> None:
    threshold = 10**9 if inline else 0
    with lakebed.open(small_disk / "lake", inline_threshold=threshold) as lake:
        acknowledged = {}
        with pytest.raises(StorageError, match="full") as caught:  # noqa: PT012 - which one is open
            for n in range(1000):
                lake.store(f"{n}", f"{n}" + "x" * 50_000)
                acknowledged[f"{n}"] = f"{n}" + "x" * 50_000
        assert caught.value.error_type == "storage_error"
        assert len(acknowledged) >= 5
        assert dict(lake) == acknowledged
        with pytest.raises(StorageError):
            lake.store("0", "y" * 2_000_000)
        assert lake["0"] == acknowledged["0"]
        with pytest.raises(StorageError):
            lake.store_batch([{"key": f"b{n}", "value": "z" * 60_000 + f"{n}"} for n in range(30)])
        tx = lake.transaction()
        for n in range(30):
            tx.store(f"t{n}", "z" * 60_000 + f"{n}")
        with pytest.raises(StorageError):
            tx.commit()
        assert dict(lake) == acknowledged
    with lakebed.open(small_disk / "lake") as lake:
        assert dict(lake) == acknowledged
        subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
        lake.store("later", "y" * 100_000)
        assert lake["later"] == "y" * 100_000


@pytest.mark.parametrize("left", range(6))
@pytest.mark.parametrize("batch", [False, True])
def test_all_file_handles_in_use(tmp_path: Path, left: int, batch: bool) -> None:
    """With any number of handles left a store works or fails, and leaves no half-written file."""
    code = """
import os, pathlib, resource, sys
import lakebed
from lakebed.errors import StorageError
left, batch = int(sys.argv[2]), sys.argv[3] == "True"
with lakebed.open(sys.argv[1]) as lake:
    lake["warm"] = "w" * 9000
    lake.store_batch([{"key": "warm too", "value": "W" * 9000}])
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for handle in held[:left]:
            os.close(handle)
    value = "x" * 9000
    try:
        if batch:
            lake.store_batch([{"key": "a", "value": value}, {"key": "b", "value": value + "b"}])
        else:
            lake["a"] = value
    except StorageError as error:
        print(error)
    for handle in held[left:]:
        os.close(handle)
    print(sorted(lake))
    assert not [path for path in pathlib.Path(sys.argv[1]).rglob("*.tmp")]
    assert all(len(value) >= 9000 for value in lake.values())
    lake["a"] = value
    assert not lake.verify().problems
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "lake", f"{left}", f"{batch}"],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    if left == 0:
        assert "Too many open files" in ran.stdout


@pytest.mark.parametrize("call", ["rename", "fsync", "open"])
def test_a_write_that_fails_at_any_call_leaves_no_half_of_it(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lake"
    with lakebed.open(folder) as lake:
        lake["before"] = "b" * 9000

        def fail(*_: object, **__: object) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        for number in range(3):
            with monkeypatch.context() as patched:
                patched.setattr(f"lakebed.objects.local.os.{call}", fail)
                with pytest.raises(StorageError, match="Too many open files"):
                    lake["a"] = f"{number}" * 9000
            assert not list(folder.rglob("*.tmp"))
        assert dict(lake) == {"before": "b" * 9000}


@ROOT
def test_no_room_for_a_new_lake(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * (1 << 20))
    with pytest.raises(StorageError):
        lakebed.open(small_disk / "lake")


def test_a_limit_on_file_sizes(tmp_path: Path) -> None:
    """The same without root: the system refuses to let a file grow."""
    code = """
import resource, signal, sys
import lakebed
from lakebed.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with lakebed.open(sys.argv[1], inline_threshold=100) as lake:
    lake.store("a", "old")
    lake.store("b", "old" * 1000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    for key, value in (("a", "x" * 300_000), ("b", "x" * 300_000)):
        try:
            lake.store(key, value)
        except StorageError as error:
            print(error)
    done = 0
    try:
        for done in range(10_000):
            lake.store("many", done)
    except StorageError as error:
        print(error)
    assert dict(lake) == {"a": "old", "b": "old" * 1000, "many": done - 1}, (done, dict(lake))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "lake"], capture_output=True, check=False, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 3, ran.stdout
    with lakebed.open(tmp_path / "lake") as lake:
        assert lake["b"] == "old" * 1000
        lake.store("a", "new" * 100_000)
        assert lake["a"] == "new" * 100_000


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A lake in a file system that is read-only."""
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store("a", 1)
        lake.store("large", "x" * 10_000)
    folder = tmp_path / "read-only"
    folder.mkdir()
    mount("--bind", tmp_path, folder)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@ROOT
def test_read_only_file_system(read_only: Path) -> None:
    with pytest.raises(StorageError, match=r"read-only|not writable"):
        lakebed.open(read_only / "new")
    with pytest.raises(StorageError, match=r"read-only|not writable"):
        lakebed.open(read_only / "lake")


@ROOT
def test_a_folder_of_somebody_else() -> None:
    """As an ordinary user, who may look but not write, or not even look."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with lakebed.open(folder / "lake") as lake:
            lake.store("a", 1)
            lake.store("large", "x" * 10_000)
        (folder / "private").mkdir(mode=0o700)
        folder.chmod(0o755)
        code = """
import os, sys
import lakebed
os.setgid(65534)
os.setuid(65534)
for name in ("lake", "new", "private/new"):
    try:
        with lakebed.open(f"{sys.argv[1]}/{name}") as lake:
            lake.store("b", 1)
        print("stored")
    except lakebed.errors.StorageError as error:
        print(error)
"""
        ran = subprocess.run(
            [sys.executable, "-c", code, name], capture_output=True, check=False, text=True
        )
        assert ran.returncode == 0, ran.stderr
        lake_, new, private = ran.stdout.splitlines()
        assert "not writable" in lake_ or "read-only" in lake_
        assert "Permission denied" in new
        assert "Permission denied" in private


@ROOT
def test_objects_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    with lakebed.open(folder) as lake:
        lake.store("large", "x" * 10_000)
        mount("-t", "tmpfs", "-o", "ro", "tmpfs", folder / "objects")
        try:
            with pytest.raises(StorageError, match="read-only"):
                lake.store("large", "y" * 10_000)
            lake.store("small", 1)
        finally:
            subprocess.run(["umount", folder / "objects"], check=True)
        assert lake["large"] == "x" * 10_000
        lake.store("large", "y" * 10_000)
        assert lake["large"] == "y" * 10_000
