"""A lake on S3 against s3fs and boto3 by hand, on one private Moto in the same run.

Moto is a process of Python: it takes about as much processor time as its clients, on the same
cores.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, NamedTuple, NoReturn

import orjson

import lakebed
from lakebed.lake.lake import Lake
from lakebed.objects.packs import Position
from tests.benchmarks.documents import documents
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark
from tests.servers import S3Server, running_s3

SIZE = 20_000
_SAMPLED = 10
_QUERY = """SELECT e.version, e.metadata, e.expires_at, o.content_hash, o.uri FROM entry e
    JOIN object o ON o.id = e.object_id WHERE e.key = ?"""


class World(NamedTuple):
    """A lake on a bucket, and the bucket by hand."""

    lake: Lake
    catalog: str
    bucket: str
    s3fs: Any
    boto3: Any

    def packs(self) -> dict[str, int]:
        """The packs of the lake with their sizes, by their paths in the bucket."""
        found = self.s3fs.find(f"{self.bucket}/lake/packs", detail=True)
        return {path: about["size"] for path, about in found.items()}


def _missing(name: str, reason: str) -> NoReturn:
    raise SystemExit(f"{name} is not available: {reason}")


@contextmanager
def _world(room: Room) -> Iterator[World]:
    with running_s3(_missing) as server:
        bucket = server.create_bucket()
        catalog = str(room.folder / "names.db")
        storage = server.storage(f"s3://{bucket}/lake")
        with lakebed.open(catalog=f"sqlite:///{catalog}", storage=storage) as lake:
            yield World(lake, catalog, bucket, _s3fs(server), _boto3(server))


def _s3fs(server: S3Server) -> Any:
    import s3fs

    options = server.storage("")
    del options["uri"]
    return s3fs.S3FileSystem(**options, use_listings_cache=False, skip_instance_cache=True)


def _boto3(server: S3Server) -> Any:
    import boto3

    options = server.storage("")
    return boto3.client(
        "s3",
        endpoint_url=options["endpoint_url"],
        aws_access_key_id=options["key"],
        aws_secret_access_key=options["secret"],
        region_name="us-east-1",
    )


Value = dict[str, Any] | bytes


def _made(count: int, start: int) -> list[Value]:
    """Documents, which zstd makes a quarter of."""
    return [value for _, value in documents(count, SIZE, start=start)]


def _noise(count: int, start: int) -> list[Value]:
    """Bytes that nothing makes smaller."""
    random = Random(start)
    return [random.randbytes(SIZE) for _ in range(count)]


def _stored(value: Value) -> bytes:
    return value if isinstance(value, bytes) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@benchmark
def bucket_batches(room: Room) -> Iterator[Contest]:
    """2,000 values of 20 KB in, against the same bytes by hand; 1,000 of them out."""
    rounds, count = 5, room.count(2000)
    with _world(room) as world:
        for name, make in (("documents", _made), ("noise", _noise)):
            values = [make(count, n * count) for n in range(rounds + 1)]
            yield _storing(world, name, values)
        keys = [f"documents/0/{n}" for n in Random(3).sample(range(count), room.count(1000))]
        yield _retrieving(world, keys)


def _storing(world: World, name: str, values: Sequence[Sequence[Value]]) -> Contest:
    raw = [list(map(_stored, some)) for some in values]

    def ours(number: int) -> None:
        entries = (
            {"key": f"{name}/{number}/{n}", "value": v} for n, v in enumerate(values[number])
        )
        assert world.lake.store_batch(entries).created == len(values[number])

    before = world.packs()
    ours(-1)
    pack = {path: size for path, size in world.packs().items() if path not in before}
    packed = [world.s3fs.cat_file(path) for path in pack]

    def upload(number: int, files: Sequence[bytes]) -> None:
        folder = f"{world.bucket}/hand/{name}/{number}"
        world.s3fs.pipe({f"{folder}/{n}": file for n, file in enumerate(files)})

    def cut(number: int, size: int) -> list[bytes]:
        whole = b"".join(raw[number])
        return [whole[at : at + size] for at in range(0, len(whole), size)]

    def one_by_one(number: int) -> float:
        some, begin = raw[number][::_SAMPLED], time.perf_counter()
        for n, data in enumerate(some):
            world.s3fs.pipe_file(f"{world.bucket}/hand/{name}/{number}/one-{n}", data)
        return (time.perf_counter() - begin) * len(raw[number]) / len(some)

    whole = [cut(number, 64 << 20) for number in range(len(values) - 1)]
    parts = [cut(number, max(pack.values())) for number in range(len(values) - 1)]
    # A pack holds 64 MiB of values; the file that it is may be a fraction of that.
    return Contest(
        f"S3: store_batch of {len(values[0]):,} values of 20 KB ({name})",
        {
            OURS: ours,
            "s3fs, their bytes in files of 64 MiB": lambda n: upload(n, whole[n]),
            "s3fs, their bytes in files as large as the pack": lambda n: upload(n, parts[n]),
            "s3fs, the pack as it is": lambda n: upload(n, packed),
            "s3fs, one object each (every tenth)": one_by_one,
        },
        {
            "s3fs, their bytes in files of 64 MiB": 0.7,
            "s3fs, one object each (every tenth)": 10.0,
        },
        unit="ms",
        rounds=len(values) - 1,
        note=f"{sum(map(len, raw[0])) / 1e6:.1f} MB, {sum(pack.values()) / 1e6:.1f} MB as a pack",
    )


def _retrieving(world: World, keys: Sequence[str]) -> Contest:
    lake, bucket = world.lake, world.bucket
    ranges: list[tuple[str, int, int]] = []
    for key in keys:
        entry = lake.entry(key)
        assert entry is not None
        path, _, place = str(entry.storage_uri).removeprefix("s3://").partition("#")
        position = Position.parse(place)
        ranges.append((path, position.offset, position.offset + position.length))

    def ours(_: int) -> None:
        assert len(lake.retrieve_batch(keys)) == len(keys)

    def by_hand(_: int, *, wanted: Sequence[tuple[str, int, int]]) -> None:
        paths, starts, ends = map(list, zip(*wanted, strict=True))
        found = world.s3fs.cat_ranges(paths, starts, ends)
        assert list(map(len, found)) == [end - start for _, start, end in wanted]

    distinct = sorted(set(ranges))
    assert all(path.startswith(f"{bucket}/lake/packs/") for path, _, _ in distinct)
    return Contest(
        f"S3: retrieve_batch of {len(keys):,} values of 20 KB out of packs",
        {
            OURS: ours,
            "s3fs cat_ranges": partial(by_hand, wanted=ranges),
            "s3fs cat_ranges, each range once": partial(by_hand, wanted=distinct),
        },
        {"s3fs cat_ranges": 0.5, "s3fs cat_ranges, each range once": 0.5},
        unit="ms",
        rounds=5,
        note="theirs neither decompress nor decode",
    )


@benchmark
def bucket_single(room: Room) -> Iterator[Contest]:
    """One value of 20 KB at a time, against a bare PUT and a bare GET."""
    rounds, count = 7, room.count(60)
    with _world(room) as world:
        bucket, names = world.bucket, sqlite3.connect(world.catalog)
        values = documents(count * rounds, SIZE)
        data = [_stored(value) for _, value in values]

        def each(play: Callable[[int], object]) -> Round:
            def turn(number: int) -> None:
                for n in range(number * count, (number + 1) * count):
                    play(n)

            return turn

        def put_boto3(n: int) -> None:
            world.boto3.put_object(Bucket=bucket, Key=f"boto3/{n}", Body=data[n])

        def get_boto3(n: int) -> None:
            names.execute(_QUERY, (values[n][0],)).fetchone()
            orjson.loads(world.boto3.get_object(Bucket=bucket, Key=f"boto3/{n}")["Body"].read())

        def get_s3fs(n: int) -> None:
            names.execute(_QUERY, (values[n][0],)).fetchone()
            orjson.loads(world.s3fs.cat_file(f"{bucket}/s3fs/{n}"))

        yield Contest(
            "S3: store of a value of 20 KB",
            {
                OURS: each(lambda n: world.lake.store(*values[n])),
                "s3fs PUT": each(lambda n: world.s3fs.pipe_file(f"{bucket}/s3fs/{n}", data[n])),
                "boto3 PUT": each(put_boto3),
            },
            {"s3fs PUT": 1 / 1.3},
            operations=count,
            rounds=rounds,
        )
        yield Contest(
            "S3: retrieve of a value of 20 KB",
            {
                OURS: each(lambda n: world.lake.retrieve(values[n][0])),
                "s3fs GET and one query": each(get_s3fs),
                "boto3 GET and one query": each(get_boto3),
            },
            {"s3fs GET and one query": 1 / 1.3},
            operations=count,
            rounds=rounds,
        )
        names.close()
