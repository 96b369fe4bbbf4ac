"""What can be shown as a table: as Arrow, and from there as pandas or polars."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from lakebed.errors import DependencyMissingError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


class Tabular(ABC):
    """Gives itself as an Arrow table, a pandas DataFrame or a polars DataFrame."""

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """All of it as an Arrow table, one row an item."""

    def to_pandas(self) -> pd.DataFrame:
        """All of it as a pandas DataFrame, with the columns of `to_arrow`.

        Raises DependencyMissingError if pandas is not installed.
        """
        require("pandas")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> pl.DataFrame:
        """All of it as a polars DataFrame, with the columns of `to_arrow`.

        Raises DependencyMissingError if polars is not installed.
        """
        require("polars")
        import polars as pl

        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame


def require(library: str) -> None:
    """Raise DependencyMissingError, with the pip command, if a library is not installed."""
    from importlib.util import find_spec  # not for a first store

    if find_spec(library) is None:
        raise DependencyMissingError(
            f"this takes {library}, which is not installed: pip install 'lakebed[{library}]'"
        )
