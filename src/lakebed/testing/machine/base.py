"""The lake and the model that a state machine drives side by side."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, TypeVar

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lakebed.clock import to_micros
from lakebed.errors import ConflictError
from lakebed.lake.entries.reading import Reading
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.model import LakeModel, identity

T = TypeVar("T")
U = TypeVar("U")


class MachineBase(RuleBasedStateMachine):
    """Opens and closes the lake and the model, and compares them after every rule.

    Rules are in mixins, one file for each capability. Each rule makes the same call on `self.model`
    and `self.lake` and compares the answers. `check` compares a view of the lake with an earlier
    copy of the model.
    """

    REOPENS: ClassVar[bool] = True
    """Whether a folder still has its lake when it is opened again."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self._folder = TemporaryDirectory(prefix="lakebed-machine-")
        self.model = LakeModel(self.clock)
        self.lake = self.open_lake(Path(self._folder.name), self.clock)

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        """Open the lake in this folder with this clock. Subclasses must implement it."""
        raise NotImplementedError("a subclass of LakeMachine must define open_lake")

    def teardown(self) -> None:
        self.lake.close()
        self._folder.cleanup()

    @invariant()
    def agrees(self) -> None:
        self.check(self.lake, self.model)

    @invariant()
    def counts(self) -> None:
        visible, stats = self.model.visible(), self.lake.stats()
        assert stats.entries == len(visible)
        assert stats.objects >= len({identity(kept.value) for kept in visible.values()})

    @precondition(lambda self: self.REOPENS)
    @rule()
    def reopen(self) -> None:
        self.lake.close()
        self.lake = self.open_lake(Path(self._folder.name), self.clock)

    def check(self, lake: Reading, model: LakeModel, at: int | None = None) -> None:
        """Check that a lake or a view shows what a model shows now, or at the time `at`."""
        visible = model.visible(at)
        found = {entry.key: entry for entry in lake.list()}
        assert list(found) == list(lake) == list(visible)
        assert len(lake) == len(visible)
        for key, kept in visible.items():
            entry = found[key]
            assert identity(entry.value) == identity(kept.value), key
            assert identity(entry.metadata) == identity(kept.metadata), key
            assert _micros(entry.expires_at) == kept.expires_at, key
            assert to_micros(entry.created_at) == kept.created_at, key

    def both(self, on_model: Callable[[], T], on_lake: Callable[[], U]) -> tuple[T, U] | None:
        """Make the same call on the model and the lake, and return both answers.

        If both raise ConflictError, return None. Neither may have changed then.
        """
        before = self.model.copy()
        try:
            expected = on_model()
        except ConflictError:
            self.model.entries = before.entries
            with pytest.raises(ConflictError):
                on_lake()
            return None
        return expected, on_lake()


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)
