"""Where the embedded AWS IoT still differs from AWS, or may: docs/fidelity.md lists it, and here it is shown."""

import json
import socket
import ssl
from datetime import UTC, datetime, timedelta

import mqtt5
import pytest
from botocore.exceptions import ClientError

from tests.support.account import Account
from tests.support.raw_device import RawDevice


def target(device: RawDevice) -> str:
    return f"arn:aws:iot:us-east-1:000000000000:thing/{device.thing}"


def test_completed_and_deleted_at_once(account: Account, raw_device: RawDevice) -> None:
    """A job is COMPLETED with its last execution, and gone with DeleteJob's answer: the next delete finds none."""
    [job] = account.queue(raw_device.thing, "A")
    raw_device.ask(f"{job}/update", status="SUCCEEDED")
    assert account.iot.describe_job(jobId=job)["job"]["status"] == "COMPLETED"
    account.iot.delete_job(jobId=job)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        account.iot.delete_job(jobId=job)


def test_a_job_of_the_same_id_again(account: Account, raw_device: RawDevice) -> None:
    """After a deletion the id is free at once, and the execution has number 1 and version 1 again."""
    [job] = account.queue(raw_device.thing, "A")
    raw_device.ask(f"{job}/update", status="FAILED")
    account.iot.delete_job(jobId=job)
    account.queue(raw_device.thing, "A")
    execution = raw_device.ask(f"{job}/get")[1]["execution"]
    assert (execution["executionNumber"], execution["versionNumber"], execution["status"]) == (
        1,
        1,
        "QUEUED",
    )


def test_responses_go_through_the_broker(account: Account, raw_device: RawDevice) -> None:
    """Another subscriber sees a response; a requester that has not subscribed gets none."""
    device = account.device(raw_device.thing)
    with RawDevice(account.local, device, listens=False) as silent:
        assert silent.publish(f"$aws/things/{device.thing}/jobs/get", b"{}") == 0
        assert raw_device.event()[0] == "get/accepted"
        assert silent.subscribe(f"$aws/things/{device.thing}/jobs/get/accepted") == [1]
        assert silent.ask("get")[0] == "accepted"
        assert list(silent.qos) == ["get/accepted"]
        assert not silent._events  # the first response would have come before


def test_a_start_is_no_change(account: Account, raw_device: RawDevice) -> None:
    """Neither start-next nor an update to IN_PROGRESS of the next one sends an event."""
    first, _ = account.queue(raw_device.thing, "A", "B")
    raw_device.events()
    raw_device.ask("start-next")
    raw_device.ask(f"{first}/update", status="IN_PROGRESS", statusDetails={"step": "1"})
    assert raw_device.events() == []


def test_status_details_are_replaced(account: Account, raw_device: RawDevice) -> None:
    """Details that are given replace all that were there; an update without any leaves them."""
    [job] = account.queue(raw_device.thing, "A")
    raw_device.ask(f"{job}/update", status="IN_PROGRESS", statusDetails={"a": "1"})
    raw_device.ask(f"{job}/update", status="IN_PROGRESS", statusDetails={"b": "2"})
    raw_device.ask(f"{job}/update", status="IN_PROGRESS")
    assert raw_device.ask(f"{job}/get")[1]["execution"]["statusDetails"] == {"b": "2"}


def test_a_step_timer_takes_the_place_of_the_jobs(account: Account, raw_device: RawDevice) -> None:
    """With a step timer of 10 minutes, the 5 minutes of the job's own timer no longer count."""
    job = f"{raw_device.thing}-A"
    timeout = {"inProgressTimeoutInMinutes": 5}
    account.iot.create_job(
        jobId=job, targets=[target(raw_device)], document="{}", timeoutConfig=timeout
    )
    raw_device.event()
    raw_device.ask(f"{job}/update", status="IN_PROGRESS", stepTimeoutInMinutes=10)
    assert raw_device.ask(f"{job}/get")[1]["execution"]["approximateSecondsBeforeTimedOut"] > 500


