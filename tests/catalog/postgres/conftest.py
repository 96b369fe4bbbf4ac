"""The lakes that clients tidy."""

from collections.abc import Iterator

import pytest

from tests.catalog.postgres.tidied import World


@pytest.fixture(params=["postgres_18", "postgres_15"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(request.getfixturevalue(request.param))
    with world.lake:
        yield world
    world.server.execute(f'DROP SCHEMA "{world.schema}" CASCADE')
