"""A lake in memory with something of everything that cleaning deals with, begun anew at will."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import fsspec
import pyarrow.parquet as pq

from lakebed.catalog.opened import OpenedCatalog
from lakebed.catalog.sql.catalog import SQLCatalog
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.catalog.statements.executor import Executor
from lakebed.lake.contents.uploading import LEASE_SECONDS
from lakebed.objects.remote import FsspecStore
from lakebed.objects.store import ObjectStore
from lakebed.testing import FakeClock, open_lake

SECRET = "canarybird"  # noqa: S105 - a word to look for
DEAD = "dead content " * 20
VALUES = {f"p/{n}": f"packed {n} " * 30 for n in range(6)}
VALUES |= {
    "p/1": f"{SECRET} " * 30,
    "q/5": "worn 5 " * 30,
    "i": "inline value " * 5,
    "h": "now",
}
MEMORY = fsspec.filesystem("memory")
_SECONDS = 10.0
_worlds = itertools.count()


class CleaningWorld:
    """SQLite and fsspec's filesystem, both in memory: real, and fast to begin anew.

    The lake has a worn pack, a small one, files of single objects, inline values, content that has
    just died, an expired entry, and history that no snapshot sees any more.
    """

    def __init__(self) -> None:
        self._image, self._files = _template()

    def start(
        self,
        on_catalog: Callable[[Executor], Executor] = lambda executor: executor,
        on_storage: Callable[[ObjectStore], ObjectStore] = lambda store: store,
    ) -> None:
        """Begin as the template did, with these wrapped around the executor and the store."""
        self._root = f"/world-{next(_worlds)}"
        MEMORY.pipe({f"{self._root}/{path}": data for path, data in self._files.items()})
        self.clock = FakeClock()
        self.clock.advance(_SECONDS)
        self._open(self._image, on_catalog, on_storage)

    def reopen(self) -> None:
        """What a new process finds: what was committed, and the files."""
        image = self.executor.connection().serialize()
        self.lake.close()
        self._open(image, lambda executor: executor, lambda store: store)

    def _open(
        self,
        image: bytes,
        on_catalog: Callable[[Executor], Executor],
        on_storage: Callable[[ObjectStore], ObjectStore],
    ) -> None:
        self.executor = SQLiteExecutor(None, clock=self.clock)
        self.executor.connection().deserialize(image)
        self.catalog = SQLCatalog(on_catalog(self.executor))
        store = on_storage(FsspecStore(f"memory:/{self._root}", {}))
        opened = OpenedCatalog(self.catalog, "a test's", True)
        self.lake = open_lake(catalog=opened, objects=store, inline_threshold=100)

    def stop(self) -> None:
        self.lake.close()
        MEMORY.rm(self._root, recursive=True)

    def files(self) -> set[str]:
        """The paths of what lies in the storage."""
        return {path[len(self._root) + 1 :] for path in MEMORY.find(self._root)}

    def shown(self) -> Mapping[str, Any]:
        """What the lake shows now."""
        return dict(self.lake.items())

    def check(self) -> None:
        """Nothing that the catalog names is without its bytes, nothing referred to without its
        row."""
        rows = self.executor.fetch(
            "SELECT coalesce(o.uri, p.uri) FROM object o LEFT JOIN pack p ON p.id = o.pack_id"
            " WHERE o.inline_value IS NULL",
            {},
        )
        dangling = {uri for (uri,) in rows} - self.files()
        assert not dangling, f"named, and not there: {dangling}"
        rows = self.executor.fetch(
            "SELECT object_id FROM entry UNION SELECT object_id FROM entry_history"
            " EXCEPT SELECT id FROM object",
            {},
        )
        assert not rows, f"referred to, and not there: {rows}"

    def clean(self) -> None:
        """The next maintenance leaves nothing behind but what is named."""
        problems = [problem.text for problem in self.lake.verify().problems]
        assert not problems, problems
        before = self.shown()
        self.clock.advance(LEASE_SECONDS + 1)
        self.lake.maintain()
        self.lake.collect(0, 0, orphans=True)
        assert self.shown() == before
        assert not self.lake.verify().problems
        rows = self.executor.fetch(
            "SELECT uri FROM object WHERE uri IS NOT NULL UNION SELECT uri FROM pack "
            "UNION SELECT uri FROM segment WHERE uri IS NOT NULL",
            {},
        )
        assert self.files() == {uri for (uri,) in rows}
        for table in ("pending", "trash", "candidate", "entry_history"):
            rows = self.executor.fetch(f"SELECT * FROM {table}", {})  # noqa: S608
            assert rows == [] or self.lake.snapshots(), table
        if "p/1" not in before:
            self.check_forgotten()

    def check_forgotten(self) -> None:
        """The purged word is nowhere, neither in the catalog's pages nor in any file."""
        assert SECRET.encode() not in self.executor.connection().serialize()
        assert not [path for path in self.files() if SECRET in self._content(path)]

    def _content(self, path: str) -> str:
        data = MEMORY.cat_file(f"{self._root}/{path}")
        if path.startswith("packs/"):
            return str(pq.read_table(io.BytesIO(data)).to_pydict())
        return str(data.decode("latin-1"))  # a segment is no text


def _template() -> tuple[bytes, dict[str, bytes]]:
    root, clock = f"/template-{next(_worlds)}", FakeClock()
    executor = SQLiteExecutor(None, clock=clock)
    catalog = OpenedCatalog(SQLCatalog(executor), "template", True)
    store = FsspecStore(f"memory:/{root}", {})
    with open_lake(catalog=catalog, objects=store, inline_threshold=100) as lake:
        lake.store_batch({"key": f"p/{n}", "value": VALUES[f"p/{n}"]} for n in range(4))
        lake.store_batch({"key": f"q/{n}", "value": f"worn {n} " * 30} for n in range(6))
        lake.store_batch({"key": f"p/{n}", "value": VALUES[f"p/{n}"]} for n in (4, 5))
        for number in range(5):
            del lake[f"q/{number}"]
        lake.collect(grace=0)
        lake["i"] = VALUES["i"]
        lake["h"] = "then " * 30
        lake.create_snapshot("before")
        lake["h"] = VALUES["h"]
        lake.drop_snapshot("before")
        lake.store("brief", "expired " * 30, ttl=1)
        lake["dead"] = DEAD
        del lake["dead"]
        clock.advance(_SECONDS)
        assert dict(lake.items()) == dict(sorted(VALUES.items()))
        image = executor.connection().serialize()
    files = {path[len(root) + 1 :]: MEMORY.cat_file(path) for path in MEMORY.find(root)}
    MEMORY.rm(root, recursive=True)
    return image, files
