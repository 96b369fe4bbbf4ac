"""Spans and metrics, as OpenTelemetry's own SDK collects them in memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import lakebed
from lakebed import aio, telemetry
from lakebed.errors import NotFoundError
from lakebed.lake.lake import Lake
from lakebed.ltm import LTMBackend

CANARY = "canary-7f3a"


class Collected:
    """What has been recorded."""

    def __init__(self, *, content: bool = False) -> None:
        self._exporter = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        meters = MeterProvider(metric_readers=[self._reader])
        telemetry.instrument(content=content, tracer_provider=tracers, meter_provider=meters)

    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended since the last look."""
        found = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return found

    def points(self, metric: str) -> list[Any]:
        """The data points of a metric."""
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric
            for point in found.data.data_points
        ]

    def text(self) -> str:
        """Everything as text."""
        spans = "".join(span.to_json() for span in self._exporter.get_finished_spans())
        data = self._reader.get_metrics_data()
        return spans + (data.to_json() if data else "")


@pytest.fixture
def collect() -> Iterator[Callable[..., Collected]]:
    yield Collected
    telemetry.uninstrument()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with lakebed.open(tmp_path / "lake") as lake:
        yield lake


def test_spans_of_a_lake(lake: Lake, collect: Callable[..., Collected]) -> None:
    collected = collect()
    lake.store("a", {"tea": "oolong"})
    lake.store_batch([{"key": "b", "value": 1}, {"key": "c", "value": 2}])
    assert len(lake.search("oolong")) == 1
    stored, batch, search = collected.spans()
    assert stored.name == f"store {lake.name}"
    assert stored.kind is SpanKind.CLIENT
    assert dict(stored.attributes or {}) == {
        "db.system.name": "lakebed",
        "db.operation.name": "store",
        "db.namespace": lake.name,
        "lakebed.value.size": 16,
        "lakebed.value.inlined": True,
    }
    assert (batch.attributes or {})["db.operation.batch.size"] == 2
    assert (search.attributes or {})["db.response.returned_rows"] == 1
    with pytest.raises(NotFoundError):
        lake.retrieve("missing")
    (failed,) = collected.spans()
    assert failed.status.status_code is StatusCode.ERROR
    assert (failed.attributes or {})["error.type"] == "not_found"
    assert not failed.events  # an exception's text may hold keys
    with lake.watch("run"):
        lake.scope("user/1").store("x", 1)
    view = lake.at("run")
    view.retrieve("a")
    names = [span.name.partition(" ")[0] for span in collected.spans()]
    assert names == ["create_snapshot", "store", "diff", "retrieve"]
    telemetry.uninstrument()
    lake.store("a", 2)
    assert collected.spans() == []
    assert not hasattr(Lake.store, "__wrapped__")


def test_metrics(tmp_path: Path, collect: Callable[..., Collected]) -> None:
    collected = collect()
    with lakebed.open(tmp_path / "lake") as lake:
        for number in range(5):
            lake.store(f"k{number}", "x", ttl=0.000_001)
        lake.store("stays", "y" * 10_000)
        with pytest.raises(NotFoundError):
            lake.retrieve("missing")
        lake.maintain()
        durations = {
            (point.attributes["db.operation.name"], point.attributes.get("error.type")): point.count
            for point in collected.points("db.client.operation.duration")
        }
        assert durations["store", None] == 6
        assert durations["retrieve", "not_found"] == 1
        items = {p.attributes["lakebed.item"]: p.value for p in collected.points("lakebed.items")}
        assert (items["entries"], items["objects"]) == (1, 1)
        sizes = {p.attributes["lakebed.item"]: p.value for p in collected.points("lakebed.size")}
        assert sizes["entry_bytes"] == 10_002
        removed = {
            p.attributes["lakebed.item"]: p.value
            for p in collected.points("lakebed.upkeep.removed")
        }
        assert removed == {"entries": 5}
    assert collected.points("lakebed.items") == []  # a closed lake has no figures


def test_waits_for_locks(lake: Lake, collect: Callable[..., Collected]) -> None:
    collected = collect()

    def work(number: int) -> None:
        for step in range(50):
            lake.store(f"k{number}", step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (point,) = collected.points("lakebed.lock.wait")
    assert point.attributes == {"lakebed.lock.name": "thread"}
    assert point.count > 0
    assert point.sum > 0


@pytest.mark.parametrize("content", [False, True])
def test_memory_of_agents(lake: Lake, collect: Callable[..., Collected], content: bool) -> None:
    collected = collect(content=content)
    memory = LTMBackend(lake)
    memory.store(f"user/{CANARY}", f"likes {CANARY}")
    memory.search(CANARY)
    assert not memory.delete("x", if_match="nonsense")["success"]
    assert (CANARY in collected.text()) is content
    spans = [span for span in collected.spans() if span.name.partition(" ")[0].endswith("_memory")]
    store, search, delete = (dict(span.attributes or {}) for span in spans)
    assert store["gen_ai.operation.name"] == "update_memory"
    assert store["gen_ai.memory.store.id"] == lake.name
    assert search["gen_ai.operation.name"] == "search_memory"
    assert (delete["gen_ai.operation.name"], delete["error.type"]) == (
        "delete_memory", "validation_error"
    )  # fmt: skip
    assert ("gen_ai.memory.query.text" in search) is content
    if content:
        assert store["gen_ai.memory.record.id"] == f"user/{CANARY}"
        assert json.loads(str(search["gen_ai.memory.records"])) == [
            {"id": f"user/{CANARY}", "content": f"likes {CANARY}"}
        ]


def test_coroutines_have_spans_of_their_own(
    tmp_path: Path, collect: Callable[..., Collected]
) -> None:
    collected = collect()

    async def main() -> None:
        async with aio.open(tmp_path / "lake") as lake:
            await lake.store("a", 1)

    asyncio.run(main())
    assert [span.name.partition(" ")[0] for span in collected.spans()] == ["store"]


def test_it_costs_nothing_when_off() -> None:
    """Nothing is imported for it."""
    code = "import lakebed, sys; print(sorted(m for m in sys.modules if 'telemetry' in m))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"
