"""Lifecycle rules of files in a folder or in memory, where no service applies them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lakebed.errors import ConfigurationError
from lakebed.objects.files.store import FileRow, Rule, Transition

_DAY = 86_400_000_000  # microseconds


def only_expiry(rules: Sequence[Rule], where: str) -> list[Rule]:
    """Return the rules. Raises ConfigurationError for one that moves files to another class."""
    for rule in rules:
        if rule.transitions:
            raise ConfigurationError(
                f"rules.{rule.id}.transitions: {where} have no storage classes, only expiry"
            )
    return list(rules)


def expired(rows: Iterable[FileRow], rules: Sequence[Rule], now: int) -> list[str]:
    """Return the paths of the files that a rule deletes at `now` (microseconds since the epoch)."""
    days = [(rule.prefix, rule.expire_days) for rule in rules if rule.enabled and rule.expire_days]
    return [
        row.path
        for row in rows
        if any(row.path.startswith(prefix) and row.modified + n * _DAY <= now for prefix, n in days)
    ]


def to_json(rule: Rule) -> dict[str, Any]:
    """Return a rule as plain data."""
    return rule._asdict() | {"transitions": [each._asdict() for each in rule.transitions]}


def from_json(data: dict[str, Any]) -> Rule:
    """Return the rule that plain data describe."""
    transitions = tuple(Transition(**each) for each in data["transitions"])
    return Rule(**(data | {"transitions": transitions}))
