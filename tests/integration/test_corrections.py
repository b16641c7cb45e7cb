"""The embedded AWS IoT does on the wire what AWS documents, where MiniStack alone does not: one test a correction.

Seen by a raw MQTT 5 client and by plain HTTP. Each test fails without its correction.
"""

import json
import ssl
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.account import ROOT, Account, Device
from tests.support.raw_device import RawDevice


def ids(listed: list[dict[str, Any]]) -> list[str]:
    return [summary["jobId"] for summary in listed]


def test_in_progress_comes_first(account: Account, raw_device: RawDevice) -> None:
    """With A queued and a later B in progress, B is ``$next``, and start-next hands out B."""
    first, second = account.queue(raw_device.thing, "A", "B")
    raw_device.ask(f"{second}/update", status="IN_PROGRESS")
    assert raw_device.ask("$next/get")[1]["execution"]["jobId"] == second
    assert raw_device.ask("start-next")[1]["execution"]["jobId"] == second
    raw_device.ask(f"{second}/update", status="SUCCEEDED")
    assert raw_device.ask("start-next")[1]["execution"]["jobId"] == first


def test_the_older_of_two_in_progress_comes_first(account: Account, raw_device: RawDevice) -> None:
    """Among executions in progress, the one that was queued first is the next."""
    first, second = account.queue(raw_device.thing, "A", "B")
    raw_device.ask(f"{second}/update", status="IN_PROGRESS")
    raw_device.ask(f"{first}/update", status="IN_PROGRESS")
    assert raw_device.ask("start-next")[1]["execution"]["jobId"] == first


def test_ten_are_listed(account: Account, raw_device: RawDevice) -> None:
    """Of twelve pending executions, the answer and the event list ten: the one in progress, then the oldest."""
    jobs = account.queue(raw_device.thing, *(f"{number:02}" for number in range(11)))
    raw_device.ask(f"{jobs[-1]}/update", status="IN_PROGRESS")
    raw_device.events()
    account.queue(raw_device.thing, "last")
    _, body = raw_device.event()
    assert (ids(body["jobs"]["IN_PROGRESS"]), ids(body["jobs"]["QUEUED"])) == ([jobs[-1]], jobs[:9])
    _, body = raw_device.ask("get")
    assert (ids(body["inProgressJobs"]), ids(body["queuedJobs"])) == ([jobs[-1]], jobs[:9])


def test_a_later_one_becomes_the_next(account: Account, raw_device: RawDevice) -> None:
    """When a later execution is set IN_PROGRESS, it is told as the next one, once, after the answer."""
    first, second, third = account.queue(raw_device.thing, "A", "B", "C")
    raw_device.events()
    request = {"status": "IN_PROGRESS", "statusDetails": {"step": "1"}}
    raw_device.publish(
        f"$aws/things/{raw_device.thing}/jobs/{second}/update", json.dumps(request).encode()
    )
    assert raw_device.event()[0] == f"{second}/update/accepted"
    [(name, body)] = raw_device.events()
    assert name == "notify-next"
    execution = body["execution"]
    assert (execution["jobId"], execution["status"]) == (second, "IN_PROGRESS")
    assert execution["statusDetails"] == {"step": "1"}
    assert execution["jobDocument"] == {}

    raw_device.ask(f"{second}/update", status="IN_PROGRESS", statusDetails={"step": "2"})
    assert raw_device.events() == []  # only details changed
    raw_device.ask(f"{second}/update", status="SUCCEEDED")
    assert [name for name, _ in raw_device.events()] == ["notify", "notify-next"]
    raw_device.ask(f"{first}/update", status="IN_PROGRESS")
    assert raw_device.events() == []  # it was the next one already
    raw_device.ask(f"{third}/update", status="SUCCEEDED")
    assert [name for name, _ in raw_device.events()] == [
        "notify"
    ]  # one that was not the next has left


def test_a_later_one_becomes_the_next_over_http(account: Account, raw_device: RawDevice) -> None:
    """The same when the device reports over HTTP."""
    _, second = account.queue(raw_device.thing, "A", "B")
    raw_device.events()
    http = account.client("iot-jobs-data", ROOT)
    http.update_job_execution(jobId=second, thingName=raw_device.thing, status="IN_PROGRESS")
    assert [(name, body["execution"]["jobId"]) for name, body in raw_device.events()] == [
        ("notify-next", second)
    ]


