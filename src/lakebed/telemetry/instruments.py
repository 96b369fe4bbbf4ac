"""The spans and metrics, and their names.

The names are those of OpenTelemetry's semantic conventions for databases
(https://opentelemetry.io/docs/specs/semconv/database/) and for the memory of agents
(https://github.com/open-telemetry/semantic-conventions-genai, pull request 140). Names that the
conventions do not have begin with `lakebed.`.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from lakebed.errors import LakebedError
from lakebed.lake.lake import Lake

_NAME = "lakebed"
_SECONDS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60)
_SIZES = ("entries", "expired", "objects", "packs", "snapshots", "history")
_BYTES = ("entry_bytes", "object_bytes", "inline_bytes", "deduplicated_bytes")

Attributes = Mapping[str, str | int | bool]


class Instruments:
    """The tracer and the metrics of one call of `instrument`."""

    def __init__(
        self, tracers: TracerProvider | None, meters: MeterProvider | None, *, content: bool
    ) -> None:
        self.content = content
        self.lakes: weakref.WeakSet[Lake] = weakref.WeakSet()
        self._stats = Lake.stats  # the method before it was traced
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracers)
        meter = metrics.get_meter(_NAME, meter_provider=meters)
        self._duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of the calls of a lake.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._waits = meter.create_histogram(
            "lakebed.lock.wait",
            unit="s",
            description="Time that a call waited for a lock or a connection.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._cache = meter.create_counter(
            "lakebed.cache.requests", unit="{request}", description="Lookups in a cache."
        )
        self._upkeep = meter.create_counter(
            "lakebed.upkeep.removed", unit="{item}", description="What upkeep has removed."
        )
        meter.create_observable_gauge(
            "lakebed.items",
            [self._observe_items],
            unit="{item}",
            description="What open lakes hold, in numbers.",
        )
        meter.create_observable_gauge(
            "lakebed.size",
            [self._observe_bytes],
            unit="By",
            description="What open lakes hold, in bytes.",
        )

    @contextmanager
    def operation(self, name: str, lake: str, about: Attributes) -> Iterator[Span]:
        """Trace and measure one call of a lake."""
        shared = {"db.system.name": _NAME, "db.operation.name": name, "db.namespace": lake}
        begun = time.perf_counter()
        outcome = dict(shared)
        with self._tracer.start_as_current_span(
            f"{name} {lake}",
            kind=SpanKind.CLIENT,
            attributes={**shared, **about},
            record_exception=False,  # the error's text may contain keys
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                outcome["error.type"] = kind_of(error)
                failed(span, outcome["error.type"])
                raise
            finally:
                self._duration.record(time.perf_counter() - begun, outcome)

    @contextmanager
    def memory(self, operation: str, store: str, about: Attributes) -> Iterator[Span]:
        """Trace one call of an agent's memory."""
        with self._tracer.start_as_current_span(
            f"{operation} {store}",
            kind=SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": _NAME,
                "gen_ai.memory.store.id": store,
                **about,
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                failed(span, kind_of(error))
                raise

    def observe(self, name: str, value: float, of: str) -> None:
        """Record an observation that a lake reports from inside. See `lakebed.observing`."""
        if name == "cache":
            self._cache.add(1, {"lakebed.cache.name": of, "lakebed.cache.hit": bool(value)})
        else:
            self._waits.record(value, {"lakebed.lock.name": of})

    def count_upkeep(self, lake: str, removed: Mapping[str, int]) -> None:
        """Count what a call of upkeep has removed, by kind."""
        for what, number in removed.items():
            if number:
                self._upkeep.add(number, {"db.namespace": lake, "lakebed.item": what})

    def _observe_items(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._observe(_SIZES)

    def _observe_bytes(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._observe(_BYTES)

    def _observe(self, names: Iterable[str]) -> Iterator[Observation]:
        for lake in list(self.lakes):
            if "name" not in vars(lake):  # the lake has not connected: do not connect only for this
                continue
            try:
                found = self._stats(lake)
            except LakebedError:  # the lake was closed or cannot be reached, so there is no figure
                continue
            for name in names:
                yield Observation(
                    getattr(found, name), {"db.namespace": lake.name, "lakebed.item": name}
                )


def kind_of(error: Exception) -> str:
    """Return the `error_type` of an error of Lakebed, or the class name of any other error."""
    return error.error_type if isinstance(error, LakebedError) else type(error).__name__


def failed(span: Span, kind: str) -> None:
    """Mark a span as failed. The error's text is left out, because it may contain keys."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
