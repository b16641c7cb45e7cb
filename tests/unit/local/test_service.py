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

REPORT = {
    "port": 8883,
    "endpoint_url": "http://127.0.0.1:4566",
    "ca_file": "/f/ca.pem",
    "cert": "/f/certificate.pem",
    "key": "/f/private.key",
    "device_cert": "/f/device-certificate.pem",
    "device_key": "/f/device-private.key",
    "keys": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "very secret"},
    "warnings": ["it is old"],
}
READY = f"print({json.dumps(json.dumps(REPORT))}, flush=True)\n"
UNTIL_THE_END = f"{READY}sys.stdin.read()"
Stand = Callable[[str], None]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of this test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Put a script in the place of the child; it has read the first line when it begins."""

    def stand_in(script: str) -> None:
        code = f"import json, os, sys, time, signal\nfirst = sys.stdin.readline()\n{script}"
        monkeypatch.setattr(service, "_COMMAND", (sys.executable, "-c", code))

    return stand_in


def test_public_names() -> None:
    """`local_iot` and `LocalIoT` can be imported from the package."""
    assert jobs_sandbox.local_iot is service.local_iot
    assert jobs_sandbox.LocalIoT is service.LocalIoT
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = jobs_sandbox.nothing


def test_what_a_client_needs(stand_in: Stand) -> None:
    """The attributes are what the child reports; the operator's keys are environment variables."""
    stand_in(UNTIL_THE_END)
    with local_iot("Lamp") as running:
        assert (running.endpoint, running.port) == ("localhost", 8883)
        assert (running.region, running.thing) == ("us-east-1", "Lamp")
        assert (running.ca_file, running.endpoint_url) == ("/f/ca.pem", "http://127.0.0.1:4566")
        assert (running.cert, running.key) == ("/f/certificate.pem", "/f/private.key")
        assert running.device_cert == "/f/device-certificate.pem"
        assert running.device_key == "/f/device-private.key"
        assert running.environment == {
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "very secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        }
        assert running.warnings == ["it is old"]
        assert "very secret" not in repr(running)


def test_what_the_child_gets(
    stand_in: Stand, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child gets policies filled in for the thing, and few variables of the environment."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("PERSIST_STATE", "1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    got = temporary / "got"
    stand_in(f"open({str(got)!r}, 'w').write(json.dumps([json.loads(first), dict(os.environ)]))")
    own = '{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "<thingname>"}}'
    with pytest.raises(StartError), local_iot("Lamp", device_policy=own):
        pass
    request, environment = json.loads(got.read_text())
    assert request["thing"] == "Lamp"
    assert "things/Lamp/jobs/start-next" in request["policy"]
    assert request["device_policy"] == own.replace("<thingname>", "Lamp")
    assert request["own_client_id"] is False
    assert "thing/Lamp" in request["control_plane_policy"]
    assert "AWS_PROFILE" not in environment
    assert (environment["PERSIST_STATE"], environment["LC_ALL"]) == ("0", "C.UTF-8")


def test_nothing_is_left(stand_in: Stand, temporary: Path) -> None:
    """In the end the child and its private folder are gone, also when the body fails."""
    stand_in(UNTIL_THE_END)
    modes: list[int] = []
    before = psutil.Process().children()

    def fail() -> None:
        with local_iot():
            modes.extend(folder.stat().st_mode & 0o777 for folder in temporary.iterdir())
            raise OSError("the body's own")

    with pytest.raises(OSError, match="the body's own"):
        fail()
    assert modes == [0o700]
    assert psutil.Process().children() == before
    assert not list(temporary.iterdir())


def test_a_child_that_does_not_stop(
    stand_in: Stand, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that does not end with its input is killed."""
    stand_in(f"{READY}time.sleep(60)")
    monkeypatch.setattr(service, "_STOP_TIMEOUT", 0.1)
    with local_iot() as running:
        pass
    assert running.wait_ended() == "signal 9"
    assert not list(temporary.iterdir())


def test_the_end_of_the_child(stand_in: Stand) -> None:
    """The exit status of a child that ends by itself can be waited for; a request to it fails."""
    stand_in(f"{READY}sys.exit(3)")
    with local_iot() as running:
        assert running.wait_ended() == "exit status 3"
        with pytest.raises(SandboxError, match="does not answer"):
            running.request("anything")


ANSWERS = """\
for line in sys.stdin:
    request = json.loads(line)
    if request["name"] == "refuse":
        print(json.dumps({"id": request["id"], "error": "not now"}), flush=True)
    elif request["name"] == "late":
        time.sleep(0.2)
        print(json.dumps({"id": request["id"], "result": "late"}), flush=True)
    else:
        print(json.dumps({"id": request["id"], "result": request["arguments"]}), flush=True)
"""


def test_requests(stand_in: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has a result or an error; a late answer is not taken for that to another."""
    stand_in(READY + ANSWERS)
    with local_iot() as running:
        assert running.request("echo", seconds=2) == {"seconds": 2}
        with pytest.raises(SandboxError, match="not now"):
            running.request("refuse")
        monkeypatch.setattr(service, "_REQUEST_TIMEOUT", 0.05)
        with pytest.raises(SandboxError, match="does not answer"):
            running.request("late")
        monkeypatch.undo()
        assert running.request("echo") == {}


@pytest.mark.parametrize(
    ("script", "message", "cause"),
    [
        ("sys.exit('half installed')", "did not start: half installed", "damaged"),
        ("sys.exit(3)", "did not start: exit status 3", "damaged"),
        ("""print('{"error": "ImportError: x"}')""", "did not start: ImportError: x", "damaged"),
        ("""print('{"limit": "no space left"}')""", "did not start: no space left", "limit"),
        ("""print('{"refused": "Malformed"}')""", "refuses it: Malformed", "would refuse it"),
        ("time.sleep(60)", "did not start: no answer", "heavy load"),
    ],
)
def test_a_failed_start(  # noqa: PLR0917
    script: str,
    message: str,
    cause: str,
    stand_in: Stand,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reason of a failed start is in its error, with a next step, and nothing is left."""
    stand_in(script)
    if "sleep" in script:
        monkeypatch.setattr(service, "_START_TIMEOUT", 0.5)
        monkeypatch.setattr(service, "_STOP_TIMEOUT", 0.1)
    with pytest.raises(StartError, match=message) as caught, local_iot():
        pass
    assert cause in caught.value.cause
    assert caught.value.next_step
    assert not list(temporary.iterdir())


def test_a_limit_of_the_system(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """When the system starts no process, the error has its reason, and the folder is gone."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("subprocess.Popen", fail)
    with pytest.raises(StartError, match="Too many open files") as caught, local_iot():
        pass
    assert "ulimit -n" in caught.value.cause
    assert not list(temporary.iterdir())


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MiniStack, the error names the extra and the command."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StartError, match="needs the local extra") as caught, local_iot():
        pass
    assert caught.value.next_step == "pip install '.[local]' in a clone of jobs-sandbox."


@pytest.mark.parametrize("thing", ["", "a/b", "x" * 129])
def test_no_thing_name(thing: str) -> None:
    """A name that AWS IoT does not take is refused before anything is started."""
    with pytest.raises(StartError, match="is not a thing name"), local_iot(thing):
        pass
