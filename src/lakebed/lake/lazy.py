"""A lake that connects when it is first used."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lakebed.lake.lake import Lake


class LazyLake(Lake):
    """A lake that opens its catalog and storage when one of its parts is first used."""

    def __init__(
        self,
        settle: Callable[[], dict[str, Any]],
        close: Callable[[], None],
        *,
        read_only: bool = False,
    ) -> None:
        self.read_only = read_only
        self._settle = settle
        self._close = close
        self._settling = threading.Lock()
        self._within: Callable[[], AbstractContextManager[None]] = nullcontext

    def connect_within(self, block: Callable[[], AbstractContextManager[None]]) -> None:
        """Set the context in which the lake connects later."""
        self._within = block

    def __getattr__(self, name: str) -> Any:
        # Python calls this for missing attributes: before the first use, all that Lake.__init__
        # sets.
        if name.startswith("__"):
            raise AttributeError(name)
        with self._settling, self._within():
            if "_catalog" not in self.__dict__:
                super().__init__(**self._settle())
                self._maintain_by_itself()
        if name not in self.__dict__:
            raise AttributeError(f"a lake has no attribute {name!r}")
        return self.__dict__[name]

    def close(self) -> None:
        if "_catalog" in self.__dict__:
            super().close()
        else:
            self._close()
