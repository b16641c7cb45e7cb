"""A control plane before a server that a test scripts, with settings of AWS from the test alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs_sandbox.control_plane.client import ControlPlane
from jobs_sandbox.core.errors import RequestFailed
from jobs_sandbox.core.settings import Settings
from tests.support.servers.control import Control

SETTINGS = Settings("endpoint", "cert", "key", "us-east-1", "T", "test-1", timeout=2)
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
Connect = Callable[..., ControlPlane]
Configure = Callable[..., None]


@pytest.fixture(autouse=True)
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configure:
    """Writes ~/.aws/config and sets environment variables; without a file, there are keys."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def write(config: str | bytes = "", **variables: str) -> None:
        """Without a file, the keys stay."""
        if config:
            content = config.encode() if isinstance(config, str) else config
            (tmp_path / "config").write_bytes(content)
            for name in KEYS:
                monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    write(**KEYS)
    return write


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

    def make(url: str | None = service.url, **settings: Any) -> ControlPlane:
        notice = settings.pop("notice", print)
        return ControlPlane(SETTINGS._replace(endpoint_url=url, **settings), notice)

    return make


def failure(call: Callable[[], object]) -> RequestFailed:
    """How a call fails."""
    with pytest.raises(RequestFailed) as caught:
        call()
    return caught.value


def words(error: RequestFailed) -> str:
    """All that is shown of an error, and its kind."""
    return f"{error.message} | {error.cause} | {error.next_step} | {type(error).__name__}"
