"""A session on a real account, or on ``--local``, as the environment says; and its findings."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import boto3
import pytest

from tests.support.aws.account import Device
from tests.support.drivers.raw_device import RawDevice

_FINDINGS: dict[str, str] = {}


class Aws(NamedTuple):
    """Where AWS IoT is; what `RawDevice` connects to."""

    endpoint: str
    port: int
    ca_file: str | None
    region: str
    device: Device

    def arguments(self) -> list[str]:
        """The command line of the program."""
        options = ["--port", str(self.port)] + (["--ca-file", self.ca_file] if self.ca_file else [])
        return [
            self.endpoint,
            self.device.cert,
            self.device.key,
            self.region,
            self.device.thing,
            *options,
        ]


@pytest.fixture(scope="session")
def aws() -> Aws:
    """What the environment names: see docs/fidelity.md."""
    given = {
        name: os.environ[f"IOT_{name}"] for name in ("ENDPOINT", "CERT", "KEY", "REGION", "THING")
    }
    device = Device(given["THING"], given["CERT"], given["KEY"], "")
    port = int(os.environ.get("IOT_PORT", "8883"))
    return Aws(given["ENDPOINT"], port, os.environ.get("IOT_CA_FILE"), given["REGION"], device)


@pytest.fixture(scope="session")
def iot(aws: Aws) -> Any:
    """The control plane, with boto3's own credentials."""
    return boto3.client("iot", region_name=aws.region)


class Jobs:
    """Jobs for the thing, all deleted in the end."""

    def __init__(self, iot: Any, thing: str) -> None:
        self._iot = iot
        self._arn = iot.describe_thing(thingName=thing)["thingArn"]
        self._made: list[str] = []

    def create(self, **options: Any) -> str:
        """A job with an id that no other has; its id."""
        job_id: str = options.pop("jobId", f"sandbox-{os.urandom(6).hex()}")
        self._made.append(job_id)
        self._iot.create_job(
            **{"jobId": job_id, "targets": [self._arn], "document": "{}", **options}
        )
        return job_id

    def delete_all(self) -> None:
        """Delete what is left."""
        for job_id in self._made:
            try:
                self._iot.delete_job(jobId=job_id, force=True)
            except (
                self._iot.exceptions.ResourceNotFoundException,
                self._iot.exceptions.InvalidStateTransitionException,
            ):
                continue  # deleted, or being deleted


@pytest.fixture
def device(aws: Aws, iot: Any) -> Iterator[RawDevice]:
    """The connected device."""
    with RawDevice(aws, aws.device) as device:
        yield device


@pytest.fixture
def jobs(aws: Aws, iot: Any) -> Iterator[Jobs]:
    """Makes jobs, and deletes them in the end."""
    jobs = Jobs(iot, aws.device.thing)
    yield jobs
    jobs.delete_all()


@pytest.fixture
def found(request: pytest.FixtureRequest) -> Any:
    """Take down what was found out; it is printed in the end."""

    def found(finding: str) -> None:
        _FINDINGS[request.node.name] = finding

    return found


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was found out."""
    for name, finding in _FINDINGS.items():
        terminalreporter.write_line(f"{name}: {finding}")
