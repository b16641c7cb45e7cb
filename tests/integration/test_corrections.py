"""The embedded AWS IoT does on the wire what AWS documents: one test a correction.

Seen by a raw MQTT 5 client and by plain HTTP. Each test fails without its correction.
"""

import json
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.aws.account import Account, Device
from tests.support.drivers.raw_device import RawDevice

ARN = "arn:aws:iot:us-east-1:000000000000:"


def ids(summaries: list[dict[str, Any]]) -> list[str]:
    return [summary["jobId"] for summary in summaries]


def create(account: Account, device: RawDevice, **fields: Any) -> str:
    """A job for the thing of a device, with fields of CreateJob; its id."""
    job_id = f"{device.thing}-{fields.pop('name', 'A')}"
    targets = [f"{ARN}thing/{device.thing}"]
    account.iot.create_job(jobId=job_id, **{"targets": targets, "document": "{}"} | fields)
    return job_id


def queue(account: Account, device: RawDevice, *names: str) -> list[str]:
    """Jobs for an idle device, whose events have come; their ids."""
    jobs = account.queue(device.thing, *names)
    # One event for each, and notify-next for the first.
    for _ in range(len(jobs) + 1):
        device.event()
    return jobs


# The queue of a thing


def test_put_in_progress_first(account: Account, raw_device: RawDevice) -> None:
    """Executions in progress come first for start-next and $next, the oldest of them first."""
    first, second = queue(account, raw_device, "A", "B")
    for job, expected in ((second, second), (first, first)):
        raw_device.ask(f"{job}/update", status="IN_PROGRESS")
        for request in ("$next/get", "start-next"):
            assert raw_device.ask(request)[1]["execution"]["jobId"] == expected


def test_limit_lists_to_ten(account: Account, raw_device: RawDevice) -> None:
    """Of twelve pending executions, the response and the event list ten."""
    jobs = queue(account, raw_device, *(f"{number:02}" for number in range(11)))
    raw_device.ask(f"{jobs[-1]}/update", status="IN_PROGRESS")
    assert raw_device.event()[0] == "notify-next"
    account.queue(raw_device.thing, "last")
    _, body = raw_device.event()
    assert ids(body["jobs"]["IN_PROGRESS"]) == [jobs[-1]]
    assert ids(body["jobs"]["QUEUED"]) == jobs[:9]
    _, body = raw_device.ask("get")
    assert ids(body["inProgressJobs"]) == [jobs[-1]]
    assert ids(body["queuedJobs"]) == jobs[:9]


def test_notify_next_after_update(account: Account, raw_device: RawDevice) -> None:
    """An update that makes a later execution the next sends notify-next, after the response."""
    first, second, third = queue(account, raw_device, "A", "B", "C")
    raw_device.publish(
        f"$aws/things/{raw_device.thing}/jobs/{second}/update", b'{"status": "IN_PROGRESS"}'
    )
    assert raw_device.event()[0] == f"{second}/update/accepted"
    name, body = raw_device.event()
    assert (name, body["execution"]["jobId"]) == ("notify-next", second)
    assert body["execution"]["jobDocument"] == {}
    for job, status, expected in (
        (second, "IN_PROGRESS", []),  # it is the next one already
        (second, "SUCCEEDED", ["notify", "notify-next"]),
        (first, "IN_PROGRESS", []),
        (third, "SUCCEEDED", ["notify"]),  # it was not the next one
    ):
        raw_device.ask(f"{job}/update", status=status)
        assert [name for name, _ in raw_device.events()] == expected


# Jobs


def test_publish_events_after_create_job(account: Account, raw_device: RawDevice) -> None:
    """Right after CreateJob's response there is no execution; then it comes, with both events."""
    job = create(account, raw_device)
    assert raw_device.ask("get")[1]["queuedJobs"] == []
    assert raw_device.ask(f"{job}/get")[1]["code"] == "ResourceNotFound"
    (first, changed), (second, following) = raw_device.event(), raw_device.event()
    assert (first, second) == ("notify", "notify-next")
    assert ids(changed["jobs"]["QUEUED"]) == [following["execution"]["jobId"]] == [job]
    account.queue(raw_device.thing, "second")
    assert raw_device.event()[0] == "notify"
    assert raw_device.events() == []


