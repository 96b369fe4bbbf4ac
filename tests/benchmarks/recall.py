"""How many of the turns that answer a question are among the first ten hits.

`python -m tests.benchmarks.recall [--embedder minilm|e5|none] [--weights previous=0.3,next=0.1]`

The conversations are eight of the longest of chitchat-dataset 0.9.0 (MIT; two real people each, 361
to 564 turns; the extra `bench`). The 189 questions, and the list of the turns that answer them, are
ours: recall_questions.txt says how they were made. The public API is asked each question with the
prefix of its conversation, as an application with many conversations does.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import statistics
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

import lakebed

_HITS = 10
_QUESTIONS = Path(__file__).parent / "recall_questions.txt"
_NAMES = (
    ("Anna", "Ben"),
    ("Clara", "David"),
    ("Emma", "Felix"),
    ("Grace", "Henry"),
    ("Iris", "Jonas"),
    ("Karin", "Lukas"),
    ("Maria", "Noah"),
    ("Olga", "Peter"),
)
"""The speakers of each conversation; the data set has numbers for them."""


class Question(NamedTuple):
    """A question, the prefix of its conversation, and the keys of the turns that answer it."""

    text: str
    prefix: str
    evidence: frozenset[str]


class Kind(NamedTuple):
    """A way to search."""

    mode: str
    thread: bool


_KINDS = {
    "text": Kind("text", False),
    "text, thread": Kind("text", True),
    "vector": Kind("vector", False),
    "hybrid": Kind("hybrid", False),
    "hybrid, thread": Kind("hybrid", True),
}


def questions() -> Iterable[tuple[str, list[Question]]]:
    """The conversations that are asked about, with their questions."""
    found = dict[str, list[Question]]()
    conversation, names = "", _NAMES[0]
    for line in _QUESTIONS.read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            conversation = line.removeprefix("= ")
            names = _NAMES[len(found)]
            found[conversation] = []
        elif not line.startswith("#"):
            turns, _, text = line.partition(" | ")
            prefix = f"conv/{conversation}/"
            evidence = frozenset(f"{prefix}{int(turn):04}" for turn in turns.split())
            asked = text.format(A=names[0], B=names[1])
            found[conversation].append(Question(asked, prefix, evidence))
    return found.items()


def turns(messages: list[list[dict[str, str]]], prefix: str, names: tuple[str, str]) -> Any:
    """The entries of a conversation: all that one says before the other does is one turn."""
    first = messages[0][0]["sender"]
    for number, group in enumerate(messages, 1):
        said = " ".join(message["text"] for message in group)
        speaker = names[0] if group[0]["sender"] == first else names[1]
        yield {"key": f"{prefix}{number:04}", "value": {"speaker": speaker, "text": said}}


def fill(lake: lakebed.Lake) -> list[Question]:
    """Store the conversations; what is asked about them."""
    file = importlib.resources.files("chitchat_dataset") / "dataset.json"
    every = json.loads(file.read_text(encoding="utf-8"))
    asked = []
    for names, (conversation, some) in zip(_NAMES, questions(), strict=True):
        prefix = f"conv/{conversation}/"
        lake.store_batch(turns(every[conversation]["messages"], prefix, names))
        asked += some
    return asked


def recall(
    lake: lakebed.Lake, asked: Iterable[Question], kind: Kind, weights: Mapping[str, float]
) -> list[float]:
    """For each question, the share of the turns that answer it which the first hits hold."""
    thread = (dict(weights) or True) if kind.thread else False
    shares = []
    for question in asked:
        hits = lake.search(
            question.text,
            prefix=question.prefix,
            limit=_HITS,
            thread=thread,
            mode=kind.mode,
        )
        found = question.evidence.intersection(hit.key for hit in hits)
        shares.append(len(found) / len(question.evidence))
    return shares


def show(results: Mapping[str, list[float]], console: Console) -> None:
    """Print the mean of each way to search, with its standard error."""
    table = Table()
    table.add_column("")
    table.add_column(f"recall@{_HITS}", justify="right")
    table.add_column("standard error", justify="right")
    for name, shares in results.items():
        error = statistics.stdev(shares) / len(shares) ** 0.5
        table.add_row(name, f"{statistics.mean(shares):.3f}", f"{error:.3f}")
    console.print(table)


def main() -> None:
    """Measure every way to search that the embedder allows."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recall", description=__doc__)
    parser.add_argument("--embedder", choices=("minilm", "e5", "none"), default="minilm")
    parser.add_argument("--weights", default="", help="of threads: previous=0.3,next=0.1")
    given = parser.parse_args()
    embedder = None if given.embedder == "none" else given.embedder
    pairs = (pair.partition("=") for pair in given.weights.split(",") if pair)
    weights = {name: float(weight) for name, _, weight in pairs}
    console = Console()
    with tempfile.TemporaryDirectory() as folder, lakebed.open(folder, embedder=embedder) as lake:
        asked = fill(lake)
        console.print(f"{len(asked)} questions on {len(lake):,} turns, embedder {given.embedder}")
        kinds = {
            name: kind
            for name, kind in _KINDS.items()
            if embedder is not None or kind.mode == "text"
        }
        show({name: recall(lake, asked, kind, weights) for name, kind in kinds.items()}, console)


if __name__ == "__main__":
    main()
