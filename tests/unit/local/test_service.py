"""How the embedded AWS IoT is started, asked and stopped, with a script in place of its child."""

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import jobs_sandbox
from jobs_sandbox import local_iot
from jobs_sandbox.core.errors import SandboxError, StartError
from jobs_sandbox.local import service

JOINING = {
    "port": 8883,
    "endpoint_url": "http://127.0.0.1:4566",
    "ca_file": "/f/ca.pem",
    "cert": "/f/certificate.pem",
    "key": "/f/private.key",
    "device_cert": "/f/device-certificate.pem",
    "device_key": "/f/device-private.key",
}
READY = f"print({json.dumps(json.dumps(JOINING | {'keys': {'AWS_SECRET': 's'}}))}, flush=True)\n"
UNTIL_THE_END = f"{READY}sys.stdin.read()"
ANSWER = f"""{READY}
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({{request["name"]: request["arguments"]}}), flush=True)
"""
StandIn = Callable[[str], None]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of this test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Put a script in the place of the child; it has read the first line when it begins."""

    def stand_in(script: str) -> None:
        code = f"import json, os, sys, time\nfirst = sys.stdin.readline()\n{script}"
        monkeypatch.setattr(service, "_COMMAND", (sys.executable, "-c", code))

    return stand_in


def test_public_names() -> None:
    """`local_iot` and `LocalIoT` can be imported from the package."""
    assert jobs_sandbox.local_iot is service.local_iot
    assert jobs_sandbox.LocalIoT is service.LocalIoT
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = jobs_sandbox.nothing


def test_a_run(stand_in: StandIn, temporary: Path) -> None:
    """The attributes are what the child reports; in the end it and its folder are gone."""
    stand_in(UNTIL_THE_END)
    with local_iot("Lamp") as running:
        assert (running.endpoint, running.region, running.thing) == (
            "localhost",
            "us-east-1",
            "Lamp",
        )
        assert {name: getattr(running, name) for name in JOINING} == JOINING
        assert running.environment == {
            "AWS_SECRET": "s",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        }
        assert [folder.stat().st_mode & 0o777 for folder in temporary.iterdir()] == [0o700]
    assert running.wait_ended() == "exit status 0"
    assert not list(temporary.iterdir())


def test_what_the_child_gets(
    stand_in: StandIn, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child gets policies filled in for the thing, and few variables of the environment."""
    monkeypatch.setenv("PERSIST_STATE", "1")
    monkeypatch.setenv("AWS_PROFILE", "production")
    got = temporary / "got"
    stand_in(f"open({str(got)!r}, 'w').write(json.dumps([json.loads(first), dict(os.environ)]))")
    own = '{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "<thingname>"}}'
    with pytest.raises(StartError), local_iot("Lamp", policy=own):
        pass
    request, environment = json.loads(got.read_text())
    assert request["policy"] == own.replace("<thingname>", "Lamp")
    shipped, own_client_id = request["device_policies"]
    assert "things/Lamp/jobs/start-next" in shipped
    assert ":client/Lamp" in own_client_id
    assert "thing/Lamp" in request["control_plane_policy"]
    assert (environment["PERSIST_STATE"], "AWS_PROFILE" in environment) == ("0", False)


def test_a_child_that_does_not_stop(
    stand_in: StandIn, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that does not end with its input is killed, also when the body fails."""
    stand_in(f"{READY}time.sleep(60)")
    monkeypatch.setattr(service, "_STOP_TIMEOUT", 0.1)
    before = psutil.Process().children()
    with pytest.raises(ZeroDivisionError), local_iot():
        _ = 1 / 0
    assert psutil.Process().children() == before
    assert not list(temporary.iterdir())


def test_a_child_that_ends(stand_in: StandIn) -> None:
    """The end of a child can be waited for; a request to it fails."""
    stand_in(f"{READY}sys.stdout.close(); os.kill(os.getpid(), 9)")
    with local_iot() as running:
        assert running.wait_ended() == "signal 9"
        with pytest.raises(SandboxError, match="has ended"):
            running.request("anything")


def test_requests(stand_in: StandIn) -> None:
    """A request has a result or an error."""
    stand_in(ANSWER)
    with local_iot() as running:
        assert running.request("result", seconds=2) == {"seconds": 2}
        with pytest.raises(SandboxError, match="not now"):
            running.request("error", reason="not now")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("sys.exit('half installed')", "half installed"),
        ("sys.exit(3)", "exit status 3"),
        ("""print('{"error": "ImportError: x"}')""", "ImportError: x"),
        ("time.sleep(60)", "no answer within 0.5 s"),
    ],
)
def test_a_failed_start(
    script: str, reason: str, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason of a failed start is in its error, with a next step."""
    stand_in(script)
    if "sleep" in script:
        monkeypatch.setattr(service, "_START_TIMEOUT", 0.5)
        monkeypatch.setattr(service, "_STOP_TIMEOUT", 0.1)
    with pytest.raises(StartError, match=f"did not start: {reason}") as caught, local_iot():
        pass
    assert "the local extra is damaged" in caught.value.cause


@pytest.mark.parametrize(
    "refused", ["subprocess.Popen", "jobs_sandbox.local.service.TemporaryDirectory"]
)
def test_a_limit_of_the_system(
    refused: str, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    """Without a process or a folder, the error has the system's reason, and nothing is left."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(refused, fail)
    with pytest.raises(StartError, match="Too many open files") as caught, local_iot():
        pass
    assert "ulimit -n" in caught.value.next_step
    assert not list(temporary.iterdir())


def test_refused_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad thing name, and a missing extra, are reported before anything is started."""
    with pytest.raises(StartError, match="is not a thing name"), local_iot("a/b"):
        pass
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StartError, match="needs the local extra") as caught, local_iot():
        pass
    assert caught.value.next_step == "pip install '.[local]' in a clone of jobs-sandbox."
