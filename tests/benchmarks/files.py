"""Files on S3 against boto3's transfer manager, on one private Moto in the same run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from lakebed.files import create_blob_storage
from tests.benchmarks.buckets import _boto3, _missing
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark
from tests.servers import PASSWORD, running_s3

_SIZE = 200_000_000
_SMALL = 20_000


@benchmark
def files(room: Room) -> Iterator[Contest]:
    """200 MB up and down, and small files one at a time."""
    source = room.folder / "source"
    size = room.count(_SIZE, least=10_000_000)
    with source.open("wb") as file:
        random = Random(1)
        for _ in range(0, size, 1_000_000):
            file.write(random.randbytes(1_000_000))
    with running_s3(_missing) as server:
        bucket = server.create_bucket()
        client = _boto3(server)
        with create_blob_storage(
            "s3", bucket=bucket, region="us-east-1", endpoint_url=server.endpoint_url,
            access_key="testing", secret_key=PASSWORD,
        ) as storage:  # fmt: skip
            ours = storage.files
            client.upload_file(str(source), bucket, "theirs")
            ours.upload_file("ours", source)

            def fresh(name: str) -> str:
                target = room.folder / name
                target.unlink(missing_ok=True)
                return str(target)

            yield Contest(
                f"S3: upload_file of {size / 1e6:.0f} MB",
                {
                    OURS: lambda _: _none(ours.upload_file("ours", source)),
                    "boto3": lambda _: client.upload_file(str(source), bucket, "theirs"),
                },
                {"boto3": 0.9},
                unit="ms",
                rounds=9,
            )
            yield Contest(
                f"S3: download_file of {size / 1e6:.0f} MB",
                {
                    OURS: lambda _: _none(ours.download_file("ours", fresh("ours"))),
                    "boto3": lambda _: client.download_file(bucket, "theirs", fresh("theirs")),
                },
                {"boto3": 0.9},
                unit="ms",
                rounds=9,
            )
            count, data = room.count(40), Random(2).randbytes(_SMALL)

            def each(call: Callable[[int], object]) -> Round:
                def turn(_: int) -> None:
                    for number in range(count):
                        call(number)

                return turn

            def put(number: int) -> object:
                return client.put_object(Bucket=bucket, Key=f"theirs/{number}", Body=data)

            def get(number: int) -> object:
                return client.get_object(Bucket=bucket, Key=f"theirs/{number}")["Body"].read()

            yield Contest(
                "S3: upload of 20 KB",
                {OURS: each(lambda n: ours.upload(f"ours/{n}", data)), "boto3 PUT": each(put)},
                operations=count,
            )
            yield Contest(
                "S3: download of 20 KB",
                {OURS: each(lambda n: ours.download(f"ours/{n}")), "boto3 GET": each(get)},
                operations=count,
            )
        client.close()


def _none(_: object) -> None:
    """A round returns nothing, so that its time counts."""
