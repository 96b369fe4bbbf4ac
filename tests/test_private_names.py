"""The names of other packages that are private and used all the same.

A new release of such a package may change them without notice. Each stands here with the versions
for which it is known, and the arguments that it must take. If a test fails after an update, look
whether there is a public way by now. If not, check the use and change the versions.

pyproject.toml does not hold these packages back. A method that is gone or takes other arguments
raises at its first call, before anything counts as stored. PyMySQL's timeouts
and adlfs' number of retries are only set: without effect, a call would wait for longer, or adlfs
would try again by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import pytest


def gcsfs() -> Any:
    from gcsfs.core import GCSFileSystem

    return GCSFileSystem(token="anon", skip_instance_cache=True)  # noqa: S106


def s3fs() -> Any:
    from s3fs import S3FileSystem

    return S3FileSystem(anon=True, skip_instance_cache=True)


def adlfs() -> Any:
    from adlfs import AzureBlobFileSystem

    return AzureBlobFileSystem(account_name="name", anon=True, skip_instance_cache=True)


def copying() -> Any:
    from psycopg import Copy

    return Copy


def dirfs() -> Any:
    from fsspec.implementations.dirfs import DirFileSystem

    return DirFileSystem


def pymysql() -> Any:
    from pymysql.connections import Connection

    return Connection(defer_connect=True, read_timeout=1, write_timeout=1)


def sqlalchemy() -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import QueuePool

    return create_engine("sqlite://", poolclass=QueuePool).pool


def session() -> Any:
    from mcp.server.connection import Connection
    from mcp.server.session import ServerSession

    nobody: Any = None
    return ServerSession(nobody, Connection(nobody, protocol_version="2025-06-18"))


NAMES: list[tuple[str, str, Callable[[], Any], str, Sequence[str]]] = [
    ("gcsfs", "2026", gcsfs, "_call", ("method", "path", "json_out", "info_out")),
    ("gcsfs", "2026", gcsfs, "_request.__wrapped__", ("method", "path", "headers", "data")),
    ("gcsfs", "2026", gcsfs, "_cat_file_sequential", ("path", "start", "end")),
    ("gcsfs", "2026", gcsfs, "_location", ()),
    ("gcsfs", "2026", gcsfs, "_session", ()),
    ("s3fs", "2026", s3fs, "_call_s3", ("method",)),
    ("s3fs", "2026", s3fs, "_cat_file", ("path", "start", "end")),
    ("s3fs", "2026", s3fs, "_url", ("path", "expires")),
    ("s3fs", "2026", s3fs, "_s3", ()),
    ("adlfs", "2026", adlfs, "_pipe_file", ("path", "value", "max_concurrency")),
    ("adlfs", "2026", adlfs, "_cat_file", ("path", "start", "end")),
    ("adlfs", "2026", adlfs,
     "service_client._config.retry_policy.total_retries", ()),
    ("fsspec", "2026", dirfs, "_join", ("path",)),
    ("psycopg", "3", copying, "_read_gen", ()),
    ("pymysql", "1", pymysql, "_read_timeout", ()),
    ("pymysql", "1", pymysql, "_write_timeout", ()),
    ("sqlalchemy", "2", sqlalchemy, "_pool.mutex.acquire", ()),
    ("mcp", "2", session, "_connection", ()),
]  # fmt: skip


def _told(part: object) -> str:
    """The same in each worker: a function's own text has its address."""
    return part.__name__ if inspect.isfunction(part) else str(part)[:24]


@pytest.mark.parametrize(("package", "known", "owner", "name", "arguments"), NAMES, ids=_told)
def test_a_private_name(
    package: str, known: str, owner: Callable[[], Any], name: str, arguments: Sequence[str]
) -> None:
    assert version(package).split(".")[0] == known, f"{package}: check the use of {name}"
    found = owner()
    for part in name.split("."):
        assert hasattr(found, part), f"{package} has no {name} any more"
        found = getattr(found, part)
    if arguments:
        assert set(arguments) <= inspect.signature(found).parameters.keys()