@pytest.mark.parametrize("job_id", ["get", "notify", "notify-next", "start-next"])
def test_job_ids_that_are_topics(job_id: str, account: Account, raw_device: RawDevice) -> None:
    """A job whose id is a word of the topics can be made, and the device's requests for it are never answered."""
    account.create_job(raw_device.thing, job_id)
    raw_device.events()
    raw_device.publish(f"$aws/things/{raw_device.thing}/jobs/{job_id}/get", b"{}")
    assert not [
        name for name, _ in raw_device.events() if name.endswith(("/accepted", "/rejected"))
    ]
    account.iot.delete_job(jobId=job_id, force=True)


def test_a_document_is_measured_in_characters(account: Account, raw_device: RawDevice) -> None:
    """A document of 32,768 characters is taken, though it has nearly twice as many bytes; and one that is no object."""
    account.iot.create_job(
        jobId=f"{raw_device.thing}-A", targets=[target(raw_device)], document=f'"{"é" * 32766}"'
    )
    account.iot.create_job(
        jobId=f"{raw_device.thing}-B", targets=[target(raw_device)], document="[1]"
    )


def test_a_schedule_is_not_kept(account: Account, raw_device: RawDevice) -> None:
    """A job that is scheduled for tomorrow is queued at once."""
    job = f"{raw_device.thing}-A"
    start = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    schedule = {"startTime": start}
    account.iot.create_job(
        jobId=job, targets=[target(raw_device)], document="{}", schedulingConfig=schedule
    )
    assert raw_device.event()[0] == "notify"


def test_limits_of_the_broker_are_wider(account: Account, raw_device: RawDevice) -> None:
    """Nine filters in one SUBSCRIBE, a message of 200 kB and QoS 2, never acknowledged, are let through."""
    base = f"$aws/things/{raw_device.thing}/jobs/"
    assert raw_device.subscribe(*[f"{base}get/+"] * 9) == [1] * 9
    assert raw_device.publish(f"{base}get", json.dumps({"filler": "x" * 200_000}).encode()) == 0
    assert raw_device.event()[0] == "get/accepted"
    raw_device._send(
        mqtt5.PublishPacket(f"{base}get", b"{}", qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=1000)
    )
    assert raw_device.event()[0] == "get/accepted"


def test_a_session_is_kept(account: Account) -> None:
    """With the shipped policy a session may outlive its connection; what it missed comes in order, at once."""
    device = account.device()
    account.iot.create_thing(thingName=device.thing)
    with RawDevice(account.local, device, client_id="test-kept", session=3600) as first:
        assert not first.session_present
    jobs = account.queue(device.thing, *"ABCDE")
    with RawDevice(
        account.local, device, client_id="test-kept", session=3600, listens=False
    ) as again:
        assert again.session_present
        changes = [body["jobs"]["QUEUED"] for name, body in again.events() if name == "notify"]
        assert [len(queued) for queued in changes] == [1, 2, 3, 4, 5]
        assert [summary["jobId"] for summary in changes[-1]] == jobs
        assert (again.qos["notify"], again.qos["notify-next"]) == (1, 1)


def test_an_mqtt_3_client(account: Account, raw_device: RawDevice) -> None:
    """An MQTT 3.1.1 client is served too; what its policy refuses ends its connection, as on AWS."""
    device = account.device(raw_device.thing)
    context = ssl.create_default_context(cafile=account.local.ca_file)
    context.load_cert_chain(device.cert, device.key)
    plain = socket.create_connection((account.local.endpoint, account.local.port), 15)
    with context.wrap_socket(plain, server_hostname=account.local.endpoint) as client:
        client.sendall(_packet(0x10, _text("MQTT") + b"\x04\x02\x00\x3c" + _text("test-three")))
        assert client.recv(4) == b"\x20\x02\x00\x00"
        base = f"$aws/things/{device.thing}/jobs/get"
        client.sendall(_packet(0x82, b"\x00\x01" + _text(f"{base}/+") + b"\x01"))
        assert client.recv(5) == b"\x90\x03\x00\x01\x01"
        client.sendall(_packet(0x30, _text(base) + b"{}"))
        assert f"{base}/accepted" in client.recv(1024).decode()
        client.sendall(_packet(0x30, _text("elsewhere") + b"{}"))
        assert client.recv(1) == b""


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([kind, len(body)]) + body


def test_describe_endpoint_names_another_port(account: Account) -> None:
    """The address of DescribeEndpoint is MiniStack's own: another name, with the port of its HTTP front."""
    address = account.iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    assert address.endswith(f"localhost:{account.local.endpoint_url.rpartition(':')[2]}")
