"""The settings of one run, and what a second client needs to connect in the same way."""

import re
import shlex
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from jobs_sandbox.core.redaction import without_user


def new_client_id(owner: str = "") -> str:
    """A client id that the shipped device policy allows: ``test-<owner><uuid4>``."""
    return f"test-{owner}{uuid.uuid4()}"


def is_new_client_id(client_id: str) -> bool:
    """Whether it is one of `new_client_id` without an owner: that of a prompt of this program."""
    return re.fullmatch("test-[0-9a-f-]{36}", client_id) is not None


class Settings(NamedTuple):
    """One run's settings.

    Attributes:
        endpoint, port: of MQTT.
        cert, key, ca_file: paths of PEM files; without a CA file, the system's trust store counts.
        region: the AWS region.
        thing: the thing's name.
        client_id: the MQTT client id.
        profile: the AWS profile for the control plane; None: boto3 chooses.
        endpoint_url: the control plane's URL; None: boto3 chooses.
        timeout: seconds that connecting and each request may take.
        environment: with ``--local``, the operator's credentials, region and endpoint as ``AWS_…``
            variables. They are used instead of everything that boto3 would find. Otherwise empty.
        device_cert, device_key: the same as ``cert`` and ``key`` for a second client, such as the
            device under test; None: it uses the same ones.

    """

    endpoint: str
    cert: str
    key: str
    region: str
    thing: str
    client_id: str
    port: int = 8883
    ca_file: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    timeout: float = 5
    environment: Mapping[str, str] = MappingProxyType({})
    device_cert: str | None = None
    device_key: str | None = None

    @property
    def control_plane(self) -> str:
        """The control plane as messages name it: its URL without a user part, or AWS's own."""
        return without_user(self.endpoint_url) if self.endpoint_url else f"AWS IoT in {self.region}"


def connection_fields(settings: Settings) -> dict[str, Any]:
    """What a second client needs.

    Returns:
        ``endpoint``, ``port``, ``ca_file``, ``cert``, ``key``, ``region``, ``thing``, ``client_id``
        (this client's; a second one needs another), ``endpoint_url`` and ``environment``, as far as
        they are set, and ``command``: a command line of this program to paste.

    """
    endpoint_url = settings.endpoint_url and without_user(settings.endpoint_url)
    options = {
        "--port": str(settings.port),
        "--ca-file": settings.ca_file,
        "--profile": settings.profile,
        "--endpoint-url": endpoint_url,
    }
    cert = settings.device_cert or settings.cert
    key = settings.device_key or settings.key
    arguments = [settings.endpoint, cert, key, settings.region]
    arguments += [word for name, value in options.items() if value for word in (name, value)]
    if settings.thing.startswith("-"):
        arguments.append("--")  # so that the name is not read as an option
    fields = {
        "endpoint": settings.endpoint,
        "port": settings.port,
        "ca_file": settings.ca_file,
        "cert": cert,
        "key": key,
        "region": settings.region,
        "thing": settings.thing,
        "client_id": settings.client_id,
        "endpoint_url": endpoint_url,
        "environment": dict(settings.environment),
        "command": f"{_this_program()} {shlex.join([*arguments, settings.thing])}",
    }
    return {name: value for name, value in fields.items() if value}


def _this_program() -> str:
    """The command that runs this program from any folder, also outside its virtual environment."""
    script = Path(sys.executable).with_name("jobs-sandbox")
    return (
        shlex.quote(str(script))
        if script.exists()
        else f"{shlex.quote(sys.executable)} -m jobs_sandbox"
    )
