"""Lifecycle rules in the form of S3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lakebed.objects.files.store import Rule, Transition


def is_ours(rule: Mapping[str, Any], root: str) -> bool:
    """Return whether a rule concerns files under our root and depends only on their prefix and age.
    All other rules of the bucket are left as they are."""
    filters = rule.get("Filter", {})
    known = {"ID", "Filter", "Prefix", "Status", "Expiration", "Transitions"} | {
        "AbortIncompleteMultipartUpload"
    }
    plain = (
        set(filters) <= {"Prefix"}
        and set(rule) <= known
        and set(rule.get("Expiration", {})) <= {"Days"}
        and all(set(each) == {"Days", "StorageClass"} for each in rule.get("Transitions", ()))
    )
    return plain and _prefix(rule).startswith(root)


def _prefix(rule: Mapping[str, Any]) -> str:
    return str(rule.get("Filter", rule).get("Prefix") or "")


def from_s3(rule: Mapping[str, Any]) -> Rule:
    """Return our form of a rule."""
    return Rule(
        str(rule.get("ID", "")),
        _prefix(rule),
        rule.get("Expiration", {}).get("Days"),
        tuple(
            Transition(int(each["Days"]), str(each["StorageClass"]))
            for each in rule.get("Transitions", ())
        ),
        rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
        rule.get("Status") == "Enabled",
    )


def to_s3(rule: Rule) -> dict[str, Any]:
    """Return S3's form of a rule."""
    found: dict[str, Any] = {
        "ID": rule.id,
        "Filter": {"Prefix": rule.prefix},
        "Status": "Enabled" if rule.enabled else "Disabled",
    }
    if rule.expire_days is not None:
        found["Expiration"] = {"Days": rule.expire_days}
    if rule.transitions:
        found["Transitions"] = [
            {"Days": each.days, "StorageClass": each.storage_class} for each in rule.transitions
        ]
    if rule.abort_days is not None:
        found["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": rule.abort_days}
    return found