def test_wait_for_start_times(account: Account, raw_device: RawDevice) -> None:
    """A job is SCHEDULED until its startTime, and then gets its execution; or it is canceled."""

    def create_at(name: str, start: datetime) -> str:
        config = {"startTime": start.strftime("%Y-%m-%dT%H:%M")}
        return create(account, raw_device, name=name, schedulingConfig=config)

    now = datetime.now(UTC)
    later = create_at("A", now + timedelta(minutes=2))
    assert account.iot.describe_job(jobId=later)["job"]["status"] == "SCHEDULED"
    assert raw_device.ask(f"{later}/get")[1]["code"] == "ResourceNotFound"
    with pytest.raises(ClientError, match="SCHEDULED"):
        account.iot.delete_job(jobId=later)
    account.iot.cancel_job(jobId=later)
    assert account.iot.describe_job(jobId=later)["job"]["status"] == "CANCELED"
    # The start of this minute has come already.
    job = create_at("B", now)
    assert raw_device.event()[0] == "notify"
    assert account.iot.describe_job(jobId=job)["job"]["status"] == "IN_PROGRESS"
    assert ids(raw_device.ask("get")[1]["queuedJobs"]) == [job]


def test_measure_documents_in_bytes(account: Account, raw_device: RawDevice) -> None:
    """A document of 32,768 bytes is taken; one more is refused, though it has fewer characters."""
    create(account, raw_device, document=f'"{"é" * 16383}"')
    with pytest.raises(ClientError, match="32768 bytes"):
        create(account, raw_device, name="B", document=f'"{"é" * 16383}x"')


def retrying(**most: int) -> dict[str, Any]:
    """A field of CreateJob: how often it retries each failure type."""
    criteria = [{"failureType": kind, "numberOfRetries": most[kind]} for kind in most]
    return {"jobExecutionsRetryConfig": {"criteriaList": criteria}}


@pytest.mark.parametrize(
    ("most", "reports", "retries"),
    [
        ({"FAILED": 2}, ["FAILED", "FAILED", "FAILED"], 2),
        ({"FAILED": 2}, ["FAILED", "SUCCEEDED"], 1),
        ({"FAILED": 1, "TIMED_OUT": 1}, ["FAILED", "TIMED_OUT", "FAILED"], 2),
        ({"ALL": 2}, ["FAILED", "TIMED_OUT", "FAILED"], 2),
        ({"TIMED_OUT": 2}, ["FAILED"], 0),
        ({"ALL": 2}, ["REJECTED"], 0),
    ],
)
def test_retry_failed_executions(
    most: dict[str, int], reports: list[str], retries: int, account: Account, raw_device: RawDevice
) -> None:
    """A failed execution is followed by another one until the retries are used up."""
    job = create(account, raw_device, **retrying(**most))
    for number, report in enumerate(reports, 1):
        changed, following = raw_device.event()[1], raw_device.event()[1]
        assert ids(changed["jobs"]["QUEUED"]) == [job]
        assert following["execution"]["executionNumber"] == number
        if report == "TIMED_OUT":
            raw_device.ask(f"{job}/update", status="IN_PROGRESS", stepTimeoutInMinutes=0.001)
        else:
            raw_device.ask(f"{job}/update", status=report)
        assert raw_device.event()[1]["jobs"] == {}
        assert "execution" not in raw_device.event()[1]
    assert account.iot.describe_job(jobId=job)["job"]["status"] == "COMPLETED"
    summaries = account.iot.list_job_executions_for_job(jobId=job)["executionSummaries"]
    attempts = [summary["jobExecutionSummary"]["retryAttempt"] for summary in summaries]
    assert sorted(attempts) == list(range(retries + 1))


def test_retry_behind_other_jobs(account: Account, raw_device: RawDevice) -> None:
    """A retry is queued behind the jobs that wait, and so does not become the next one."""
    job = create(account, raw_device, **retrying(FAILED=1))
    assert [raw_device.event()[0], raw_device.event()[0]] == ["notify", "notify-next"]
    [other] = account.queue(raw_device.thing, "B")
    assert raw_device.event()[0] == "notify"
    raw_device.ask(f"{job}/update", status="FAILED")
    assert [raw_device.event()[0], raw_device.event()[0]] == ["notify", "notify-next"]
    assert ids(raw_device.event()[1]["jobs"]["QUEUED"]) == [other, job]
    assert raw_device.events() == []


def test_no_retry_of_a_job_that_is_aborted(account: Account, raw_device: RawDevice) -> None:
    """When the abort criteria are met, the job is canceled, and nothing is queued again."""
    abort: dict[str, Any] = {"thresholdPercentage": 100, "minNumberOfExecutedThings": 1}
    abort |= {"failureType": "FAILED", "action": "CANCEL"}
    job = create(account, raw_device, abortConfig={"criteriaList": [abort]}, **retrying(FAILED=1))
    assert [raw_device.event()[0], raw_device.event()[0]] == ["notify", "notify-next"]
    raw_device.ask(f"{job}/update", status="FAILED")
    assert account.iot.describe_job(jobId=job)["job"]["status"] == "CANCELED"
    # A retry would take 0.5 s.
    time.sleep(0.7)
    assert raw_device.ask("get")[1]["queuedJobs"] == []


