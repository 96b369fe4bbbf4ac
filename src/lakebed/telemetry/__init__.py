"""Traces and metrics of lakes, with OpenTelemetry.

from lakebed import telemetry

telemetry.instrument()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakebed.errors import DependencyMissingError

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["instrument", "uninstrument"]


def instrument(
    *,
    content: bool = False,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Trace and measure the calls of all lakes and LTM backends of this process from now on.

    Spans and metrics follow OpenTelemetry's conventions for databases. Those of LTM backends also
    follow the conventions for the memory of agents (`gen_ai.memory.*`). The guide *Observability*
    lists them. Call `instrument` again to change the settings.

    `content`: also record what can be private: keys, queries, and the records that agents store and
    find. `tracer_provider`, `meter_provider`: where spans and metrics go; OpenTelemetry's global
    providers if left out.

    Raises DependencyMissingError without the extra `otel`.
    """
    try:
        from lakebed.telemetry.instruments import Instruments
        from lakebed.telemetry.wrapping import wrap_all
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise DependencyMissingError(
            "telemetry needs OpenTelemetry: pip install 'lakebed[otel]'"
        ) from error
    uninstrument()
    wrap_all(Instruments(tracer_provider, meter_provider, content=content))


def uninstrument() -> None:
    """Stop tracing and measuring. Does nothing if `instrument` was not called."""
    from lakebed.telemetry.wrapping import unwrap_all

    unwrap_all()
