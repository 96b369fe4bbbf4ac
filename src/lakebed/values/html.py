"""HTML for notebooks: small tables, with escaped and shortened cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from itertools import islice
from numbers import Number

SHOWN_ROWS = 20
SHOWN_CHARACTERS = 200


def cell(value: object) -> str:
    """Return a value as escaped text of at most 200 characters."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, Mapping):
        text = json.dumps(dict(value), ensure_ascii=False, default=str)
    elif isinstance(value, datetime):
        text = value.isoformat(sep=" ", timespec="seconds")
    elif value is None:
        text = ""
    elif isinstance(value, int) and not isinstance(value, bool):
        text = f"{value:,}"
    else:
        text = str(value)
    if len(text) > SHOWN_CHARACTERS:
        text = text[: SHOWN_CHARACTERS - 1] + "…"
    return escape(text)


def fields(title: str, values: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values. Numbers are aligned right if most values are numbers."""
    pairs = list(values)
    side = _side([_is_number(value) for _, value in pairs])
    rows = "".join(
        f"<tr><th style='text-align:left'>{cell(name)}</th>"
        f"<td style='text-align:{side if _is_number(value) else 'left'}'>{cell(value)}</td></tr>"
        for name, value in pairs
    )
    return f"<p>{cell(title)}</p><table><tbody>{rows}</tbody></table>"


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    limit: int = SHOWN_ROWS,
    more: str | None = None,
    show: Callable[[object], str] = cell,
) -> str:
    """Return a table of the first rows, and a note if there are more. A column is aligned right if
    most of its values are numbers, otherwise left.

    `limit`: the number of rows to show. `more`: the note. `show`: returns the escaped text of a
    value.
    """
    read = list(islice(rows, limit + 1))
    shown = read[:limit]
    if more is None and len(read) > limit:
        more = "… and more"
    sides = [
        _side([_is_number(row[n]) for row in shown if row[n] is not None])
        for n in range(len(columns))
    ]
    head = "".join(
        f"<th style='text-align:{side}'>{cell(name)}</th>"
        for side, name in zip(sides, columns, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td style='text-align:{side}'>{show(value)}</td>"
            for side, value in zip(sides, row, strict=True)
        )
        + "</tr>"
        for row in shown
    )
    return (
        (f"<p>{cell(title)}</p>" if title else "")
        + f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        + (f"<p>{cell(more)}</p>" if more else "")
    )


def _is_number(value: object) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool)


def _side(numbers: list[bool]) -> str:
    """Return how to align a column. `numbers` says of each value whether it is a number."""
    return "right" if sum(numbers) * 2 > len(numbers) else "left"