def test_create_job_answers_first(account: Account, raw_device: RawDevice) -> None:
    """Right after CreateJob's answer there is no execution yet; a moment later there is, and both events come."""
    job = f"{raw_device.thing}-Job"
    account.create_job(raw_device.thing, job, wait=False)
    assert raw_device.ask("get")[1]["queuedJobs"] == []
    assert raw_device.ask(f"{job}/get")[1]["code"] == "ResourceNotFound"
    with pytest.raises(ClientError, match="ResourceNotFound"):
        account.iot.describe_job_execution(jobId=job, thingName=raw_device.thing)
    (first, changed), (second, following) = raw_device.event(), raw_device.event()
    assert (first, second) == ("notify", "notify-next")
    assert ids(changed["jobs"]["QUEUED"]) == [job]
    assert following["execution"]["jobId"] == job
    assert raw_device.events() == []
    account.queue(raw_device.thing, "second")
    assert [name for name, _ in raw_device.events()] == ["notify"]  # the next one is still the same


def test_a_job_that_is_deleted_at_once_is_never_queued(
    account: Account, raw_device: RawDevice
) -> None:
    """A job that is deleted before its executions are there leaves none behind; one made again of that id is queued."""
    job = f"{raw_device.thing}-Job"
    account.create_job(raw_device.thing, job, wait=False)
    account.iot.delete_job(jobId=job, force=True)
    account.create_job(raw_device.thing, job, {"made": "again"}, wait=False)
    (first, _), (second, following) = raw_device.event(), raw_device.event()
    assert (first, second) == ("notify", "notify-next")
    assert following["execution"]["jobDocument"] == {"made": "again"}
    assert raw_device.events() == []


