"""Suites with parts for features, some of which a tested system may declare it does not have."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import ClassVar

import pytest


class GapSuite(ABC):
    """A suite whose parts each test one feature.

    A test class inherits the parts, and declares as gaps the features that its system does not
    have. The tests of a gap must fail. If one passes, the suite fails until the gap is removed.
    """

    FEATURE: ClassVar[str]
    """The feature that a part of the suite tests. Each part names its own."""

    gaps: ClassVar[Mapping[str, str]] = {}
    """The features that the system does not have, each with the reason. `features` lists all."""

    @classmethod
    def features(cls) -> set[str]:
        """Return the names of all features that the suite tests."""
        return {vars(part)["FEATURE"] for part in cls.__mro__ if "FEATURE" in vars(part)}

    @pytest.fixture(autouse=True)
    def _expect_gaps(self, request: pytest.FixtureRequest) -> None:
        name = request.function.__name__
        part = next(part for part in type(self).__mro__ if name in vars(part))
        feature = vars(part).get("FEATURE", "")
        if feature in self.gaps:
            request.applymarker(pytest.mark.xfail(reason=self.gaps[feature], strict=True))

    def test_gaps_are_features(self) -> None:
        assert set(self.gaps) <= self.features()
