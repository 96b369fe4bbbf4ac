"""A lake that connects when it is first used."""

# No `annotations` from __future__ here: a TypedDict compiles each that is text, at each start.

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypedDict

from lakebed.catalog.protocol import Catalog
from lakebed.lake.base import AutoMaintain
from lakebed.lake.lake import Lake
from lakebed.lake.ownership import Ownership
from lakebed.lake.search.options import SearchOptions
from lakebed.objects.store import ObjectStore


class LakeParts(TypedDict):
    """What a lake is made of: the arguments of `Lake`."""

    catalog: Catalog
    objects: ObjectStore | None
    name: str
    inline_threshold: int
    history: str
    history_retention: int | None
    lake_id: str
    search: SearchOptions
    read_only: bool
    owner: Ownership | None
    auto_maintain: AutoMaintain
    created: bool


class LazyLake(Lake):
    """A lake that opens its catalog and storage when one of its parts is first used."""

    def __init__(
        self,
        settle: Callable[[], LakeParts],
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
