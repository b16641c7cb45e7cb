"""`diagnose-job` names the true reason of situations that are made for real, with ``--local``."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from jobs_sandbox.local.policies import shipped_policy
from tests.support.aws.account import Account, Device
from tests.support.drivers.program import Program
from tests.support.drivers.raw_device import RawDevice

THING, OTHER = "SandboxThing", "Other"
ARN = "arn:aws:iot:us-east-1:000000000000:"
SITUATIONS: dict[str, Callable[["Sandbox"], str]] = {}


class Sandbox:
    """The program with --local, the root of its AWS IoT, and devices; a context manager.

    Attributes:
        account: root, which makes jobs.

    """

    def __init__(self, folder: Path) -> None:
        policy = json.loads(shipped_policy("device-policy"))
        policy["Statement"].append(
            {"Effect": "Deny", "Action": "iot:Publish", "Resource": "*/jobs/Forbidden/update"}
        )
        file = folder / "policy.json"
        file.write_text(json.dumps(policy))
        options = ["--output", "json", "--timeout", "30", "--policy", str(file)]
        self._stack = ExitStack()
        self._program = self._stack.enter_context(Program(["--local", THING, *options]))
        self._program.started()
        where: Any = SimpleNamespace(**json.loads(self._program.stderr.splitlines()[0]))
        self._where = where
        self.account = Account(where, folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def diagnose(self, job_id: str) -> dict[str, Any]:
        """The body of the block that diagnose-job prints."""
        before = len(self._blocks())
        self._program.send(f"diagnose-job {job_id}")
        self._program.wait_for(lambda: len(self._blocks()) > before)
        body: dict[str, Any] = self._blocks()[-1]["body"]
        return body

    def _blocks(self) -> list[dict[str, Any]]:
        whole = self._program.stdout.split("\n")[:-1]
        return [block for block in map(json.loads, whole) if block["type"] == "Diagnosis"]

    def device(self, *, client_id: str = "", listens: bool = True) -> RawDevice:
        """The device under test, connected until the end."""
        certificate = Device(THING, self._where.cert, self._where.key, "")
        device = RawDevice(self._where, certificate, client_id=client_id, listens=listens)
        return self._stack.enter_context(device)

    def create_job(self, job_id: str = "Job1", *things: str, **fields: Any) -> str:
        """A job for this thing, or for others; its executions may come a moment later."""
        targets = [f"{ARN}thing/{thing}" for thing in things or (THING,)]
        fields = {"targets": targets, "document": "{}"} | fields
        self.account.iot.create_job(jobId=job_id, **fields)
        return job_id

    def queue(self, job_id: str = "Job1") -> str:
        """A job whose execution is queued."""
        return self.account.create_job(THING, job_id)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A program of the test's own."""
    with Sandbox(tmp_path) as sandbox:
        yield sandbox


def situation(make: Callable[[Sandbox], str]) -> Callable[[Sandbox], str]:
    """Mark a function that makes a situation, and returns the id of the job."""
    SITUATIONS[make.__name__.replace("_", "-")] = make
    return make


# Each is named as the reason that comes first.


@situation
def no_such_job(sandbox: Sandbox) -> str:
    return "Missing"


@situation
def not_a_target(sandbox: Sandbox) -> str:
    sandbox.account.iot.create_thing(thingName=OTHER)
    return sandbox.create_job("Job1", OTHER)


@situation
def not_rolled_out(sandbox: Sandbox) -> str:
    sandbox.account.iot.create_thing(thingName=OTHER)
    rate = {"maximumPerMinute": 1}
    return sandbox.create_job("Job1", OTHER, THING, jobExecutionsRolloutConfig=rate)


@situation
def scheduled(sandbox: Sandbox) -> str:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    config = {"startTime": tomorrow.strftime("%Y-%m-%dT%H:%M")}
    return sandbox.create_job(schedulingConfig=config)


@situation
def canceled_without_force(sandbox: Sandbox) -> str:
    job_id = sandbox.queue()
    sandbox.device().ask("start-next")
    sandbox.account.iot.cancel_job(jobId=job_id, comment="too late")
    return job_id


