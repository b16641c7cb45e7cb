"""What a second client needs to connect."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from jobs_sandbox.cli import parse
from jobs_sandbox.core.settings import Settings, connection_fields

SETTINGS = Settings("127.0.0.1", "/f/cert", "/f/k ey", "us-east-1", "Lamp", "test-1", port=8884)


@pytest.mark.parametrize("thing", ["Lamp", "-x", "--local"])
def test_command(thing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command line can be pasted, whatever the thing's name, and also without an installed script."""
    more = {"ca_file": "/f/ca", "endpoint_url": "http://h:1", "profile": "p q"}
    settings = SETTINGS._replace(thing=thing, **more)  # type: ignore[arg-type] # texts, all of them
    options = parse(shlex.split(connection_fields(settings)["command"])[1:])
    assert options.arguments == ["127.0.0.1", "/f/cert", "/f/k ey", "us-east-1", thing]
    assert (options.port, options.ca_file, options.endpoint_url, options.profile) == (
        8884,
        *more.values(),
    )

    monkeypatch.setattr(sys, "executable", str(tmp_path / "my python"))
    assert connection_fields(SETTINGS)["command"].startswith(
        f"'{tmp_path}/my python' -m jobs_sandbox "
    )


def test_fields() -> None:
    """Settings that are not set are left out, and everything is JSON."""
    names = ["endpoint", "port", "cert", "key", "region", "thing", "client_id", "command"]
    assert list(json.loads(json.dumps(connection_fields(SETTINGS)))) == names
    fields = connection_fields(SETTINGS._replace(environment={"AWS_ACCESS_KEY_ID": "id"}))
    assert fields["environment"] == {"AWS_ACCESS_KEY_ID": "id"}


def test_no_password() -> None:
    """The user part of an endpoint URL is not shown."""
    settings = SETTINGS._replace(endpoint_url="http://me:hush@h:1")
    assert "hush" not in json.dumps(connection_fields(settings)) + settings.control_plane