def test_at_most_ten_retries(account: Account, raw_device: RawDevice) -> None:
    """CreateJob refuses more than 10 retries."""
    with pytest.raises(ClientError, match="less than or equal to 10"):
        create(account, raw_device, **retrying(FAILED=11))


def test_delete_jobs_after_a_while(account: Account, raw_device: RawDevice) -> None:
    """A job is DELETION_IN_PROGRESS for a while, its id in use; then both are gone, with events."""
    [job] = queue(account, raw_device, "A")
    with pytest.raises(ClientError, match="InvalidStateTransitionException"):
        account.iot.delete_job(jobId=job)
    account.iot.delete_job(jobId=job, force=True)
    assert account.iot.describe_job(jobId=job)["job"]["status"] == "DELETION_IN_PROGRESS"
    for refused in (account.iot.delete_job, account.iot.cancel_job):
        with pytest.raises(ClientError, match="DELETION_IN_PROGRESS"):
            refused(jobId=job, force=True)
    with pytest.raises(ClientError, match="ResourceAlreadyExistsException"):
        create(account, raw_device)
    assert [raw_device.event()[0], raw_device.event()[0]] == ["notify", "notify-next"]
    queue(account, raw_device, "A")
    assert raw_device.ask(f"{job}/get")[1]["execution"]["executionNumber"] == 1


def test_ten_deletions_at_a_time(account: Account, raw_device: RawDevice) -> None:
    """Of many deletions at a time, those after the tenth are refused."""
    jobs = [create(account, raw_device, name=str(number)) for number in range(30)]

    def delete(job: str) -> str:
        try:
            account.iot.delete_job(jobId=job, force=True)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""

    with ThreadPoolExecutor(max_workers=10) as pool:
        assert "LimitExceededException" in set(pool.map(delete, jobs))


# Timers


