"""What only AWS can settle, asked of AWS; `pytest -m aws tests/aws -n 0` (see docs/fidelity.md).

Each test passes whatever the answer is, as long as it is one of those that are thinkable, and
prints it. They run against the embedded AWS IoT as well.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.conftest import Aws, Jobs
from tests.support.blocks import parse_blocks
from tests.support.drivers.program import run
from tests.support.drivers.raw_device import RawDevice

pytestmark = pytest.mark.aws
Found = Callable[[str], None]
SETTLE = float(os.environ.get("IOT_SETTLE", "3"))  # seconds in which what may come has come


def wait_for(look: Callable[[], Any], seconds: float = 60) -> tuple[Any, float]:
    """What is looked for, once it is there, and the seconds that took."""
    began = time.monotonic()
    while not (value := look()):
        assert time.monotonic() - began < seconds
        time.sleep(0.2)
    return value, time.monotonic() - began


def queued(device: RawDevice, job_id: str) -> None:
    """Wait until a job's execution is there, and pass over the events till then."""
    wait_for(lambda: device.ask(f"{job_id}/get")[0] == "accepted")
    device.events()


def test_walkthrough(aws: Aws, jobs: Jobs) -> None:
    """The program does what its README shows."""
    job = f"sandbox-{os.urandom(6).hex()}"
    jobs._made.append(job)
    script = f"""\
create-job {job} {{"do":"this"}}
wait NextJobExecutionChangedEvent 30
get-pending-job-executions
start-next-pending-job-execution
describe-job-execution {job}
update-job-execution {job} SUCCEEDED
wait NextJobExecutionChangedEvent 30
wait {10 * SETTLE}
delete-job {job}
"""
    done = run(aws.arguments(), script, os.environ)
    assert done.returncode == 0, done.stderr
    titles = [title for title, _ in parse_blocks(done.stdout)]
    assert titles[0] == "CreateJobOutput"
    assert sorted(titles[1:3]) == ["JobExecutionsChangedEvent", "NextJobExecutionChangedEvent"]
    assert titles[3:6] == [
        "GetPendingJobExecutionsResponse",
        "StartNextJobExecutionResponse",
        "DescribeJobExecutionResponse",
    ]
    assert titles[-1] == "DeleteJobOutput"


def test_events_after_create_job(device: RawDevice, jobs: Jobs, found: Found) -> None:
    """How long after CreateJob's answer the events come."""
    job = jobs.create()
    began = time.monotonic()
    names = [device.event()[0], device.event()[0]]
    found(f"{names} came {time.monotonic() - began:.2f} s after CreateJob's answer")
    device.ask(f"{job}/update", status="SUCCEEDED")


def test_quality_of_notifications(device: RawDevice, jobs: Jobs, found: Found) -> None:
    """With which QoS notifications and responses come."""
    queued(device, jobs.create())
    found(str(device.qos))
    assert {"notify", "notify-next", "get/accepted"} <= set(device.qos)


def test_pending_executions_in_progress(device: RawDevice, jobs: Jobs, found: Found) -> None:
    """Whether GetPendingJobExecutions lists executions in progress."""
    job = jobs.create()
    queued(device, job)
    device.ask(f"{job}/update", status="IN_PROGRESS")
    pending = device.ask("get")[1]
    found(f"inProgressJobs: {[summary['jobId'] == job for summary in pending['inProgressJobs']]}")


def test_status_details(device: RawDevice, jobs: Jobs, found: Found) -> None:
    """Whether new statusDetails replace the old ones, or add to them."""
    job = jobs.create()
    queued(device, job)
    for details in ({"a": "1"}, {"b": "2"}):
        device.ask(f"{job}/update", status="IN_PROGRESS", statusDetails=details)
    details = device.ask(f"{job}/get")[1]["execution"]["statusDetails"]
    assert details["b"] == "2"
    found(str(details))


