"""Where the embedded AWS IoT still differs from AWS, or may: docs/fidelity.md lists it."""

import json
from typing import Any

import mqtt5
import pytest
from botocore.exceptions import ClientError

from tests.support.aws.account import Account
from tests.support.drivers.raw_device import RawDevice

PRESIGNED = '{"url": "${aws:iot:s3-presigned-url:https://s3.amazonaws.com/b/k}"}'


def create(account: Account, device: RawDevice, **fields: Any) -> str:
    """A job for the thing of a device, whose events have come; its id."""
    job_id = fields.pop("jobId", f"{device.thing}-A")
    target = f"arn:aws:iot:us-east-1:000000000000:thing/{device.thing}"
    account.iot.create_job(jobId=job_id, **{"targets": [target], "document": "{}"} | fields)
    assert [device.event()[0], device.event()[0]] == ["notify", "notify-next"]
    return str(job_id)


def test_a_start_is_no_change(account: Account, raw_device: RawDevice) -> None:
    """Neither start-next nor an update to IN_PROGRESS of the next execution sends an event."""
    job = create(account, raw_device)
    raw_device.ask("start-next")
    raw_device.ask(f"{job}/update", status="IN_PROGRESS", statusDetails={"step": "1"})
    assert raw_device.events() == []


def test_status_details_are_replaced(account: Account, raw_device: RawDevice) -> None:
    """Details that are given replace all that were there; an update without any leaves them."""
    job = create(account, raw_device)
    for fields in ({"statusDetails": {"a": "1"}}, {"statusDetails": {"b": "2"}}, {}):
        raw_device.ask(f"{job}/update", status="IN_PROGRESS", **fields)
    assert raw_device.ask(f"{job}/get")[1]["execution"]["statusDetails"] == {"b": "2"}


@pytest.mark.parametrize(
    ("fields", "document"),
    [
        ({"document": '{"a": null, "b": [null, 1e2]}'}, '{"b": [null, 100.0]}'),
        (
            {
                "document": PRESIGNED,
                "presignedUrlConfig": {"roleArn": "arn:aws:iam::000000000000:role/r"},
            },
            PRESIGNED,
        ),
        ({"namespaceId": "abc"}, "{}"),
    ],
)
def test_what_a_device_gets(
    fields: Any, document: str, account: Account, raw_device: RawDevice
) -> None:
    """The document without null members; presigned URLs and namespaces are not applied."""
    job = create(account, raw_device, **fields)
    execution = raw_device.ask(f"{job}/get")[1]["execution"]
    assert json.dumps(execution["jobDocument"]) == document


@pytest.mark.parametrize("job_id", ["get", "notify", "notify-next", "start-next", "$next"])
def test_requests_without_an_answer(job_id: str, account: Account, raw_device: RawDevice) -> None:
    """Requests for a job whose id is a word of the topics, and updates of $next, have no answer."""
    create(account, raw_device, **({} if job_id == "$next" else {"jobId": job_id}))
    topic = f"$aws/things/{raw_device.thing}/jobs/{job_id}/update"
    assert raw_device.publish(topic, b'{"status": "IN_PROGRESS"}') == 0
    assert [name for name, _ in raw_device.events() if name.endswith("ed")] == []


def test_a_deleted_thing(account: Account, raw_device: RawDevice) -> None:
    """The executions of a deleted thing are gone, without events; the job is COMPLETED at once."""
    job = create(account, raw_device)
    account.iot.delete_thing(thingName=raw_device.thing)
    assert raw_device.events() == []
    assert account.iot.describe_job(jobId=job)["job"]["status"] == "COMPLETED"
    assert account.iot.list_job_executions_for_job(jobId=job)["executionSummaries"] == []


def test_limits_of_the_broker_are_wider(raw_device: RawDevice) -> None:
    """Nine filters in one SUBSCRIBE, a message of 200 kB and QoS 2 are let through."""
    topic = f"$aws/things/{raw_device.thing}/jobs/get"
    assert raw_device.subscribe(*[f"{topic}/+"] * 9) == [1] * 9
    assert raw_device.publish(topic, json.dumps({"filler": "x" * 200_000}).encode()) == 0
    raw_device._send(mqtt5.PublishPacket(topic, b"{}", qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=1000))
    assert [raw_device.event()[0], raw_device.event()[0]] == ["get/accepted"] * 2


def test_a_session_is_kept(account: Account) -> None:
    """With the shipped policy, a session outlives its connection; missed events come in order."""
    device = account.device()
    account.iot.create_thing(thingName=device.thing)
    options: Any = {"client_id": f"test-{device.thing}", "session": 3600}
    with RawDevice(account.local, device, **options) as first:
        assert not first.session_present
    jobs = account.queue(device.thing, *"ABCDE")
    with RawDevice(account.local, device, listens=False, **options) as again:
        assert again.session_present
        events = [again.event() for _ in range(6)]
        lists = [event["jobs"]["QUEUED"] for name, event in events if name == "notify"]
        assert [[each["jobId"] for each in queued] for queued in lists] == [
            jobs[: number + 1] for number in range(5)
        ]


def test_connectivity_is_not_indexed(account: Account, raw_device: RawDevice) -> None:
    """GetThingConnectivityData fails, whether the thing is connected or not."""
    with pytest.raises(ClientError):
        account.iot.get_thing_connectivity_data(thingName=raw_device.thing)


def test_describe_endpoint_names_another_port(account: Account) -> None:
    """The address of DescribeEndpoint is MiniStack's own, with the port of its HTTP front."""
    address = account.iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    assert address.endswith(f"localhost:{account.local.endpoint_url.rpartition(':')[2]}")
