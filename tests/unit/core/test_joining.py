"""What a second client needs, as fields and as a block."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from jobs_sandbox.cli import parse
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.joining import join_fields
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.ui.formatting import block_text

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "very secret"}


def settings(thing: str = "Lamp", **more: object) -> Settings:
    made = Settings("127.0.0.1", "/f/cert", "/f/k ey", "us-east-1", thing, "test-1", port=8884)
    return made._replace(**more)  # type: ignore[arg-type]


@pytest.mark.parametrize("thing", ["Lamp", "-x", "--local"])
def test_the_command(thing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is printed to be pasted joins, whatever the thing is called and however the program was installed."""
    more = {"ca_file": "/f/ca", "endpoint_url": "http://h:1", "profile": "p q"}
    command = join_fields(settings(thing, **more), {})["command"]
    options = parse(shlex.split(command)[1:])
    assert options.arguments == ["127.0.0.1", "/f/cert", "/f/k ey", "us-east-1", thing]
    assert (options.port, options.ca_file, options.endpoint_url, options.profile) == (8884, *more.values())

    monkeypatch.setattr(sys, "executable", str(tmp_path / "my python"))
    command = join_fields(settings(thing), {})["command"]
    assert command.startswith(f"'{tmp_path}/my python' -m jobs_sandbox ")


def test_fields() -> None:
    """What there is is named, and what there is not is left out; it is JSON."""
    names = ["endpoint", "port", "cert", "key", "region", "thing", "client_id", "command"]
    assert list(json.loads(json.dumps(join_fields(settings(), {})))) == names
    fields = join_fields(settings(ca_file="/f/ca", endpoint_url="http://h:1"), KEYS)
    assert (fields["ca_file"], fields["endpoint_url"], fields["environment"]) == ("/f/ca", "http://h:1", KEYS)


def test_no_password() -> None:
    """The user part of an endpoint URL is shown nowhere."""
    assert "hush" not in json.dumps(join_fields(settings(endpoint_url="http://me:hush@h:1"), {}))


def test_block() -> None:
    """As text, a line each, and two to paste: the variables and the command."""
    lines = block_text(Block("Connection", join_fields(settings(), KEYS))).splitlines()
    assert lines[1:8] == [
        "endpoint: 127.0.0.1",
        "port: 8884",
        "cert: /f/cert",
        "key: /f/k ey",
        "region: us-east-1",
        "thing: Lamp",
        "client_id: test-1",
    ]
    assert lines[8] == "export AWS_ACCESS_KEY_ID=id AWS_SECRET_ACCESS_KEY='very secret'"
    assert lines[9].endswith(" 127.0.0.1 /f/cert '/f/k ey' us-east-1 Lamp --port 8884")
    assert "export" not in block_text(Block("Connection", join_fields(settings(), {})))
