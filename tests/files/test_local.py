"""Files in a folder: on the disk when the call returns, beside files of others, never outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lakebed.errors import ConflictError, CorruptionError, NotFoundError, ValidationError
from lakebed.files import Files, create_blob_storage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def files(root: Path) -> Files:
    return create_blob_storage("local", root=root).files


def about(root: Path) -> list[Path]:
    """The files in which it is kept what is known about others."""
    return [path for path in (root / ".lakebed/about").rglob("*") if path.is_file()]


def test_files_lie_under_their_own_names(files: Files, root: Path) -> None:
    files.upload("a/b.txt", "x")
    assert (root / "a/b.txt").read_bytes() == b"x"
    assert {path.name for path in root.iterdir()} == {"a", ".lakebed"}
    files.delete("a/b.txt")
    assert {path.name for path in root.iterdir()} == {".lakebed"}
    assert about(root) == []


def test_opening_and_reading_creates_nothing(files: Files, root: Path) -> None:
    assert not files.exists("a")
    assert files.list().files == []
    assert not files.delete("a")
    assert files.cleanup(0).aborted == 0
    assert not root.exists()


def test_one_record_a_file_is_kept(files: Files, root: Path) -> None:
    for number in range(5):
        files.upload("a", str(number), metadata={"n": str(number)})
        files.move("a", "b")
        files.copy("b", "c")
    assert len(about(root)) == 2
    assert files.info("c").metadata == {"n": "4"}
    assert not list((root / ".lakebed/uploads").iterdir())


def test_writes_reach_the_disk_before_they_are_named(
    files: Files, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.upload("a/first", "x")
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def shown(path: str) -> str:
        name = os.path.relpath(path, root)
        return name if not name.startswith(".lakebed") else name.split("/")[1]

    def spy_fsync(handle: int) -> None:
        steps.append(f"fsync {shown(str(Path(f'/proc/self/fd/{handle}').readlink()))}")
        fsync(handle)

    def spy_rename(source: str, target: str) -> None:
        steps.append(f"rename {shown(source)} to {shown(target)}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "rename", spy_rename)
    files.upload("a/b", "x")
    assert steps[0] == "fsync uploads"
    assert steps[-2:] == ["rename uploads to a/b", "fsync a"]
    assert set(steps[1:-2]) == {"fsync about", "rename about to about"}


def test_files_of_other_programs(files: Files, root: Path) -> None:
    (root / "in").mkdir(parents=True)
    (root / "in/put.csv").write_text("a,b")
    info, content = files.fetch("in/put.csv")
    assert (content, info.content_type, info.metadata) == (b"a,b", "text/csv", {})
    assert [file.path for file in files.list().files] == ["in/put.csv"]
    files.upload("in/put.csv", "c,d", if_match=info.etag, metadata={"k": "v"})
    with pytest.raises(ConflictError):
        files.upload("in/put.csv", "e,f", if_match=info.etag)
    (root / "in/put.csv").write_text("of others")  # what was known is about other bytes
    info, content = files.fetch("in/put.csv")
    assert (content, info.metadata) == (b"of others", {})
    files.copy("in/put.csv", "copy")
    files.move("in/put.csv", "moved")
    assert files.download("copy") == files.download("moved") == b"of others"
    assert files.info("moved").content_type == "application/octet-stream"


def test_names_that_are_no_text_are_left_out(files: Files, root: Path) -> None:
    files.upload("a", "x")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff")).write_bytes(b"x")
    assert [file.path for file in files.list().files] == ["a"]


def test_damaged_bytes_are_noticed(files: Files, root: Path) -> None:
    files.upload("a", "content")
    status = (root / "a").stat()
    (root / "a").write_text("cOntent")
    os.utime(root / "a", ns=(status.st_mtime_ns, status.st_mtime_ns))
    with pytest.raises(CorruptionError, match="differs from what was written"):
        files.download("a")


def test_links_lead_nowhere(files: Files, root: Path, tmp_path: Path) -> None:
    files.upload("there", "x")
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path / "outside")
    assert [file.path for file in files.list().files] == ["there"]
    with pytest.raises(NotFoundError):
        files.download("link")
    assert not files.delete("link")
    for call in (
        lambda: files.download("folder/a"),
        lambda: files.upload("folder/a", "x"),
        lambda: files.move("there", "folder/a"),
        lambda: files.delete("folder/a"),
    ):
        with pytest.raises(ValidationError, match="through a link"):
            call()
    assert list((tmp_path / "outside").iterdir()) == []
    files.upload("link", "new")  # takes the place of the link
    assert (tmp_path / "secret").read_text() == "s3cret"


def test_a_file_is_no_folder(files: Files) -> None:
    files.upload("a/b", "x")
    for call in (
        lambda: files.upload("a", "y"),
        lambda: files.move("a/b", "a"),
        lambda: files.upload("a/b/c", "y"),
        lambda: files.copy("a/b", "a/b/c"),
    ):
        with pytest.raises(ConflictError, match="folder"):
            call()
    assert [file.path for file in files.list().files] == ["a/b"]
    assert files.cleanup(0).aborted == 0


def test_rules_are_applied_by_cleaning_up(files: Files, root: Path) -> None:
    files.set_lifecycle([{"prefix": "logs/", "expire_days": 2}])
    for name in ("logs/old", "logs/new", "old"):
        files.upload(name, "x")
    for name in ("logs/old", "old"):
        os.utime(root / name, (1_000_000, 1_000_000))
    assert files.exists("logs/old")
    assert files.cleanup().expired == 1
    assert [file.path for file in files.list().files] == ["logs/new", "old"]


def test_what_is_known_about_nothing_is_tidied(files: Files, root: Path) -> None:
    """A writer that is killed between its last two steps leaves a record of bytes that are gone."""
    files.upload("a", "x")
    (root / "a").unlink()
    files.upload("b", "x")
    assert len(about(root)) == 2
    files.cleanup(3600)
    assert len(about(root)) == 2  # it may be about bytes that come now
    files.cleanup(0)
    assert len(about(root)) == 1
    assert files.download("b") == b"x"


def test_no_etag_comes_twice(files: Files, root: Path) -> None:
    """Not even if the clock goes back."""
    first = files.upload("a", "x").etag
    ahead = (root / "a").stat().st_mtime_ns + 3600 * 10**9
    os.utime(root / "a", ns=(ahead, ahead))
    files.upload("a", "y")
    assert (root / "a").stat().st_mtime_ns == ahead + 1
    assert files.info("a").etag != first
