"""The embedded AWS IoT with the real MiniStack: what it accepts, and what it leaves behind."""

import http.client
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError

from jobs_sandbox import local_iot
from jobs_sandbox.core.errors import StartError
from jobs_sandbox.local import HOST
from tests.support.aws.account import ROOT, Account, Device
from tests.support.drivers.raw_device import RawDevice
from tests.support.waiting import PATIENCE

HOLD = """\
import sys
from jobs_sandbox import local_iot
with local_iot() as running:
    print(running.cert, flush=True)
    sys.stdin.read()
"""
OWN_NAME = """{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "iot:Connect",
     "Resource": "arn:aws:iot:<region>:<account>:client/${iot:Connection.Thing.ThingName}"},
    {"Effect": "Allow", "Action": "iot:Subscribe",
     "Resource": "arn:aws:iot:<region>:<account>:topicfilter/only/<thingname>"}]}"""


def test_a_damaged_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When MiniStack cannot be loaded, the reason is in the error."""
    (tmp_path / "ministack.py").write_text("raise ImportError('half installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(StartError, match="half installed"), local_iot("Thing"):
        pass


def test_a_full_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing can be written, the system's reason is in the error."""
    monkeypatch.setattr(
        "jobs_sandbox.local.service.ministack_settings", lambda _: {"TMPDIR": "/dev/full"}
    )
    with pytest.raises(StartError, match="/dev/full") as caught, local_iot("Thing"):
        pass
    assert "TMPDIR" in caught.value.next_step


def test_files_keys_and_policies() -> None:
    """The files are private, the operator's keys work, each certificate has its own policy."""
    with local_iot("Lamp", device_policy=OWN_NAME) as running:
        files = (running.ca_file, running.cert, running.key, running.device_cert)
        assert [path for path in files if Path(path).stat().st_mode & 0o077] == []
        operator = boto3.client(
            "iot",
            region_name=running.region,
            endpoint_url=running.endpoint_url,
            aws_access_key_id=running.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=running.environment["AWS_SECRET_ACCESS_KEY"],
        )
        assert operator.describe_thing(thingName="Lamp")["thingName"] == "Lamp"
        program = Device("Lamp", running.cert, running.key, "")
        device = Device("Lamp", running.device_cert, running.device_key, "")
        for identity, client_id, connack in (
            (program, "test-1", 0),
            (program, "Lamp", 135),
            (device, "test-1", 135),
            (device, "Lamp", 0),
        ):
            with RawDevice(running, identity, client_id=client_id, listens=False) as connected:
                assert connected.connack == connack
        with RawDevice(running, device, client_id="Lamp", listens=False) as connected:
            assert connected.subscribe("only/Lamp", "only/Other") == [1, 135]


def test_the_client_ids_of_a_device(account: Account) -> None:
    """With the shipped policy, the device's certificate may connect with the thing's name."""
    local = account.local
    device = Device(local.thing, local.device_cert, local.device_key, "")
    for client_id, connack in ((local.thing, 0), ("test-1", 0), ("Other", 135)):
        with RawDevice(local, device, client_id=client_id, listens=False) as connected:
            assert connected.connack == connack


def test_only_loopback_listens(account: Account) -> None:
    """Both ports are open on loopback, and no other is."""
    child = max(psutil.Process().children(), key=lambda process: process.create_time())
    listening = {tuple(c.laddr) for c in child.net_connections() if c.status == psutil.CONN_LISTEN}
    control = int(account.local.endpoint_url.rpartition(":")[2])
    assert listening == {(HOST, control), (HOST, account.local.port)}


@pytest.mark.parametrize(
    ("method", "target", "headers", "status", "word"),
    [
        ("POST", "/_ministack/%72eset", {}, 403, "closed"),
        ("GET", "/things", {"Origin": "https://example.com"}, 403, "web page"),
        ("GET", "/things", {"Sec-Fetch-Mode": "no-cors"}, 403, "web page"),
        ("GET", "/things", {"Host": "evil.example"}, 403, "Host"),
        ("GET", "/?Action=ListUsers&X-Amz-Credential=test/a/b", {}, 403, "credentials"),
    ],
)
def test_the_http_port(  # noqa: PLR0917
    method: str, target: str, headers: dict[str, str], status: int, word: str, account: Account
) -> None:
    """MiniStack's controls and web pages are refused."""
    address = account.local.endpoint_url.removeprefix("http://")
    with closing(http.client.HTTPConnection(address, timeout=PATIENCE)) as connection:
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        assert response.status == status
        assert word in response.read().decode()


def test_who_may_use_the_jobs_data_plane_over_http(account: Account) -> None:
    """The HTTP data plane answers root without a certificate; the operator's policy lacks it."""
    root = account.client("iot-jobs-data", ROOT)
    assert root.get_pending_job_executions(thingName=account.local.thing)["queuedJobs"] == []
    keys = account.local.environment
    operator = account.client(
        "iot-jobs-data", (keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    )
    with pytest.raises(ClientError, match="not authorized"):
        operator.get_pending_job_executions(thingName=account.local.thing)


def test_a_killed_parent_leaves_nothing(tmp_path: Path) -> None:
    """When its parent is killed, the child ends, and its folder goes with it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    with holder:
        assert holder.stdout
        assert Path(holder.stdout.readline().decode().strip()).exists()
        [child] = psutil.Process(holder.pid).children()
        holder.kill()
        child.wait(PATIENCE)
    assert list(tmp_path.iterdir()) == []
