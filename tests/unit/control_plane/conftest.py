"""A control plane of the program's before one that a test scripts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs_sandbox.control_plane import client
from jobs_sandbox.control_plane.client import ControlPlane
from jobs_sandbox.core.settings import Settings
from tests.support.control import ARN, Control

SETTINGS = Settings("endpoint", "cert", "key", "us-east-1", "T", "test-1", timeout=2)
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
Connect = Callable[..., ControlPlane]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same credentials for every test that gives none."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second attempt comes at once, not up to a second after the first."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Nothing of a session before, no credentials in the environment, and the path of an own ~/.aws/config."""
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client._session.cache_clear()
    yield tmp_path / "config"
    client._session.cache_clear()


@pytest.fixture(scope="module")
def _service() -> Iterator[Control]:
    with Control() as control:
        yield control


@pytest.fixture
def service(_service: Control) -> Control:
    """AWS IoT, as far as this program uses it; it knows the thing T."""
    _service.reset("T")
    return _service


@pytest.fixture
def connect(service: Control) -> Connect:
    """Makes a control plane whose endpoint is the service, or another."""

    def make(url: str = service.url, **settings: Any) -> ControlPlane:
        made = ControlPlane(SETTINGS._replace(endpoint_url=url)._replace(**settings))
        made._thing_arn = f"{ARN}:thing/T"
        return made

    return make


@pytest.fixture(scope="module")
def _plane(_service: Control) -> ControlPlane:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        return ControlPlane(SETTINGS._replace(endpoint_url=_service.url))


@pytest.fixture
def plane(_plane: ControlPlane, service: Control) -> ControlPlane:
    """A control plane before the service."""
    _plane._thing_arn = f"{ARN}:thing/T"
    return _plane
