"""Contests: what takes part, rounds taken in turns, medians and ratios."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

OURS = "lakebed"

Round = Callable[[int], float | None]
"""One round, given its number. What it returns counts; if that is None, the time that it took."""


class Room(NamedTuple):
    """Where a benchmark may write, and how large it shall be (1 is full size)."""

    folder: Path
    scale: float

    def count(self, full: int, least: int = 20) -> int:
        """A number of documents at this scale."""
        return max(least, round(full * self.scale))


class Contest(NamedTuple):
    """One comparison. `contenders` holds `OURS` and whom it is compared with.

    `operations`: how many of what is measured one round does; figures are given for one.
    `bars`: the least ratio, their figure through ours, by contender.
    `unit`: "µs" or "ms" for times; for anything else rounds return their figure themselves.
    """

    title: str
    contenders: Mapping[str, Round]
    bars: Mapping[str, float] = {}
    operations: int = 1
    durability: str = "normal"
    unit: str = "µs"
    rounds: int = 11
    note: str = ""


class Result(NamedTuple):
    """What a contest gave: a figure for one operation and the ratio to ours, by contender."""

    contest: Contest
    figures: dict[str, float]
    ratios: dict[str, float]

    def passed(self, name: str) -> bool | None:
        """Whether the bar of a contender was reached; None if there is none."""
        bar = self.contest.bars.get(name)
        return None if bar is None else self.ratios[name] >= bar


Benchmark = Callable[[Room], Iterator[Contest]]
BENCHMARKS: dict[str, Benchmark] = {}


def benchmark(function: Benchmark) -> Benchmark:
    """Register a benchmark under its name: a generator that sets up, yields contests, cleans up."""
    BENCHMARKS[function.__name__.replace("_", "-")] = function
    return function


def run(contest: Contest) -> Result:
    """Run the rounds in turns, each contender first as often as the others.

    The ratio is the median of the rounds' ratios: the two of a round saw the same moment.
    """
    names = list(contest.contenders)
    measured: dict[str, list[float]] = {name: [] for name in names}
    for number in range(contest.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            measured[name].append(_measure(contest.contenders[name], number))
    factor = {"µs": 1e6, "ms": 1e3}.get(contest.unit, 1.0) / contest.operations
    figures = {name: median(values) * factor for name, values in measured.items()}
    ours = measured[OURS]
    ratios = {
        name: median(_ratio(theirs, own) for theirs, own in zip(values, ours, strict=True))
        for name, values in measured.items()
        if name != OURS
    }
    return Result(contest, figures, ratios)


def _ratio(theirs: float, own: float) -> float:
    """Both may be counts of what did not happen."""
    if own:
        return theirs / own
    return math.inf if theirs else 1.0


def _measure(play: Round, number: int) -> float:
    gc.collect()
    begin = time.perf_counter()
    figure = play(number)
    return time.perf_counter() - begin if figure is None else figure