def left(raw_device: RawDevice, job: str) -> int | None:
    """The minutes until an execution times out, rounded up."""
    execution = raw_device.ask(f"{job}/get")[1]["execution"]
    seconds = execution.get("approximateSecondsBeforeTimedOut")
    return None if seconds is None else -(-seconds // 60)


def test_notify_when_a_timer_expires(account: Account, raw_device: RawDevice) -> None:
    """An execution whose timer runs out is TIMED_OUT, with the events of its end."""
    first, second = queue(account, raw_device, "A", "B")
    # Nearly the second between two checks: one comes before the end, and must not send events.
    raw_device.ask("start-next", stepTimeoutInMinutes=0.016)
    (name, changed), (next_name, following) = raw_device.event(), raw_device.event()
    assert (name, next_name) == ("notify", "notify-next")
    assert ids(changed["jobs"]["QUEUED"]) == [following["execution"]["jobId"]] == [second]
    assert raw_device.ask(f"{first}/get")[1]["code"] == "TerminalStateReached"


def test_run_step_timers(account: Account, raw_device: RawDevice) -> None:
    """Start-next sets a step timer; an update alone renews it, and -1 ends it."""
    [job, other] = queue(account, raw_device, "A", "B")
    for minutes in (5, 9):
        _, answer = raw_device.ask("start-next", stepTimeoutInMinutes=minutes)
        assert 290 <= answer["execution"]["approximateSecondsBeforeTimedOut"] <= 300
    for step, expected in ((10, 10), (None, 10), (-1, None)):
        raw_device.ask(f"{job}/update", status="IN_PROGRESS", stepTimeoutInMinutes=step)
        assert left(raw_device, job) == expected
    raw_device.ask(f"{job}/update", status="SUCCEEDED", stepTimeoutInMinutes=5)
    raw_device.ask("start-next")
    assert left(raw_device, other) is None


@pytest.mark.parametrize("minutes", [0, -2, 10081, "5", True])
def test_step_timers_out_of_range(minutes: object, account: Account, raw_device: RawDevice) -> None:
    """Another step timer is refused, and nothing else happens; an update alone may have -1."""
    [job] = queue(account, raw_device, "A")
    for name, step in (("start-next", minutes), ("start-next", -1), (f"{job}/update", minutes)):
        _, body = raw_device.ask(name, status="IN_PROGRESS", stepTimeoutInMinutes=step)
        assert body["code"] == "InvalidRequest"
    assert raw_device.ask(f"{job}/get")[1]["execution"]["status"] == "QUEUED"


def test_run_both_timers(account: Account, raw_device: RawDevice) -> None:
    """Of the job's timer and a step timer, the one that ends earlier counts."""
    job = create(account, raw_device, timeoutConfig={"inProgressTimeoutInMinutes": 5})
    raw_device.event()
    for step, expected in ((10, 5), (2, 2), (-1, 5)):
        raw_device.ask(f"{job}/update", status="IN_PROGRESS", stepTimeoutInMinutes=step)
        assert left(raw_device, job) == expected


# Requests of devices, and their responses


def test_answer_the_requester_alone(account: Account, raw_device: RawDevice) -> None:
    """A response comes to the requester, subscribed or not, and to no other subscriber."""
    device = account.device(raw_device.thing)
    with RawDevice(account.local, device, listens=False) as silent:
        silent.publish(f"$aws/things/{device.thing}/jobs/get", b"{}")
        assert silent.event()[0] == "get/accepted"
        assert silent.ask("start-next")[0] == "accepted"
    assert raw_device.events() == []


@pytest.mark.parametrize(
    "details",
    [
        {f"k{number}": "v" for number in range(11)},
        {"a b": "v"},
        {"k" * 129: "v"},
        {"k": "v" * 1025},
        {"k": "a\nb"},
    ],
)
def test_check_status_details(
    details: dict[str, str], account: Account, raw_device: RawDevice
) -> None:
    """Details that AWS does not take are refused; the most that it takes are taken."""
    [job] = queue(account, raw_device, "A")
    for name in ("start-next", f"{job}/update"):
        _, body = raw_device.ask(name, status="IN_PROGRESS", statusDetails=details)
        assert body["code"] == "InvalidRequest"
    most = {f"aZ09:_-{number}".ljust(128, "k"): "é" * 1024 for number in range(10)}
    assert raw_device.ask("start-next", statusDetails=most)[1]["execution"]["statusDetails"] == most


@pytest.mark.parametrize(
    ("token", "outcome"),
    [("t" * 64, "accepted"), (None, "accepted"), ("t" * 65, "rejected"), (5, "rejected")],
)
def test_check_client_tokens(token: object, outcome: str, raw_device: RawDevice) -> None:
    """A client token is text of at most 64 characters, or missing."""
    request = json.dumps({"clientToken": token}).encode()
    raw_device.publish(f"$aws/things/{raw_device.thing}/jobs/get", request)
    name, body = raw_device.event()
    assert name == f"get/{outcome}"
    assert body.get("code") == (None if outcome == "accepted" else "InvalidRequest")


def test_take_execution_numbers_as_text(account: Account, raw_device: RawDevice) -> None:
    """An execution number may be text; another number is not found."""
    [job] = queue(account, raw_device, "A")
    for number, outcome in (("1", "accepted"), (1, "accepted"), ("2", "rejected")):
        for name in (f"{job}/get", f"{job}/update"):
            answer = raw_device.ask(name, executionNumber=number, status="IN_PROGRESS")
            assert answer[0] == outcome


# Access


def test_require_a_certificate(account: Account) -> None:
    """A client without a certificate gets no MQTT connection."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        RawDevice(account.local, Device("Anything", "", "", ""), listens=False)


@pytest.mark.parametrize("allowed", ["job", "thing"])
def test_check_create_job_on_its_targets(
    allowed: str, account: Account, raw_device: RawDevice
) -> None:
    """CreateJob needs permission for the job and for the thing; the message names the other one."""
    statement = {"Effect": "Allow", "Action": "iot:CreateJob", "Resource": f"{ARN}{allowed}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    keys = account.operator(raw_device.thing, policy)
    iot = account.client("iot", (keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]))
    other = "thing" if allowed == "job" else "job"
    denied = f"not authorized to perform: iot:CreateJob on resource: {ARN}{other}/"
    with pytest.raises(ClientError, match=denied):
        iot.create_job(jobId="J", targets=[f"{ARN}thing/{raw_device.thing}"], document="{}")


@pytest.mark.parametrize("document", ['{"Statement": []}', " " * 9 + '"' + "x" * 2047 + '"'])
def test_check_device_policies(document: str, account: Account) -> None:
    """CreatePolicy and CreatePolicyVersion refuse what is not a policy, or is too long."""
    account.device("Any")
    name = account.iot.list_policies()["policies"][0]["policyName"]
    with pytest.raises(ClientError, match="MalformedPolicyException"):
        account.iot.create_policy(policyName="malformed", policyDocument=document)
    with pytest.raises(ClientError, match="MalformedPolicyException"):
        account.iot.create_policy_version(policyName=name, policyDocument=document)
