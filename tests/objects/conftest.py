"""The services of buckets, and a bad network before them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.buckets import SCHEMES, Service
from tests.proxy import FaultyProxy, faulty_proxy


@pytest.fixture(params=SCHEMES)
def service(request: pytest.FixtureRequest) -> Service:
    return SCHEMES[request.param], request.getfixturevalue(request.param)


@pytest.fixture
def proxy(service: Service) -> Iterator[FaultyProxy]:
    with faulty_proxy(service[1].port) as proxy:
        yield proxy
