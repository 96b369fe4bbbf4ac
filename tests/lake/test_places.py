"""Whatever a place is called, nothing is replaced or deleted there that is not the lake's own."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from pathlib import Path

import pytest

import lakebed
from lakebed.errors import ConfigurationError, ConflictError, LakebedError
from lakebed.objects.opening import open_store, parse_place
from lakebed.objects.places import Site, local_path
from tests.lake.share.test_publishing import TABLE, local

PLACES = 10_000, 100  # under soak, and else
OLD = 1_000_000_000  # seconds: long ago enough for every grace
Canaries = dict[str, str]


def hashes(root: Path) -> Canaries:
    """Every file and link under a folder, by its path."""
    found: Canaries = {}
    for folder, names, files in os.walk(root):
        for name in (*files, *names):
            path = Path(folder) / name
            if path.is_symlink():
                found[str(path.relative_to(root))] = f"link to {path.readlink()}"
            elif path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path.relative_to(root))] = digest
    return found


def age(folder: Path) -> None:
    """Let everything under a folder be old."""
    for path in folder.rglob("*"):
        os.utime(path, (OLD, OLD), follow_symlinks=False)


def make_lake(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        lake["a"], lake["t"], lake["large"] = 1, TABLE, "x" * 9000
        lake.store_batch({"key": f"p{n}", "value": f"{n}" * 9000} for n in range(3))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A lake, and around it what belongs to others, all of it old."""
    root = tmp_path / "tree"
    make_lake(root / "lake")
    make_lake(root / "x-tables")  # another lake where the tables of x would lie
    make_lake(root / "other")
    shutil.copytree(root / "other", root / "y-tables" / "20200101T000000Z-00000000")
    (root / "papers").mkdir()
    (root / "papers" / "thesis.txt").write_text("years of work")
    (root / "papers" / "entries.parquet").write_text("no publication")
    (root / "empty").mkdir()
    with lakebed.open(root / "other") as other:
        other.publish(root / "theirs")
    (root / "kept").mkdir()
    shutil.copy(root / "theirs" / "entries.parquet", root / "kept")  # as a backup
    for name, target in {
        "link": "lake", "to-papers": "papers", "to-objects": "lake/objects", "loop": "loop",
        "z-tables": "papers", "to-empty": "empty", "up": "..",
    }.items():  # fmt: skip
        (root / name).symlink_to(target)
    age(root)
    return root


def test_a_lake_beside_is_left_alone(tree: Path) -> None:
    before = hashes(tree)
    with lakebed.open(tree / "lake") as lake:
        with pytest.raises(ConflictError, match=r"x-tables.*holds 'catalog.db'"):
            lake.publish(tree / "x")
        with pytest.raises(ConflictError, match=r"y-tables.*does not belong to a publication"):
            lake.publish(tree / "y")
        with pytest.raises(ConflictError, match="z-tables"):
            lake.publish(tree / "z")
        with pytest.raises(ConflictError, match="does not belong to a publication at this place"):
            lake.publish(tree / "kept")
        with pytest.raises(ConflictError, match=r"papers.*does not belong to a publication"):
            lake.publish(tree / "papers")
        assert not lake.snapshots()
    assert hashes(tree) == before


@pytest.mark.parametrize(
    "form",
    [
        "{tree}/link", "{tree}/link/published", "{tree}/papers/../lake", "{tree}/link/packs/new",
        "local://{tree}/lake/p", "file://{tree}/link/p", "file:{tree}/lake/p",
        "file://{tree}/l%61ke", "simplecache::file://{tree}/lake/p", "{tree}", "{tree}/up",
        "filecache::local://{tree}/link", "dir://lake::file://{tree}", "dir://p::file://{tree}/link",
        "simplecache::dir://lake::file://{tree}", "local:{tree}/up/tree/link/x",
    ],
)  # fmt: skip
def test_the_lake_itself_in_disguise(tree: Path, form: str) -> None:
    before = hashes(tree)
    refused = pytest.raises(ConfigurationError, match="overlap")
    with lakebed.open(tree / "lake") as lake, refused:
        lake.publish(form.format(tree=tree))
    assert hashes(tree) == before


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "abfs"])
def test_credentials_in_the_uri_of_a_bucket(scheme: str) -> None:
    with pytest.raises(ConfigurationError, match="must not contain credentials") as refused:
        lakebed.open(catalog="sqlite://", storage=f"{scheme}://user:passw0rd@bucket/prefix")
    assert "passw0rd" not in str(refused.value)


