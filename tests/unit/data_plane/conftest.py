"""Fixtures of the data plane's tests."""

import pytest
from awsiot import iotjobs, mqtt5_client_builder

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.data_plane import client
from tests.unit.data_plane.fakes import FakeListener, FakeSdk


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> FakeSdk:
    """The device SDK is a fake one, and the way to the endpoint is not looked into."""
    fake = FakeSdk()
    monkeypatch.setattr(mqtt5_client_builder, "mtls_from_path", fake.build)
    monkeypatch.setattr(iotjobs, "IotJobsClientV2", fake.jobs_client)

    async def explain(settings: Settings, word: str) -> StartError:
        return StartError(f"explained {settings.endpoint} {word}")

    monkeypatch.setattr(client, "explain_connection", explain)
    return fake


@pytest.fixture
def listener() -> FakeListener:
    return FakeListener()
