"""Objects that convert to a table: to Arrow, and from there to pandas or polars."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from lakebed.errors import DependencyMissingError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


class Tabular(ABC):
    """Converts to an Arrow table, a pandas DataFrame or a polars DataFrame."""

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """Return a pyarrow Table with one row for each item."""

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas DataFrame with the columns of `to_arrow`.

        Raises DependencyMissingError if pandas is not installed.
        """
        require("pandas")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> pl.DataFrame:
        """Return a polars DataFrame with the columns of `to_arrow`.

        Raises DependencyMissingError if polars is not installed.
        """
        require("polars")
        import polars as pl

        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame


def require(library: str) -> None:
    """Raise DependencyMissingError, with the pip command, if a library is not installed."""
    from importlib.util import find_spec  # a first store must not load it

    if find_spec(library) is None:
        raise DependencyMissingError(
            f"this needs the package {library}: pip install 'lakebed[{library}]'"
        )
