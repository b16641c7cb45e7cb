"""The embedded AWS IoT with the real MiniStack: what it accepts, and what it leaves behind."""

import http.client
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError

from jobs_sandbox import LocalIoT, local_iot
from jobs_sandbox.core.errors import StartError
from jobs_sandbox.local import HOST
from tests.support.account import PATIENCE, ROOT, Account, Device
from tests.support.raw_device import RawDevice

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


def test_a_full_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When nothing can be written, the system's reason is in the error."""
    # A file in place of the folder stands for a full one: root may write to any folder.
    monkeypatch.setattr(
        "jobs_sandbox.local.service.ministack_settings", lambda _: {"TMPDIR": "/dev/full"}
    )
    with pytest.raises(StartError, match="/dev/full") as caught, local_iot("Thing"):
        pass
    assert "TMPDIR" in caught.value.next_step


def test_its_files_and_keys() -> None:
    """The files are private, and the operator's keys work; in the end all is gone."""
    with local_iot("Lamp") as running:
        files = (running.ca_file, running.cert, running.key, running.device_cert)
        assert [path for path in files if Path(path).stat().st_mode & 0o077] == []
        code = "import boto3; print(boto3.client('iot').describe_thing(thingName='Lamp'))"
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | running.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert "'thingName': 'Lamp'" in done.stdout
        assert running.warnings == []
    assert not Path(running.cert).parent.exists()


def test_only_loopback_listens(account: Account) -> None:
    """Both ports are open on loopback, and no other is."""
    child = max(psutil.Process().children(), key=lambda process: process.create_time())
    listening = {tuple(c.laddr) for c in child.net_connections() if c.status == psutil.CONN_LISTEN}
    control = int(account.local.endpoint_url.rpartition(":")[2])
    assert listening == {(HOST, control), (HOST, account.local.port)}


def request(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
    with closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


def test_the_http_port(account: Account) -> None:
    """Health and the CA are open; MiniStack's controls and web pages are refused."""
    url = account.local.endpoint_url
    account.iot.create_thing(thingName="Stays")
    status, body = request(url, "/_ministack/health")
    assert (status, json.loads(body)["iot_mtls"]) == (200, "listening")
    assert request(url, "/_ministack/iot/ca.pem") == (200, Path(account.local.ca_file).read_bytes())
    for path in ("reset", "config", "%72eset"):
        status, body = request(url, f"/_ministack/{path}", "POST")
        assert status == 403
        assert "closed here" in json.loads(body)["message"]
    status, body = request(url, "/things", Origin="https://example.com")
    assert (status, "web page" in json.loads(body)["message"]) == (403, True)
    account.iot.describe_thing(thingName="Stays")


def test_who_may_use_the_jobs_data_plane_over_http(account: Account) -> None:
    """The HTTP data plane answers root without a certificate; the operator's policy lacks it."""
    thing = account.device().thing
    account.iot.create_thing(thingName=thing)
    job = account.create_job(thing)
    root = account.client("iot-jobs-data", ROOT)
    assert root.get_pending_job_executions(thingName=thing)["queuedJobs"][0]["jobId"] == job
    keys = account.operator(thing)
    operator = account.client(
        "iot-jobs-data", (keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    )
    with pytest.raises(ClientError, match="not authorized"):
        operator.get_pending_job_executions(thingName=thing)


def connack(local: LocalIoT, cert: str, client_id: str) -> int:
    device = Device(local.thing, cert, local.key, "")
    with RawDevice(local, device, client_id=client_id, listens=False) as connected:
        return connected.connack


def test_the_two_certificates() -> None:
    """The device's certificate may connect with the thing's name as well; the program's may not."""
    with local_iot("Lamp") as running:
        for client_id, allowed in (("test-1", (0, 0)), ("Lamp", (135, 0)), ("Other", (135, 135))):
            reasons = (
                connack(running, running.cert, client_id),
                connack(running, running.device_cert, client_id),
            )
            assert reasons == allowed, client_id


def test_a_policy_of_ones_own() -> None:
    """A device policy holds for the device's certificate alone, its thing variables too."""
    with local_iot("Lamp", device_policy=OWN_NAME) as running:
        device = Device("Lamp", running.device_cert, running.device_key, "")
        with RawDevice(running, device, client_id="Lamp", listens=False) as connected:
            assert connected.connack == 0
            assert connected.subscribe("only/Lamp", "only/Other") == [1, 135]
        assert connack(running, running.device_cert, "test-1") == 135
        assert connack(running, running.cert, "test-1") == 0


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
