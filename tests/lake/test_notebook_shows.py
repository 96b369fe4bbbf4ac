"""What a notebook shows of results: escaped, cut, and without reading what is large."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from IPython.core.completer import IPCompleter, provisionalcompleter

import lakebed

EVIL = "<script>alert(1)</script>&\"'"


@pytest.fixture
def lake() -> Iterator[lakebed.Lake]:
    with lakebed.open(":memory:") as opened:
        yield opened


class Tags(HTMLParser):
    """The tags of a page; those that are not closed in order are an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.tags.add(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def test_all_are_escaped_and_cut(lake: lakebed.Lake) -> None:
    entry = lake.store(EVIL, EVIL, {EVIL: EVIL * 1000})
    lake.store("x", "plain text")
    snapshot = lake.create_snapshot(EVIL, message=EVIL, author=EVIL)
    del lake[EVIL]
    hits = lake.search("plain")
    shown = [
        entry, lake.entry("x"), hits, hits[0], lake.list(), lake.at(snapshot).list(), lake.stats(),
        snapshot, lake.snapshots(), lake.history(EVIL), lake.diff(snapshot), lake.verify(),
        lake.at(snapshot).search(None),
    ]  # fmt: skip
    for result in shown:
        html = result._repr_html_()  # type: ignore[union-attr]
        allowed = {"p", "table", "thead", "tbody", "tr", "th", "td"}
        assert Tags(html).tags <= allowed, result
        assert len(html) < 20_000
    assert "&lt;script&gt;" in entry._repr_html_()


def test_numbers_stand_on_the_right(lake: lakebed.Lake) -> None:
    lake.store("note/1", "tea")
    listed = lake.list()._repr_html_()  # type: ignore[attr-defined]
    assert "<td style='text-align:left'>note/1</td>" in listed
    assert "<td style='text-align:right'>5</td>" in listed
    queried = lake.sql("SELECT 2013 AS year, key FROM entries")._repr_html_()
    assert "<th style='text-align:right'>year</th>" in queried
    assert "<td style='text-align:right'>2013</td>" in queried  # SQL's numbers have no commas
    assert "<td style='text-align:left'>note/1</td>" in queried
    assert "<td style='text-align:right'>1</td>" in lake.stats()._repr_html_()


def test_long_results_are_cut(lake: lakebed.Lake) -> None:
    lake.update({f"k{number:04}": number for number in range(500)})
    for number in range(30):
        lake.create_snapshot(f"s{number}")
    for result in (lake.list(), lake.snapshots(), lake.search(None, limit=400)):
        html = result._repr_html_()  # type: ignore[attr-defined]
        assert html.count("<tr>") == 21
        assert "more" in html
    assert "s29" in lake.snapshots()._repr_html_()  # type: ignore[attr-defined]
    assert lake.snapshots()[0].name == "s0"


def test_keys_are_completed(
    lake: lakebed.Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    lake.update({"user/1": 1, "user/2": 2, "other": 3})
    completer = IPCompleter(namespace={"lake": lake}, use_jedi=False, evaluation="unsafe")
    with provisionalcompleter():
        found = [match.text for match in completer.completions('lake["us', 8)]
    assert [re.sub(r'["\]]', "", text) for text in found] == ["user/1", "user/2"]
    assert lake.at(lake.create_snapshot("s"))._ipython_key_completions_() == list(lake)
