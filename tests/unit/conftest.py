"""Fixtures of all unit tests, and the profile of the property tests."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.unit.fakes import TIMEOUT, FakeRun, Screen

# A busy machine is not a failure.
settings.register_profile(
    "unit", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unit")


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """Hide the AWS settings and proxies of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, os.devnull)
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield


@pytest.fixture
async def screen() -> AsyncIterator[Screen]:
    """A console that writes to memory."""
    made = Screen()
    yield made
    await made.console.close(TIMEOUT)


@pytest.fixture
async def run(screen: Screen) -> FakeRun:
    """A session with fake planes that shows on the screen."""
    return FakeRun(screen.console)
