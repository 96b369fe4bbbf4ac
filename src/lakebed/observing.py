"""What the inside of a lake tells an observer, if there is one: waits for locks, and caches."""

from __future__ import annotations

from collections.abc import Callable

Observer = Callable[[str, float, str], None]
"""Takes what is observed (`lock.wait` in seconds, `cache` as 1 for a hit and 0 for a miss), its
value, and of what."""

_observer: Observer | None = None


def observe_with(observer: Observer | None) -> None:
    """Tell an observer from now on, or nobody."""
    global _observer
    _observer = observer


def tell(name: str, value: float, of: str) -> None:
    """Tell the observer, if there is one. Only called where something slow has happened."""
    if _observer is not None:
        _observer(name, value, of)
