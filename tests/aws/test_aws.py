"""What only AWS can settle, asked of AWS; `pytest -m aws tests/aws -n 0` (see docs/fidelity.md).

Each test passes whatever the answer is, as long as it is one of those that are thinkable, and prints it. They run
against the embedded AWS IoT as well.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.conftest import Aws, Jobs
from tests.support.program import parse_blocks, run
from tests.support.raw_device import RawDevice

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
    """The program does what its README shows, with a job that comes, is started, succeeds and goes."""
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


def test_a_start_as_a_change(device: RawDevice, jobs: Jobs, found: Found) -> None:
    """Whether the start of the next execution is told on notify: jobs-comm-notifications and jobs-mqtt-api differ."""
    job = jobs.create()
    queued(device, job)
    device.ask(f"{job}/update", status="IN_PROGRESS")
    time.sleep(SETTLE)
    found(f"after an update to IN_PROGRESS came {[name for name, _ in device.events()]}")


def test_status_details(device: RawDevice, jobs: Jobs, found: Found) -> None:
    """Whether new statusDetails replace the old ones, or add to them."""
    job = jobs.create()
    queued(device, job)
    for details in ({"a": "1"}, {"b": "2"}):
        device.ask(f"{job}/update", status="IN_PROGRESS", statusDetails=details)
    details = device.ask(f"{job}/get")[1]["execution"]["statusDetails"]
    assert details["b"] == "2"
    found(str(details))


def test_a_step_timer_and_the_jobs(device: RawDevice, jobs: Jobs, found: Found) -> None:
    """Which of two timers is told: the job's 5 minutes, or the step's 10."""
    job = jobs.create(timeoutConfig={"inProgressTimeoutInMinutes": 5})
    queued(device, job)
    device.ask(f"{job}/update", status="IN_PROGRESS", stepTimeoutInMinutes=10)
    left = device.ask(f"{job}/get")[1]["execution"]["approximateSecondsBeforeTimedOut"]
    found(f"approximateSecondsBeforeTimedOut: {left}")


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


@pytest.mark.parametrize(
    "document", ["[1]", f'"{"é" * 32766}"'], ids=["a list", "32,768 characters, more bytes"]
)
def test_documents(document: str, jobs: Jobs, found: Found) -> None:
    """Which job documents are taken."""
    try:
        jobs.create(document=document)
        found("taken")
    except ClientError as error:
        found(f"refused: {error}")


def test_delete_after_completion(iot: Any, device: RawDevice, jobs: Jobs, found: Found) -> None:
    """How long after its last execution a job can be deleted, how long that takes, and what number comes next."""
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
    found(
        f"deletion accepted after {accepted:.1f} s, gone {gone:.1f} s later; refusals: {sorted(set(refusals))}"
    )

    again = jobs.create(jobId=job)
    queued(device, again)
    execution = device.ask(f"{again}/get")[1]["execution"]
    found(
        f"accepted after {accepted:.1f} s, gone after {gone:.1f} s more; made again: {execution['executionNumber']=}"
    )


def test_a_response_without_a_subscription(aws: Aws, device: RawDevice, found: Found) -> None:
    """Whether a response comes to a requester that has not subscribed, and whether other clients see it."""
    with RawDevice(aws, aws.device, listens=False) as silent:
        silent.publish(f"$aws/things/{aws.device.thing}/jobs/get", b"{}")
        time.sleep(SETTLE)
        silent.subscribe(f"$aws/things/{aws.device.thing}/jobs/get/accepted")
        found(
            f"the requester got {list(silent.qos)}, another client {[name for name, _ in device.events()]}"
        )


def test_a_persistent_session(aws: Aws, found: Found) -> None:
    """Whether the plain policy allows a session that outlives its connection."""
    client_id = f"test-{os.urandom(4).hex()}"
    with RawDevice(aws, aws.device, client_id=client_id, session=60) as first:
        assert first.connack == 0
    with RawDevice(aws, aws.device, client_id=client_id, session=60, listens=False) as again:
        found(f"the session was {'found again' if again.session_present else 'gone'}")


def test_receive_for_responses(aws: Aws, iot: Any, found: Found, tmp_path: Any) -> None:
    """Whether iot:Receive is checked for responses. Needs credentials that may make certificates and policies."""
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
