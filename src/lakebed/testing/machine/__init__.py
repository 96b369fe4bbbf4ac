"""A Hypothesis state machine. Any sequence of calls must change a lake and a plain dictionary in
the same way."""

from __future__ import annotations

from lakebed.testing.machine.batches import BatchRules
from lakebed.testing.machine.cleaning import CleaningRules
from lakebed.testing.machine.entries import EntryRules

__all__ = ["LakeMachine"]


class LakeMachine(EntryRules, BatchRules, CleaningRules):
    """The state machine. Subclass it, define how the lake is opened, and give pytest its
    `TestCase`.

    class MyMachine(LakeMachine):
        def open_lake(self, folder, clock):
            return lakebed.testing.open_lake(folder, clock=clock)

    TestMyMachine = MyMachine.TestCase
    """
