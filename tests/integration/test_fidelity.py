"""Where the embedded AWS IoT still differs from AWS, or may: docs/fidelity.md lists it."""

import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import mqtt5
import pytest

from tests.support.account import Account
from tests.support.raw_device import RawDevice


def create(account: Account, device: RawDevice, **fields: Any) -> str:
    """A job for the thing of a device, whose event has come; its id."""
    job_id = f"{device.thing}-A"
    target = f"arn:aws:iot:us-east-1:000000000000:thing/{device.thing}"
    account.iot.create_job(jobId=job_id, **{"targets": [target], "document": "{}"} | fields)
    assert device.event()[0] == "notify"
    assert device.event()[0] == "notify-next"
    return job_id


def test_completed_at_once(account: Account, raw_device: RawDevice) -> None:
    """A job is COMPLETED with its last execution."""
    job = create(account, raw_device)
    raw_device.ask(f"{job}/update", status="SUCCEEDED")
    assert account.iot.describe_job(jobId=job)["job"]["status"] == "COMPLETED"


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


def test_documents_are_written_anew(account: Account, raw_device: RawDevice) -> None:
    """A device gets the document without null members, and with numbers in another form."""
    job = create(account, raw_device, document='{"a": null, "b": [null, 1e2]}')
    execution = raw_device.ask(f"{job}/get")[1]["execution"]
    assert json.dumps(execution["jobDocument"]) == '{"b": [null, 100.0]}'


@pytest.mark.parametrize("job_id", ["get", "notify", "notify-next", "start-next"])
def test_job_ids_that_are_topics(job_id: str, account: Account, raw_device: RawDevice) -> None:
    """A job whose id is a word of the topics can be made, and requests for it have no answer."""
    account.create_job(raw_device.thing, job_id)
    assert [raw_device.event()[0], raw_device.event()[0]] == ["notify", "notify-next"]
    raw_device.publish(f"$aws/things/{raw_device.thing}/jobs/{job_id}/get", b"{}")
    answers = [name for name, _ in raw_device.events() if name.endswith(("/accepted", "/rejected"))]
    assert answers == []


def test_an_update_to_next(account: Account, raw_device: RawDevice) -> None:
    """An update to $next is acknowledged, and has no answer."""
    create(account, raw_device)
    topic = f"$aws/things/{raw_device.thing}/jobs/$next/update"
    assert raw_device.publish(topic, b'{"status": "IN_PROGRESS"}') == 0
    assert raw_device.events() == []


def test_a_schedule_is_not_kept(account: Account, raw_device: RawDevice) -> None:
    """A job that is scheduled for tomorrow is queued at once."""
    start = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    create(account, raw_device, schedulingConfig={"startTime": start})


def test_a_namespace_is_ignored(account: Account, raw_device: RawDevice) -> None:
    """The events of a job with a namespace come on the plain topics."""
    create(account, raw_device, namespaceId="abc")


def test_presigned_urls_are_not_replaced(account: Account, raw_device: RawDevice) -> None:
    """A placeholder for a presigned URL comes to the device as it is."""
    document = '{"url":"${aws:iot:s3-presigned-url:https://s3.amazonaws.com/b/k}"}'
    role = "arn:aws:iam::000000000000:role/r"
    job = create(account, raw_device, document=document, presignedUrlConfig={"roleArn": role})
    execution = raw_device.ask(f"{job}/get")[1]["execution"]
    assert execution["jobDocument"] == json.loads(document)


def test_a_deleted_thing(account: Account, raw_device: RawDevice) -> None:
    """The executions of a deleted thing are gone, without events, and the job is COMPLETED."""
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
    assert raw_device.event()[0] == "get/accepted"
    raw_device._send(mqtt5.PublishPacket(topic, b"{}", qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=1000))
    assert raw_device.event()[0] == "get/accepted"


def test_a_session_is_kept(account: Account) -> None:
    """With the shipped policy, a session outlives its connection; missed events come in order."""
    device = account.device()
    account.iot.create_thing(thingName=device.thing)
    with RawDevice(account.local, device, client_id="test-kept", session=3600) as first:
        assert not first.session_present
    jobs = account.queue(device.thing, *"ABCDE")
    with RawDevice(
        account.local, device, client_id="test-kept", session=3600, listens=False
    ) as again:
        assert again.session_present
        events = [again.event() for _ in range(6)]
        lists = [event["jobs"]["QUEUED"] for name, event in events if name == "notify"]
        assert [len(queued) for queued in lists] == [1, 2, 3, 4, 5]
        assert [summary["jobId"] for summary in lists[-1]] == jobs
        assert (again.qos["notify"], again.qos["notify-next"]) == (1, 1)


def test_an_mqtt_3_client(account: Account, raw_device: RawDevice) -> None:
    """An MQTT 3.1.1 client is served too; a publish that its policy refuses ends the connection."""
    device = account.device(raw_device.thing)
    context = ssl.create_default_context(cafile=account.local.ca_file)
    context.load_cert_chain(device.cert, device.key)
    plain = socket.create_connection((account.local.endpoint, account.local.port), 15)
    with context.wrap_socket(plain, server_hostname=account.local.endpoint) as client:
        client.sendall(_packet(0x10, _text("MQTT") + b"\x04\x02\x00\x3c" + _text("test-three")))
        assert client.recv(4) == b"\x20\x02\x00\x00"
        topic = f"$aws/things/{device.thing}/jobs/get"
        client.sendall(_packet(0x82, b"\x00\x01" + _text(f"{topic}/+") + b"\x01"))
        assert client.recv(5) == b"\x90\x03\x00\x01\x01"
        client.sendall(_packet(0x30, _text(topic) + b"{}"))
        assert f"{topic}/accepted" in client.recv(1024).decode()
        client.sendall(_packet(0x30, _text("elsewhere") + b"{}"))
        assert client.recv(1) == b""


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([kind, len(body)]) + body


def test_describe_endpoint_names_another_port(account: Account) -> None:
    """The address of DescribeEndpoint is MiniStack's own, with the port of its HTTP front."""
    address = account.iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    assert address.endswith(f"localhost:{account.local.endpoint_url.rpartition(':')[2]}")