@situation
def canceled(sandbox: Sandbox) -> str:
    job_id = sandbox.queue()
    sandbox.device().ask("start-next")
    sandbox.account.iot.cancel_job(jobId=job_id, force=True)
    return job_id


@situation
def being_deleted(sandbox: Sandbox) -> str:
    job_id = sandbox.queue()
    sandbox.account.iot.cancel_job(jobId=job_id)
    sandbox.account.iot.delete_job(jobId=job_id)
    return job_id


@situation
def succeeded(sandbox: Sandbox) -> str:
    job_id = sandbox.queue()
    sandbox.device().ask(f"{job_id}/update", status="SUCCEEDED")
    return job_id


@situation
def failed(sandbox: Sandbox) -> str:
    job_id = sandbox.queue()
    sandbox.device().ask(f"{job_id}/update", status="FAILED", statusDetails={"why": "disk"})
    return job_id


@situation
def behind(sandbox: Sandbox) -> str:
    sandbox.queue("First")
    sandbox.device().ask("start-next")
    return sandbox.queue()


@situation
def behind_another_namespace(sandbox: Sandbox) -> str:
    device = sandbox.device()
    sandbox.create_job("First", namespaceId="green")
    assert device.event()[0] == "notify"
    return sandbox.queue()


@situation
def not_connected(sandbox: Sandbox) -> str:
    return sandbox.queue()


@situation
def not_subscribed(sandbox: Sandbox) -> str:
    sandbox.device(listens=False).subscribe(f"$aws/things/{THING}/jobs/get/+")
    return sandbox.queue()


@situation
def not_asked(sandbox: Sandbox) -> str:
    job_id = sandbox.queue()
    sandbox.device()
    return job_id


@situation
def refused_by_policy(sandbox: Sandbox) -> str:
    device = sandbox.device()
    job_id = sandbox.queue("Forbidden")
    device.ask("start-next")
    topic = f"$aws/things/{THING}/jobs/{job_id}/update"
    assert device.publish(topic, b'{"status": "SUCCEEDED"}') == 135
    # It asks again and again, which is allowed.
    device.ask("start-next")
    return job_id


@situation
def version_mismatch(sandbox: Sandbox) -> str:
    device = sandbox.device()
    job_id = sandbox.queue()
    device.ask("start-next")
    outcome, _ = device.ask(f"{job_id}/update", status="SUCCEEDED", expectedVersion="1")
    assert outcome == "rejected"
    return job_id


@situation
def rejected(sandbox: Sandbox) -> str:
    device = sandbox.device()
    job_id = sandbox.queue()
    device.ask("start-next")
    assert device.ask(f"{job_id}1/update", status="SUCCEEDED")[0] == "rejected"
    return job_id


@situation
def taken_over(sandbox: Sandbox) -> str:
    job_id = sandbox.queue()
    for _ in range(3):
        sandbox.device(client_id="test-same")
    return job_id


@situation
def healthy(sandbox: Sandbox) -> str:
    device = sandbox.device()
    job_id = sandbox.queue()
    assert sandbox.diagnose(job_id)["findings"][0]["reason"] == "healthy"
    device.ask("start-next")
    device.ask(f"{job_id}/update", status="IN_PROGRESS", statusDetails={"step": "1"})
    return job_id


@pytest.mark.parametrize("reason", SITUATIONS)
def test_reasons(sandbox: Sandbox, reason: str) -> None:
    """The true reason comes first, and every question could be asked."""
    job_id = SITUATIONS[reason](sandbox)
    body = sandbox.diagnose(job_id)
    # A device that has just connected is given some seconds to subscribe and to ask.
    while body["findings"][0]["reason"] == "healthy" and reason in {"not-subscribed", "not-asked"}:
        body = sandbox.diagnose(job_id)
    assert body["findings"][0]["reason"] == reason, body
    assert body["unknown"] == []


def test_a_connection_that_is_refused(sandbox: Sandbox) -> None:
    """A device whose client id is not allowed is not connected, and the policy is the reason."""
    job_id = sandbox.queue()
    assert sandbox.device(client_id="wrong", listens=False).connack == 135
    reasons = [finding["reason"] for finding in sandbox.diagnose(job_id)["findings"]]
    assert reasons == ["refused-by-policy", "not-connected"]