def test_a_certificate_is_required(account: Account) -> None:
    """A client without a certificate gets no MQTT connection."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        RawDevice(account.local, Device("Anything", "", "", ""), listens=False)


def test_create_job_is_checked_on_its_targets(account: Account) -> None:
    """Who may create a job, but not for this thing, is refused, and the message names the thing."""
    thing, other = account.device().thing, account.device().thing
    for name in (thing, other):
        account.iot.create_thing(thingName=name)
    keys = account.operator(thing)
    iot = account.client("iot", (keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]))
    arn = "arn:aws:iot:us-east-1:000000000000:thing/"
    iot.create_job(jobId=f"{thing}-1", targets=[arn + thing], document="{}")
    with pytest.raises(
        ClientError, match=f"not authorized to perform: iot:CreateJob on resource: {arn}{other}"
    ):
        iot.create_job(jobId=f"{thing}-2", targets=[arn + thing, arn + other], document="{}")


def test_create_job_is_checked_on_the_job(account: Account) -> None:
    """Who may create jobs for a thing, but none of that id, is refused as well."""
    thing = account.device().thing
    account.iot.create_thing(thingName=thing)
    arn = "arn:aws:iot:us-east-1:000000000000:"
    statement = {"Effect": "Allow", "Action": "iot:CreateJob", "Resource": f"{arn}thing/{thing}"}
    keys = account.operator(thing, json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    iot = account.client("iot", (keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]))
    with pytest.raises(
        ClientError, match=f"not authorized to perform: iot:CreateJob on resource: {arn}job/{thing}"
    ):
        iot.create_job(jobId=thing, targets=[f"{arn}thing/{thing}"], document="{}")


def test_a_timer_tells(account: Account, raw_device: RawDevice) -> None:
    """A timer that runs out ends the execution by itself, with both events. The service takes fractions of minutes."""
    first, second = account.queue(raw_device.thing, "A", "B")
    raw_device.ask(f"{first}/update", status="IN_PROGRESS", stepTimeoutInMinutes=0.001)
    raw_device.events()
    (one, changed), (two, following) = raw_device.event(), raw_device.event()
    assert (one, two) == ("notify", "notify-next")
    assert ids(changed["jobs"]["QUEUED"]) == [second]
    assert following["execution"]["jobId"] == second
    execution = account.iot.describe_job_execution(jobId=first, thingName=raw_device.thing)[
        "execution"
    ]
    assert execution["status"] == "TIMED_OUT"


def test_a_timer_of_one_that_is_not_the_next(account: Account, raw_device: RawDevice) -> None:
    """When the timer of a later execution runs out, the next one stays the next, and is not told again."""
    first, second = account.queue(raw_device.thing, "A", "B")
    raw_device.ask(f"{first}/update", status="IN_PROGRESS")
    raw_device.ask(f"{second}/update", status="IN_PROGRESS", stepTimeoutInMinutes=0.001)
    raw_device.events()
    name, changed = raw_device.event()
    assert (name, list(changed["jobs"]), ids(changed["jobs"]["IN_PROGRESS"])) == (
        "notify",
        ["IN_PROGRESS"],
        [first],
    )
    assert raw_device.events() == []


@pytest.mark.parametrize("over_http", [False, True])
def test_start_next_sets_a_timer(over_http: bool, account: Account, raw_device: RawDevice) -> None:  # noqa: FBT001
    """The step timer that start-next asks for runs, can be renewed, and -1 ends it."""
    [job] = account.queue(raw_device.thing, "A")
    if over_http:
        http = account.client("iot-jobs-data", ROOT)
        http.start_next_pending_job_execution(thingName=raw_device.thing, stepTimeoutInMinutes=5)
    else:
        raw_device.ask("start-next", stepTimeoutInMinutes=5)
    assert 290 <= left(raw_device, job) <= 300
    raw_device.ask(f"{job}/update", status="IN_PROGRESS", stepTimeoutInMinutes=10)
    assert 590 <= left(raw_device, job) <= 600
    raw_device.ask(f"{job}/update", status="IN_PROGRESS")
    assert 590 <= left(raw_device, job) <= 600
    raw_device.ask(f"{job}/update", status="IN_PROGRESS", stepTimeoutInMinutes=-1)
    assert "approximateSecondsBeforeTimedOut" not in raw_device.ask(f"{job}/get")[1]["execution"]


def test_a_timer_is_of_one_execution(account: Account, raw_device: RawDevice) -> None:
    """What one request asks for does not start the timer of the execution that is the next afterwards."""
    first, second = account.queue(raw_device.thing, "A", "B")
    raw_device.ask(f"{first}/update", status="SUCCEEDED", stepTimeoutInMinutes=5)
    execution = raw_device.ask("start-next")[1]["execution"]
    assert execution["jobId"] == second
    assert "approximateSecondsBeforeTimedOut" not in raw_device.ask(f"{second}/get")[1]["execution"]


def left(raw_device: RawDevice, job: str) -> int:
    seconds: int = raw_device.ask(f"{job}/get")[1]["execution"]["approximateSecondsBeforeTimedOut"]
    return seconds


@pytest.mark.parametrize("minutes", [0, -2, 10081, "5", True])
def test_a_step_timer_that_is_none(
    minutes: object, account: Account, raw_device: RawDevice
) -> None:
    """A step timer that AWS does not know is refused, by start-next and update, and nothing else happens."""
    [job] = account.queue(raw_device.thing, "A")
    for name, fields in (("start-next", {}), (f"{job}/update", {"status": "IN_PROGRESS"})):
        outcome, body = raw_device.ask(name, stepTimeoutInMinutes=minutes, **fields)
        assert (outcome, body["code"]) == ("rejected", "InvalidRequest")
    assert raw_device.ask(f"{job}/get")[1]["execution"]["status"] == "QUEUED"
    http = account.client("iot-jobs-data", ROOT)
    with pytest.raises(ClientError, match="InvalidRequest"):
        http.update_job_execution(
            jobId=job, thingName=raw_device.thing, status="IN_PROGRESS", stepTimeoutInMinutes=10081
        )


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
def test_status_details_are_checked(
    details: dict[str, str], account: Account, raw_device: RawDevice
) -> None:
    """Details that AWS does not take are refused; the most that it takes are taken."""
    [job] = account.queue(raw_device.thing, "A")
    for name in ("start-next", f"{job}/update"):
        outcome, body = raw_device.ask(name, status="IN_PROGRESS", statusDetails=details)
        assert (outcome, body["code"]) == ("rejected", "InvalidRequest")
    most = {f"aZ09:_-{number}".ljust(128, "k"): "é" * 1024 for number in range(10)}
    assert (
        raw_device.ask(f"{job}/update", status="IN_PROGRESS", statusDetails=most)[0] == "accepted"
    )
    assert raw_device.ask(f"{job}/get")[1]["execution"]["statusDetails"] == most
