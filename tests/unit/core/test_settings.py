"""What a second client needs to connect."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from jobs_sandbox.cli import parse
from jobs_sandbox.core.settings import connection_fields, new_client_id
from tests.unit.fakes import SETTINGS


@pytest.mark.parametrize("thing", ["Lamp", "-x", "--local"])
def test_command(thing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command line can be pasted, for each thing name, also without an installed script."""
    settings = SETTINGS._replace(key="/k ey", port=1, ca_file="/ca", profile="p q", thing=thing)
    options = parse(shlex.split(connection_fields(settings)["command"])[1:])
    assert options.arguments == ["localhost", "/cert", "/k ey", "us-east-1", thing]
    assert (options.port, options.ca_file, options.profile) == (1, "/ca", "p q")

    monkeypatch.setattr(sys, "executable", str(tmp_path / "my python"))
    command = connection_fields(settings)["command"]
    assert command.startswith(f"'{tmp_path}/my python' -m jobs_sandbox ")


def test_fields() -> None:
    """Settings that are not set are left out, and everything is JSON."""
    names = ["endpoint", "port", "cert", "key", "region", "thing", "client_id", "command"]
    assert list(json.loads(json.dumps(connection_fields(SETTINGS)))) == names
    environment = {"AWS_ACCESS_KEY_ID": "id"}
    fields = connection_fields(SETTINGS._replace(environment=environment))
    assert fields["environment"] == environment


def test_no_password() -> None:
    """The endpoint URL is shown without its user part."""
    settings = SETTINGS._replace(endpoint_url="http://me:hush@h:1")
    fields = connection_fields(settings)
    assert "--endpoint-url http://…@h:1" in fields["command"].replace("'", "")
    assert "hush" not in str(fields) + settings.control_plane


def test_client_id() -> None:
    """The shipped device policy allows the client ids that are made."""
    assert new_client_id("device-").startswith("test-device-")