@pytest.mark.parametrize("job_id", ["get", "notify", "notify-next", "start-next"])
def test_job_ids_that_are_topics(job_id: str, device: RawDevice, jobs: Jobs, found: Found) -> None:
    """Whether a job can have such an id, and a device can ask for it."""
    try:
        jobs.create(jobId=job_id)
    except ClientError as error:
        found(f"refused: {error}")
        return
    device.event()
    device.publish(f"$aws/things/{device.thing}/jobs/{job_id}/get", b"{}")
    time.sleep(SETTLE)
    found(f"made; asked for it, these came: {[name for name, _ in device.events()]}")


def test_documents(jobs: Jobs, found: Found) -> None:
    """Whether a job document may be JSON that is not an object."""
    try:
        jobs.create(document="[1]")
        found("accepted")
    except ClientError as error:
        found(f"refused: {error}")


def test_a_long_client_token(device: RawDevice, found: Found) -> None:
    """Whether a client token of more than 64 characters is rejected, and how."""
    request = json.dumps({"clientToken": "t" * 65}).encode()
    device.publish(f"$aws/things/{device.thing}/jobs/get", request)
    found(str(device.event()))


def test_delete_after_completion(iot: Any, device: RawDevice, jobs: Jobs, found: Found) -> None:
    """When a completed job can be deleted, how long that takes, and which number comes next."""
    job = jobs.create()
    queued(device, job)
    device.ask(f"{job}/update", status="SUCCEEDED")
    refusals: list[str] = []

    def attempt(ended: type[Exception]) -> bool:
        try:
            iot.delete_job(jobId=job)
        except iot.exceptions.ResourceNotFoundException as error:
            return isinstance(error, ended)
        except iot.exceptions.InvalidStateTransitionException as error:
            refusals.append(str(error))
            return False
        return ended is not iot.exceptions.ResourceNotFoundException

    _, accepted = wait_for(lambda: attempt(Exception))
    _, gone = wait_for(lambda: attempt(iot.exceptions.ResourceNotFoundException))
    again = jobs.create(jobId=job)
    queued(device, again)
    execution = device.ask(f"{again}/get")[1]["execution"]
    number = execution["executionNumber"]
    found(
        f"deletion accepted after {accepted:.1f} s, gone {gone:.1f} s later, "
        f"executionNumber {number}; refusals: {sorted(set(refusals))}"
    )


def test_a_persistent_session(aws: Aws, found: Found) -> None:
    """Whether the plain policy allows a session that outlives its connection."""
    client_id = f"test-{os.urandom(4).hex()}"
    with RawDevice(aws, aws.device, client_id=client_id, session=60) as first:
        assert first.connack == 0
    with RawDevice(aws, aws.device, client_id=client_id, session=60, listens=False) as again:
        found(f"the session was {'found again' if again.session_present else 'gone'}")


def test_receive_for_responses(aws: Aws, iot: Any, found: Found, tmp_path: Any) -> None:
    """Whether iot:Receive is checked for responses; needs permission to make certificates."""
    name = f"sandbox-{os.urandom(6).hex()}"
    allowed = ["iot:Connect", "iot:Publish", "iot:Subscribe"]
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}],
    }
    identity = iot.create_keys_and_certificate(setAsActive=True)
    arn, certificate_id = identity["certificateArn"], identity["certificateId"]
    iot.create_policy(policyName=name, policyDocument=json.dumps(document))
    try:
        iot.attach_policy(policyName=name, target=arn)
        (tmp_path / "cert").write_text(identity["certificatePem"])
        (tmp_path / "key").write_text(identity["keyPair"]["PrivateKey"])
        device = aws.device._replace(cert=str(tmp_path / "cert"), key=str(tmp_path / "key"))
        with RawDevice(aws, device) as without:
            without.subscribe(f"$aws/things/{device.thing}/jobs/get/accepted")
            without.publish(f"$aws/things/{device.thing}/jobs/get", b"{}")
            time.sleep(SETTLE)
            without.subscribe(
                f"$aws/things/{device.thing}/jobs/get/accepted"
            )  # what has come is read
            found(f"without iot:Receive came {list(without.qos)}")
    finally:
        iot.detach_policy(policyName=name, target=arn)
        iot.delete_policy(policyName=name)
        iot.update_certificate(certificateId=certificate_id, newStatus="INACTIVE")
        iot.delete_certificate(certificateId=certificate_id)
