"""Tells an observer, if there is one, about waits for locks and the use of caches."""

from __future__ import annotations

from collections.abc import Callable

Observer = Callable[[str, float, str], None]
"""Takes a name, a value, and the lock or cache concerned. `lock.wait` is in seconds; `cache`
is 1 for a hit and 0 for a miss."""

_observer: Observer | None = None


def observe_with(observer: Observer | None) -> None:
    """Set the observer. None removes it."""
    global _observer
    _observer = observer


def tell(name: str, value: float, of: str) -> None:
    """Tell the observer, if there is one. Call this only where something slow has happened."""
    if _observer is not None:
        _observer(name, value, of)
