"""HTML for notebooks: small tables, with escaped and shortened cells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from itertools import islice

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
    """Return a table of names and values."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{cell(name)}</th>"
        f"<td style='text-align:left'>{cell(value)}</td></tr>"
        for name, value in values
    )
    return f"<p>{cell(title)}</p><table><tbody>{rows}</tbody></table>"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of the first rows, and a note if there are more."""
    shown = list(islice(rows, SHOWN_ROWS + 1))
    head = "".join(f"<th>{cell(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{cell(v)}</td>" for v in row) + "</tr>"
        for row in shown[:SHOWN_ROWS]
    )
    more = "<p>… and more</p>" if len(shown) > SHOWN_ROWS else ""
    return (
        f"<p>{cell(title)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{more}"
    )
