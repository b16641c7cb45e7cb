"""Fixtures of the data plane's tests."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from awsiot import iotjobs, mqtt5_client_builder

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.data_plane import client
from jobs_sandbox.data_plane.client import DataPlane
from tests.unit.data_plane.fakes import FakeSdk, settle


@pytest.fixture
async def sdk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeSdk]:
    """A fake device SDK, without a diagnosis of real endpoints; no callback may fail."""
    fake = FakeSdk()
    monkeypatch.setattr(mqtt5_client_builder, "mtls_from_path", fake.build)
    monkeypatch.setattr(iotjobs, "IotJobsClientV2", fake.jobs_client)

    async def explain(settings: Settings, error: str) -> StartError:
        fake.on_explain()
        await settle()
        return StartError(f"explained {error!r}")

    monkeypatch.setattr(client, "explain_connection", explain)
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    yield fake
    assert failures == []


@pytest.fixture
async def data(sdk: FakeSdk) -> AsyncIterator[DataPlane]:
    """A data plane that is connected to the fake SDK."""
    async with sdk.data_plane() as data:
        yield data
