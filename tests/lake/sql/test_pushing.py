"""Conditions that are looked up in the catalog, against the same ones that only DuckDB sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lakebed
from lakebed.errors import QueryError
from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock
from tests.lake.sql.conftest import OpenLake, forget_rows

pytestmark = pytest.mark.sampled("new_lake", 3)

KEYS = [
    "a", "A", "a/", "a/b", "a_b", "a%b", "a\\b", "a'b", 'a"b', "ab", "7", "007", "\x01", "a\x01",
    "\t", "é", "e\u0301", "\ud7ff", "\uffff", "\U0001f600", "\U0010ffff", "\U0010ffff" * 2, "null",
]  # fmt: skip
FIELDS = ["m", "é", "a.b", "n m", "true", "_"]
LEAVES: list[Any] = [
    "x", "X", "true", "1", "1.0", "null", "", "{}", "é", "-", "1e5", "it's", "\\", "%", True, None,
    1, 1.0, -0.0, 1e22, 2**70, [], {}, {"m": "x"}, ["x"], "\U0010ffff", "\x01",
]  # fmt: skip


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class Parameters(dict[str, object]):
    """The parameters of a query that is being made."""

    def add(self, value: object) -> str:
        name = f"p{len(self)}"
        self[name] = value
        return f"${name}"


@st.composite
def literals(draw: st.DrawFn, params: Parameters, texts: list[str]) -> str:
    text = draw(st.sampled_from(texts) | st.text(max_size=3))
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.sampled_from(["NULL", "7", "1.5", "''", "'7'::INTEGER", "'a' || 'b'"]))
    if kind == 1:
        return params.add(draw(st.sampled_from([None, 7, 7.0, b"a", True])))
    if kind < 5 or "\0" in text:
        return params.add(text)
    return quoted(text)


PATTERNS = [*KEYS, "a%", "a_b%", "%", "a\\%", "a\\_%", "_%", "é%", "\ud7ff%", "\U0010ffff%", "A%"]
COMPARED = [
    "{c} = {v}", "{v} = {c}", "{c} <> {v}", "{c} < {v}", "{v} < {c}", "{c} <= {v}", "{c} > {v}",
    "{v} >= {c}", "{c} IS DISTINCT FROM {v}", "{c} IS NOT DISTINCT FROM {v}", "{c} IN ({v}, {w})",
    "{c} NOT IN ({v}, {w})", "{c} IN ({v})", "{v} IN ({c}, {w})", "{c} BETWEEN {v} AND {w}",
    "{c} NOT BETWEEN {v} AND {w}", "{v} BETWEEN {c} AND {w}", "{c} = {v} COLLATE NOCASE",
    "{c} COLLATE NOCASE <= {v}", "{c} IS NULL", "{c} = ANY(SELECT {v})",
    "CASE WHEN {c} = {v} THEN false ELSE true END", "coalesce({c} = {v}, true)",
    "({c} = {v}) IS NOT TRUE", "({c} = {v}) = ({c} < {w})",
]  # fmt: skip
MATCHED = [
    "{c} LIKE {v}", "{c} NOT LIKE {v}", "{v} LIKE {c}", "{c} LIKE {v} ESCAPE '%'", "{c} ILIKE {v}",
    "{c} LIKE {v} ESCAPE '\\'", "{c} ^@ {v}", "{v} ^@ {c}", "starts_with({c}, {v})", "{c} GLOB {v}",
    "prefix({c}, {v})", "contains({c}, {v})", "{c} SIMILAR TO {v}", "NOT starts_with({c}, {v})",
]  # fmt: skip


@st.composite
def conditions(draw: st.DrawFn, params: Parameters, table: str, depth: int = 2) -> str:
    kind = draw(st.integers(0, 6 if depth else 2))
    if kind > 2:
        parts = [draw(conditions(params, table, depth - 1)) for _ in range(2)]
        return [f"({' AND '.join(parts)})", f"({' OR '.join(parts)})", f"NOT {parts[0]}"][kind % 3]
    if kind:
        column = draw(st.sampled_from([f"{table}.key", f"{table}.KEY", "key"]))
        pattern, texts = draw(st.sampled_from(COMPARED + 2 * MATCHED)), PATTERNS
    else:
        field = draw(st.sampled_from([*FIELDS, "$.m", "$.m.m", "$.é", "$.*", "/m", "$"]))
        column = f"({table}.metadata->>{draw(st.sampled_from([quoted(field), params.add(field)]))})"
        pattern = draw(st.sampled_from(COMPARED + 12 * ["{c} = {v}"]))
        texts = [leaf for leaf in LEAVES if isinstance(leaf, str)]
    value, other = (draw(literals(params, texts)) for _ in range(2))
    return f"({pattern.format(c=column, v=value, w=other)})"


PLACES = [
    "SELECT e.key FROM {e} e WHERE {c}",
    "SELECT e.key FROM {e} e, {d} d WHERE e.version = d.version AND {c}",
    "SELECT e.key FROM {e} e JOIN {d} d ON e.version = d.version WHERE {c} AND {c2}",
    "SELECT d.key FROM {d} d LEFT JOIN {e} e ON e.version = d.version AND {c}",
    "SELECT d.key FROM {d} d LEFT JOIN {e} e ON e.version = d.version WHERE {c}",
    "SELECT d.key FROM {d} d RIGHT JOIN {e} e ON e.version = d.version WHERE {c2}",
    "SELECT e.key FROM {e} e ASOF JOIN {d} d ON e.version >= d.version WHERE {c2}",
    "SELECT e.key FROM {e} e SEMI JOIN {d} d ON e.version = d.version AND {c2} WHERE {c}",
    "SELECT e.key FROM {e} e ANTI JOIN {d} d ON e.version = d.version WHERE {c}",
    "SELECT e.key FROM {e} e WHERE {c} UNION ALL SELECT d.key FROM {d} d WHERE {c2}",
    "SELECT e.key FROM {e} e WHERE {c} EXCEPT SELECT e.key FROM {e} e WHERE e.key > 'a'",
    "SELECT d.key FROM {d} d WHERE EXISTS (FROM {e} e WHERE e.version = d.version AND {c})",
    "SELECT d.key FROM {d} d WHERE (SELECT count(*) FROM {e} e WHERE e.key > d.key AND {c}) > 3",
    "SELECT d.key FROM {d} d, LATERAL (SELECT e.key FROM {e} e WHERE e.key < d.key AND {c})",
    "WITH w AS (SELECT e.* FROM {e} e WHERE {c}) SELECT key FROM w UNION ALL SELECT key FROM w",
    "SELECT upper(e.key) AS key FROM {e} e WHERE {c}",
    "SELECT e.key, row_number() OVER (ORDER BY key) FROM {e} e WHERE {c} QUALIFY {c}",
    "SELECT count(*) FROM {e} e WHERE {c} GROUP BY ALL HAVING count(*) > 1",
    "SELECT count(*) FILTER ({c}) FROM {e} e",
    "SELECT e.key FROM {e} e(k, v) NATURAL JOIN {d} WHERE e.k > 'a'",
]


@st.composite
def queries(draw: st.DrawFn) -> tuple[str, Parameters]:
    params = Parameters()
    place = draw(st.sampled_from(PLACES[:1] * 20 + PLACES))
    shape = {"e": "{e}", "d": "{d}", "c": draw(conditions(params, "e"))}
    shape["c2"] = draw(conditions(params, "d")) if "{c2}" in place else ""
    return place.format(**shape), params


def answer(lake: Lake, query: str, params: Parameters) -> list[Any] | None:
    used = {name: value for name, value in params.items() if f"${name}" in query}
    try:
        return sorted(lake.sql(query, used).fetchall(), key=repr)
    except QueryError:
        return None


def fill(lake: Lake) -> Lake:
    lake.store_batch(
        {
            "key": key,
            "value": number,
            "metadata": {
                field: LEAVES[(3 * number + 5 * place) % len(LEAVES)]
                for place, field in enumerate(FIELDS)
                if (number + place) % 4
            },
        }
        for number, key in enumerate(KEYS)
    )
    # So many that the catalog's index of the metadata is used.
    lake.store_batch({"key": f"z/{n}", "value": n, "metadata": {"z": "z"}} for n in range(1000))
    return lake


def both(lake: Lake, query: str, params: Parameters) -> tuple[list[Any] | None, list[Any] | None]:
    """The answers with conditions that are looked up in the catalog, and with such as are not."""
    tables = {"e": "entries", "d": "documents"}

    def naming(form: str) -> str:
        named = query
        for place, table in tables.items():
            named = named.replace(f"{{{place}}}", form.format(table))
        return named

    forget_rows(lake)  # those of all entries would serve for any condition
    pushed = answer(lake, naming("{}"), params)
    return pushed, answer(lake, naming("(FROM {})"), params)


VALUES = [("a/b", "ab"), ("a_b", "a%b"), ("a%", "a\\_%"), ("A", "\U0001f600"), ("\uffff", "a\x01")]


def test_each_comparison_and_place(tmp_path: Path, soak: bool, rng: Random) -> None:
    """What the random ones below seldom come upon, one by one."""
    simple = [
        pattern.format(c="e.key", v=quoted(v), w=quoted(w))
        for pattern in COMPARED + MATCHED
        for v, w in VALUES
    ]
    queries = [PLACES[0].replace("{c}", condition) for condition in simple]
    queries += [
        place.replace("{c}", c).replace("{c2}", c2)
        for place in PLACES
        for c in ("e.key = 'a/b'", "e.key <> 'a/b'", "e.key IN ('ab', 'a_b')")
        for c2 in ("d.key = 'ab'", "d.key >= 'a_b'")
    ]
    if not soak:
        queries = rng.sample(queries, len(queries) // 4)
    found = 0
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
        for query in queries:
            pushed, wanted = both(lake, query, Parameters())
            assert pushed == wanted, query
            found += bool(wanted)
    assert found > len(queries) / 3


@pytest.fixture
def lake(new_lake: OpenLake) -> Iterator[Lake]:
    with new_lake(FakeClock()) as lake:
        yield fill(lake)


def test_conditions_narrow_to_a_superset(lake: Lake, soak: bool) -> None:
    @settings(
        max_examples=3000 if soak else 40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(queries())
    def run(made: tuple[str, Parameters]) -> None:
        pushed, wanted = both(lake, *made)
        if wanted is not None:  # a cast may fail for a row that is not loaded otherwise
            assert pushed == wanted

    run()
