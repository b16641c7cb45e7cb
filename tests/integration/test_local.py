"""The embedded AWS IoT with the real MiniStack: what it lets in, what it leaves behind, and whom it believes."""

import http.client
import json
import os
import signal
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
    """When MiniStack cannot be loaded, its last line of output is in the error."""
    (tmp_path / "ministack.py").write_text("raise ImportError('half installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(StartError, match="half installed"), local_iot("Thing"):
        pass


def test_what_it_yields() -> None:
    """The thing exists, the files are private, the operator's keys work past any proxy; in the end all is gone."""
    with local_iot("Lamp") as running:
        folder = Path(running.cert).parent
        assert folder.stat().st_mode & 0o077 == 0
        assert all(
            Path(file).stat().st_mode & 0o077 == 0
            for file in (running.ca_file, running.cert, running.key)
        )
        environment = dict(os.environ) | {
            "http_proxy": "http://127.0.0.1:9",
            "AWS_PROFILE": "production",
        }
        running.apply_to(environment)
        code = (
            "import boto3; print(boto3.client('iot').describe_thing(thingName='Lamp')['thingName'])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout == "Lamp\n"
        assert running.warnings == ()
    assert not folder.exists()


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
    """Health and the CA are open; MiniStack's controls, such as a reset, and web pages are refused."""
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
    """The HTTP data plane answers root; an operator's policy does not cover it, and no certificate is asked for."""
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


def local_device(local: LocalIoT) -> Device:
    return Device(local.thing, local.cert, local.key, "")


def test_a_policy_of_ones_own() -> None:
    """A given device policy is enforced, its thing variables too: the certificate is attached to the thing."""
    with local_iot("Lamp", policy=OWN_NAME) as running:
        with RawDevice(running, local_device(running), client_id="Lamp", listens=False) as device:
            assert device.connack == 0
            assert device.subscribe("only/Lamp", "only/Other") == [1, 135]
        with RawDevice(running, local_device(running), client_id="test-1", listens=False) as device:
            assert device.connack == 135


def hold(tmp_path: Path) -> tuple["subprocess.Popen[bytes]", psutil.Process, Path]:
    """A process with an embedded AWS IoT, whose child and folder are returned too."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert holder.stdout
    folder = Path(holder.stdout.readline().decode()).parent
    [child] = psutil.Process(holder.pid).children()
    return holder, child, folder


def close(holder: "subprocess.Popen[bytes]") -> None:
    for pipe in (holder.stdin, holder.stdout):
        assert pipe
        pipe.close()
    holder.wait(PATIENCE)


def test_a_killed_parent_leaves_nothing(tmp_path: Path) -> None:
    """When its parent is killed, the child ends, and its folder goes with it."""
    holder, child, folder = hold(tmp_path)
    holder.kill()
    child.wait(PATIENCE)
    assert not folder.exists()
    close(holder)


def test_what_a_kill_of_both_leaves_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When both are killed the folder stays, with the key, until the next start; while one lives, it stays anyway."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    holder, child, folder = hold(tmp_path)
    child.send_signal(signal.SIGSTOP)
    holder.kill()
    close(holder)
    with local_iot():
        assert (folder / "private.key").exists()  # the stopped child holds it
    child.kill()
    child.wait(PATIENCE)
    assert (folder / "private.key").exists()
    with local_iot():
        assert not folder.exists()
