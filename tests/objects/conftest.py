"""The servers that speak the buckets' protocols, and a bad network before them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.buckets import SCHEMES, Service, azure, gcs, guarded_s3, s3
from tests.proxy import FaultyProxy, faulty_proxy

__all__ = ["azure", "gcs", "guarded_s3", "s3"]


@pytest.fixture(params=SCHEMES)
def service(request: pytest.FixtureRequest) -> Service:
    return SCHEMES[request.param], request.getfixturevalue(request.param)


@pytest.fixture
def proxy(service: Service) -> Iterator[FaultyProxy]:
    with faulty_proxy(service[1].port) as proxy:
        yield proxy
