"""Several processes on one storage; and one that is killed."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from lakebed.files import create_blob_storage
from tests.files.places import Place, finish, worker


def test_races_of_processes(forked_command: Path, place: Place, soak: bool) -> None:
    """Of those that write a file if it is absent, one wins; those that count lose nothing."""
    kind, options = place
    count, workers = (100, 4) if soak else (8, 2)
    with create_blob_storage(kind, **options) as storage:
        storage.files.upload("counter", "0")
        racing = [worker(forked_command, place, "race", count) for _ in range(workers)]
        told = [json.loads(finish(process)) for process in racing]
        won = [number for each in told for number in each["won"]]
        assert sorted(won) == list(range(count))
        for each in told:
            for number in each["won"]:
                assert storage.files.download(f"first/{number}") == str(each["pid"]).encode()
        assert storage.files.download("counter") == str(workers * count).encode()


@pytest.mark.parametrize("place", ["local", "s3"], indirect=True)
def test_a_killed_upload_leaves_nothing(forked_command: Path, place: Place) -> None:
    """Nothing that is seen; and what is not seen is gone when it is cleaned up."""
    kind, options = place
    with create_blob_storage(kind, **options) as storage:
        storage.files.upload("large", "old")
        process = worker(forked_command, place, "hang", 0)
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        process.kill()
        process.communicate()
        assert storage.files.download("large") == b"old"
        assert [file.path for file in storage.files.list().files] == ["large"]
        assert storage.files.cleanup(3600).aborted == 0
        deadline = time.monotonic() + 30
        while not storage.files.cleanup(0).aborted:  # clocks of servers tick by seconds
            assert time.monotonic() < deadline
        assert storage.files.cleanup(0).aborted == 0
        assert storage.files.download("large") == b"old"


def test_readers_see_whole_versions(place: Place, soak: bool) -> None:
    """While a writer replaces a file, content and metadata are those of one upload."""
    kind, options = place
    with create_blob_storage(kind, **options) as storage:
        versions = {str(n): str(n).encode() * 50_000 for n in range(10)}
        storage.files.upload("a", versions["0"], metadata={"n": "0"})
        ended = threading.Event()

        def write() -> None:
            try:
                for number in range(300 if soak else 20):
                    name = str(number % 10)
                    storage.files.upload("a", versions[name], metadata={"n": name})
            finally:
                ended.set()

        writer = threading.Thread(target=write)
        writer.start()
        read = 0
        while not ended.is_set() or not read:
            info, content = storage.files.fetch("a")
            assert content == versions[info.metadata["n"]]
            read += 1
        writer.join()
