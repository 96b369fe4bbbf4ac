"""Every Python and shell block of the README and the documentation runs.

The blocks of a page run in order, in one folder and one Python namespace. A block that cannot run
here stands under a comment that says why: `<!-- not run: needs an AWS account -->`.
"""

from __future__ import annotations

import os
import re
import runpy
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sybil.example import SybilFailure

import lakebed
from tests.disks import mount
from tests.pages import DATABASE, EVALUATORS, PAGES, PROJECT, SHOWN, STORAGE, evaluate, parse
from tests.servers import PostgresServer, S3Server
from tests.services.d1 import D1Server
from tests.services.dynamodb import DynamoDBServer
from tests.services.firestore import FirestoreServer
from tests.services.mongodb import MongoDBServer
from tests.services.redis import RedisServer


@pytest.fixture
def folder(tmp_path: Path, forked_command: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with this environment's commands on the PATH."""
    home = tmp_path / "home"
    work = tmp_path / "work"
    for path in (home, work):
        path.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("PATH", str(forked_command), prepend=os.pathsep)
    monkeypatch.delenv("LAKEBED", raising=False)
    return work


def test_site_builds(tmp_path: Path) -> None:
    """No broken link, no page that the navigation lacks, and every name of the reference found."""
    ran = subprocess.run(
        [sys.executable, "docs/builder/build.py", tmp_path / "site"],
        cwd=PROJECT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    reference = (tmp_path / "site" / "reference" / "index.html").read_text("utf-8")
    assert 'id="lakebed.open"' in reference
    for notebook in (PROJECT / "notebooks").glob("*.ipynb"):
        assert (tmp_path / "site" / "notebooks" / notebook.stem / "index.html").is_file()


def test_reference_has_every_call_of_a_lake() -> None:
    """But for those that faces over a lake need, and `clear`, which is refused."""
    inner = {
        "clear", "count_rows", "full_uri", "query_engine", "read_content", "read_contents",
        "read_entry", "read_in_order", "read_listing", "read_value",
    }  # fmt: skip
    page = (PROJECT / "docs" / "reference" / "index.md").read_text("utf-8")
    told = set(re.findall(r"^        - (\w+)$", page, re.MULTILINE))
    assert told == {name for name in dir(lakebed.Lake) if not name.startswith("_")} - inner


def test_site_names_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("![lost](lost.svg)\n")
    (tmp_path / "b.md").write_text("# B\n")
    mistakes = runpy.run_path(str(PROJECT / "docs" / "builder" / "build.py"))["mistakes"]

    assert mistakes(tmp_path, ["a.md", "c.md", "a.md"]) == [
        "mkdocs.yml: nav names a.md twice",
        "mkdocs.yml: nav lacks docs/b.md",
        "mkdocs.yml: nav names c.md, which is missing",
        "docs/a.md: picture lost.svg is missing",
    ]


DEPLOY = PROJECT / "docs" / "deploy"
Request, Patch = pytest.FixtureRequest, pytest.MonkeyPatch


def on_dynamodb(text: str, request: Request, monkeypatch: Patch) -> str:
    request.getfixturevalue("in_aws")
    server: DynamoDBServer = request.getfixturevalue("dynamodb")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.endpoint_url)
    return text


def on_firestore(text: str, request: Request, monkeypatch: Patch) -> str:
    request.getfixturevalue("in_firestore")
    server: FirestoreServer = request.getfixturevalue("firestore")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", server.create_project())
    return text


def on_mongodb(text: str, request: Request, _: Patch) -> str:
    server: MongoDBServer = request.getfixturevalue("mongodb")
    url = server.url(server.create_database())
    return text.replace("mongodb://db.example.org/memory", url)


def on_redis(text: str, request: Request, _: Patch) -> str:
    server: RedisServer = request.getfixturevalue("redis_server")
    return text.replace("redis://cache.example.org/0", server.url().replace("/0", "/9"))


def on_s3(text: str, request: Request, monkeypatch: Patch) -> str:
    """Moto stands for all of AWS, and `aws` is Amazon's own program."""
    request.getfixturevalue("in_aws")
    server: S3Server = request.getfixturevalue("s3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint_url)
    monkeypatch.setenv("AWS_PAGER", "")
    return text


def on_an_old_lake(text: str, *_: object) -> str:
    """A lake of the first schema, `memory`."""
    shutil.copytree(PROJECT / "tests" / "data" / "lake-v1", "memory")
    return text


def on_a_small_disk(text: str, request: Request, monkeypatch: Patch) -> str:
    """A disk of a megabyte, `disk`, beside what stands for AWS."""
    Path("disk").mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", Path("disk").absolute())
    unmount = ["umount", "--lazy", str(Path("disk").absolute())]
    request.addfinalizer(lambda: subprocess.run(unmount, check=True))
    # The page on AWS makes a bucket of the same name on the same server.
    for bucket in ("my-agents", "agents-backup"):
        text = text.replace(bucket, f"{bucket}-{secrets.token_hex(4)}")
    return on_s3(text, request, monkeypatch)


def on_d1(text: str, request: Request, monkeypatch: Patch) -> str:
    server: D1Server = request.getfixturevalue("d1")
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", server.api_token)
    url = f"d1://{server.account_id}/{server.create_database()}?endpoint_url={server.endpoint_url}"
    return text.replace("d1://my-account/my-database", url)


# Pages on services: the environment, or the text, that leads to what stands for them here.
SERVICES: dict[str, Callable[[str, Request, Patch], str]] = {
    "catalog-dynamodb.md": on_dynamodb,
    "catalog-firestore.md": on_firestore,
    "catalog-mongodb.md": on_mongodb,
    "catalog-redis.md": on_redis,
    "catalog-d1.md": on_d1,
    "aws.md": on_s3,
    "security.md": on_s3,
    "upgrading.md": on_an_old_lake,
    "when-something-breaks.md": on_a_small_disk,
}


# A page may leave its lake open, as a short program does.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_blocks_run(
    page: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page.read_text("utf-8")
    if page.parent == DEPLOY:  # the files that it tells to download
        without_pages = shutil.ignore_patterns("*.md")
        shutil.copytree(DEPLOY, Path.cwd(), ignore=without_pages, dirs_exist_ok=True)
    if page.name in SERVICES:
        text = SERVICES[page.name](text, request, monkeypatch)
        page = tmp_path / page.name
        page.write_text(text, "utf-8")
    if names := {found["name"] for found in DATABASE.finditer(text)}:
        server: PostgresServer = request.getfixturevalue("postgres_18")
        monkeypatch.setenv("PATH", str(server.binaries), prepend=os.pathsep)  # pg_dump
        databases = {name: server.create_database() for name in sorted(names)}

        def url(found: re.Match[str]) -> str:
            user = "postgres" if found["user"] == "ada" else found["user"]
            return server.url(databases[found["name"]], user=user)

        text = DATABASE.sub(url, text)
        page = tmp_path / page.name
        page.write_text(text.replace(STORAGE, str(tmp_path / "bucket")), "utf-8")
    evaluate(page)


def test_languages_are_known() -> None:
    unknown = [
        f"{page}:{example.line}: {example.region.lexemes['language']}"
        for page in PAGES
        for example in parse(page)
        if example.region.lexemes["language"] not in SHOWN | EVALUATORS.keys()
    ]
    assert not unknown


def test_blocks_not_run_have_a_reason(record_property: Callable[[str, object], None]) -> None:
    examples = [(page, example) for page in PAGES for example in parse(page)]
    reasons = [
        f"{page.relative_to(PROJECT)}:{example.line} {example.region.lexemes['reason']}"
        for page, example in examples
        if example.region.lexemes["reason"]
    ]
    run = sum(example.region.evaluator is not None for _, example in examples)
    record_property("documentation blocks run", run)
    record_property("documentation blocks not run", f"{len(reasons)} ({'; '.join(reasons)})")
    # A marker without a reason, misspelt, or above nothing would otherwise pass unseen.
    markers = sum(len(re.findall(r"(?m)^\s*<!--\s*not", page.read_text("utf-8"))) for page in PAGES)
    assert len(reasons) == markers


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "text",
    [
        "```python\nassert 1 == 2\n```\n",
        "```python\n>>> 1 + 1\n3\n```\n",
        "```shell\nfalse\ntrue\n```\n",
        "```console\n$ echo one\none\n$ echo two\nthree\n```\n",
        "1. in a list\n\n    ```shell\n    exit 3\n    ```\n",
    ],
)
def test_a_wrong_block_fails(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises((AssertionError, SybilFailure)):
        evaluate(page)


def test_a_marked_block_is_not_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: needs luck -->\n\n```python\nassert 1 == 2\n```\n")
    (example,) = parse(page)
    example.evaluate()
    assert example.region.lexemes["reason"] == "needs luck"


@pytest.mark.usefixtures("folder")
def test_blocks_share_their_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\na = 1\n```\n\n```python\n>>> a\n1\n>>> b = 2\n```\n\n"
        "```python\nimport pathlib\npathlib.Path('x').write_text(str(a + b))\n```\n\n"
        "```console\n$ cat \\\n  x\n3\n```\n"
    )
    evaluate(page)
