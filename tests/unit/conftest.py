"""Fixtures that end what a test began."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.unit.fakes import Screen, Stage

# A busy machine is no failure.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


@pytest.fixture
def screen() -> Iterator[Screen]:
    """A console that writes to memory."""
    made = Screen()
    yield made
    made.console.close()


@pytest.fixture
def stage(screen: Screen) -> Stage:
    """A session with fake planes."""
    return Stage(screen)