def test_an_address_of_libpq_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="where must be a folder") as refused:
        lakebed.open("host=db.example.org password=passw0rd")
    assert "passw0rd" not in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", ["data:x", "dir::x", "simplecache::/tmp/x", "s3:bucket", "memory:x", "a/b://c", "://x"]
)
def test_what_is_neither_path_nor_uri(
    text: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(tree)
    monkeypatch.chdir(tree)
    with (
        lakebed.open("lake") as lake,
        pytest.raises(ConfigurationError, match="neither a path nor"),
    ):
        lake.publish(text)
    with pytest.raises(ConfigurationError, match="neither a path nor"):
        lakebed.open(catalog="sqlite://", storage=text)
    with pytest.raises(ConfigurationError):
        lakebed.open(text)
    assert hashes(tree) == before


def test_what_cannot_be_resolved(tree: Path) -> None:
    with lakebed.open(tree / "lake") as lake:
        with pytest.raises(ConfigurationError, match="cycle"):
            lake.publish(tree / "loop")
        for uri in ("s3://bucket/a/../b", "memory://x/./y", "memory://x/.."):
            with pytest.raises(ConfigurationError, match=r"'\.' or '\.\.'"):
                lake.publish(uri)
        for uri in (f"zip://a::file://{tree}/new.zip", "data://x", "reference://x"):
            with pytest.raises((LakebedError, OSError)):
                lake.publish(uri)


def test_other_names_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They name it, not a folder called so."""
    monkeypatch.chdir(tmp_path)
    make_lake(tmp_path / "lake")
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    (tmp_path / "real").mkdir()
    with lakebed.open("lake") as lake:
        for form in (
            "{}/p",
            "file:{}/p",
            "file://{}/p",
            "local://{}/p",
            "simplecache::file://{}/p",
        ):
            report = lake.publish(form.format(tmp_path))
            assert local(report.uri) == tmp_path / "p"
        assert lake.publish("real/../q").entries == len(lake)
        lake.publish("link/inner")
        assert (tmp_path / "real" / "inner" / "entries.parquet").exists()
        lake.publish("./data:x")
        lake.publish("a:b")
    assert {path.name for path in tmp_path.iterdir()} == {
        "lake", "link", "real", "p", "p-tables", "q", "q-tables", "data:x", "data:x-tables",
        "a:b", "a:b-tables",
    }  # fmt: skip
    with lakebed.open(f"file:{tmp_path}/lake") as lake:
        assert lake["a"] == 1
    with lakebed.open(catalog="sqlite:///c.db", storage=f"file:{tmp_path}/storage") as lake:
        lake["large"] = "x" * 9000
    assert (tmp_path / "storage" / "objects").is_dir()


def test_changed_publications_are_not_replaced(tree: Path) -> None:
    with lakebed.open(tree / "lake") as lake:
        report = lake.publish(tree / "p")
        entries = tree / "p" / "entries.parquet"
        whole = entries.read_bytes()
        entries.write_bytes(whole.replace(b"user", b"USER") + whole)
        with pytest.raises(ConflictError, match="was changed"):
            lake.publish(tree / "p")
        entries.write_bytes(whole)
        lake.publish(tree / "p")
        (tree / "p-tables" / "notes.txt").touch()
        with pytest.raises(ConflictError, match=r"'notes\.txt'"):
            lake.publish(tree / "p")
        (tree / "p-tables" / "notes.txt").unlink()
        assert report.tables_uri is not None
        mine = local(report.tables_uri) / f"{'0' * 64}.parquet"
        mine.write_text("by hand, named as a copy is")
        for _ in range(2):
            lake.publish(tree / "p")
        age(tree / "p-tables")
        lake.publish(tree / "p")
        assert mine.read_text() == "by hand, named as a copy is"
        assert len(list(mine.parent.glob("*.parquet"))) == 1


def test_orphans_are_not_looked_for_behind_a_link(tree: Path) -> None:
    """Another lake's objects behind a link are no orphans of this one."""
    with lakebed.open(tree / "new") as lake:
        lake["a"] = 1
    (tree / "new" / "objects").symlink_to(tree / "other" / "objects")
    (tree / "new" / "packs").symlink_to(tree / "other" / "packs")
    before = hashes(tree / "other")
    with lakebed.open(tree / "new") as lake:
        assert lake.collect(0, 0, orphans=True).orphans == 0
    assert hashes(tree / "other") == before
    with lakebed.open(tree / "link") as lake:  # a lake behind a link is this lake
        (tree / "lake" / "packs" / "left.parquet").touch()
        os.utime(tree / "lake" / "packs" / "left.parquet", (OLD, OLD))
        assert lake.collect(0, orphans=True).orphans == 1
        assert lake["large"] == "x" * 9000


def test_a_catalog_that_names_what_is_outside(tree: Path) -> None:
    """A damaged or forged row deletes and reads nothing outside of the storage."""
    before = hashes(tree / "papers")
    with lakebed.open(tree / "lake") as lake:
        lake._catalog.add_trash(["../papers/thesis.txt", "objects/../../papers/thesis.txt"])
        with pytest.raises(LakebedError, match="outside the storage"):
            lake.collect(0)
        forged = "UPDATE object SET uri = '../papers/thesis.txt' WHERE format = 'parquet'"
        lake._catalog._executor.transact(lambda tx: tx.run(forged, {}))  # type: ignore[attr-defined]
        with pytest.raises(LakebedError, match="outside the storage"):
            lake["t"]
    assert hashes(tree / "papers") == before


def test_sites() -> None:
    bucket = Site("s3", "bucket/lake")
    assert bucket.overlaps(Site("s3", "bucket/lake/published"))
    assert bucket.overlaps(Site("s3", "bucket"))
    assert not bucket.overlaps(Site("s3", "bucket/lakes"))
    assert not bucket.overlaps(Site("gs", "bucket/lake"))
    assert open_store("simplecache::memory://a/b").site() == Site("memory", "/a/b")
    assert local_path("C/x") == "C/x"
    assert parse_place("uri", "file:/a//b")[0] == "/a/b"


STEPS = ("lake", "link", "other", "x", "x-tables", "y", "y-tables", "papers", "to-papers", "empty",
         "to-empty", "to-objects", "up", "..", ".", "tree", "new", "objects", "packs", "catalog.db",
         "theirs", "theirs-tables", "kept", "z", "loop", "thesis.txt", "~", "é", "a b", "%2e%2e",
         "entries.parquet", "p", "q")  # fmt: skip
FORMS = ("{}", "{}/", "file:{}", "file://{}", "local://{}", "local:{}", "dir::file://{}", "File://{}",
         "dir://p::file://{}", "simplecache::file://{}", "filecache::local://{}", "data:{}",
         "simplecache::dir://new::file://{}", "blockcache::file://{}", "{}-tables")  # fmt: skip


def some_place(choose: random.Random, tree: Path) -> str:
    path = "/".join(choose.choices(STEPS, k=choose.randint(1, 4)))
    where = choose.choice((f"{tree}/{path}", f"{tree}/{path}", f"{tree}//{path}", path))
    return choose.choice(FORMS).format(where)


def test_any_place(
    tree: Path, soak: bool, monkeypatch: pytest.MonkeyPatch, record_property: pytest.RecordProperty
) -> None:
    """Publish to it, keep a lake there, and collect orphans there: every canary stays."""
    monkeypatch.chdir(tree)
    monkeypatch.setenv("HOME", str(tree / "papers"))
    seed = random.randrange(2**32)
    choose = random.Random(seed)
    # What may be replaced: a publication, be it of another lake, and this lake's own catalog.
    canaries = {
        path: digest
        for path, digest in hashes(tree).items()
        if not path.startswith(("lake/catalog", "theirs"))
    }
    published = opened = 0
    for number in range(PLACES[0] if soak else PLACES[1]):
        place = some_place(choose, tree)
        what = f"seed {seed}, place {number}: {place!r}"
        with lakebed.open(tree / "lake") as lake:
            try:
                lake.publish(place)
                published += 1
            except (LakebedError, OSError):
                pass
            lake.collect(0, 0, orphans=True)
        try:
            with lakebed.open(catalog="sqlite://", storage=place) as lake:
                opened += 1
                if lake._objects is not None and not holds_a_lake(lake, tree):
                    lake["large"] = "y" * 9000
                    lake.collect(0, orphans=True)
        except (LakebedError, OSError):
            pass
        found = hashes(tree)
        lost = {path for path in canaries if found.get(path) != canaries[path]}
        assert not lost, what
        if number % 50 == 49:  # what was made meanwhile goes, so that there is room for more
            for path in set(found) - set(canaries):
                if not path.startswith("lake/catalog"):
                    (tree / path).unlink()
    record_property(
        "places tried, published to, opened as a storage", (number + 1, published, opened)
    )
    assert published
    assert opened


def holds_a_lake(lake: lakebed.Lake, tree: Path) -> bool:
    """A storage of its own is what each lake needs: a second catalog over one is no fault of ours
    to find here."""
    assert lake._objects is not None
    lakes = (Site("file", str(tree / name)) for name in ("lake", "other", "x-tables", "y-tables"))
    return any(lake._objects.site().overlaps(each) for each in lakes)
