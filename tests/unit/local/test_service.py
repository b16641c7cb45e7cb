"""How the embedded AWS IoT is started and stopped, with a stand-in for its child process; and how one joins it."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import jobs_sandbox
from jobs_sandbox import local_iot
from jobs_sandbox.core.errors import StartError
from jobs_sandbox.local import service as embedded
from jobs_sandbox.local.service import LocalIoT

REPORT = {
    "port": 8883,
    "endpoint_url": "http://127.0.0.1:4566",
    "ca_file": "/f/ca.pem",
    "cert": "/f/certificate.pem",
    "key": "/f/private.key",
    "keys": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "very secret"},
    "warnings": ["it is old"],
}
READY = f"print({json.dumps(json.dumps(REPORT))}, flush=True)\nsys.stdin.read()"
Stand = Callable[[str], None]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of this test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Put a script in the place of MiniStack; it has read its first line when it begins."""

    def stand_in(script: str) -> None:
        code = f"import os, sys, time, signal\nrequest = sys.stdin.readline()\n{script}"
        monkeypatch.setattr(embedded, "_COMMAND", (sys.executable, "-c", code))

    return stand_in


def local(thing: str = "Lamp") -> LocalIoT:
    environment = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "very secret"}
    return LocalIoT(
        "127.0.0.1",
        8883,
        "/f/ca",
        "/f/cert",
        "/f/k ey",
        "us-east-1",
        thing,
        "http://h:1",
        environment,
    )


def test_what_is_public() -> None:
    """`local_iot` and `LocalIoT` are the package's, and nothing else is."""
    assert jobs_sandbox.local_iot is embedded.local_iot
    assert jobs_sandbox.LocalIoT is LocalIoT
    with pytest.raises(AttributeError, match="module 'jobs_sandbox' has no attribute 'nothing'"):
        _ = jobs_sandbox.nothing


def test_what_the_child_reports(stand_in: Stand) -> None:
    """What the child reports is what is yielded, with the operator's keys as environment variables."""
    stand_in(READY)
    with local_iot("Lamp") as running:
        assert (running.endpoint, running.port, running.region, running.thing) == (
            "127.0.0.1",
            8883,
            "us-east-1",
            "Lamp",
        )
        assert (running.ca_file, running.cert, running.key) == (
            "/f/ca.pem",
            "/f/certificate.pem",
            "/f/private.key",
        )
        assert running.endpoint_url == "http://127.0.0.1:4566"
        assert running.environment == {
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "very secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        }
        assert running.warnings == ("it is old",)


def test_what_the_child_is_asked(stand_in: Stand, temporary: Path) -> None:
    """The child gets the thing, and both policies filled in for it."""
    stand_in(f"open({str(temporary / 'request')!r}, 'w').write(request)\n{READY}")
    with local_iot(
        "Lamp", policy='{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "<thingname>"}}'
    ):
        pass
    request = json.loads((temporary / "request").read_text())
    assert request["thing"] == "Lamp"
    assert (
        request["device_policy"]
        == '{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "Lamp"}}'
    )
    assert "thing/Lamp" in request["control_plane_policy"]


def test_the_shipped_policy_is_the_default(stand_in: Stand, temporary: Path) -> None:
    """Without a policy of one's own, the shipped device policy is enforced."""
    stand_in(f"open({str(temporary / 'request')!r}, 'w').write(request)\n{READY}")
    with local_iot("Lamp"):
        pass
    assert (
        "things/Lamp/jobs/start-next"
        in json.loads((temporary / "request").read_text())["device_policy"]
    )


def test_the_environment_stays(
    stand_in: Stand, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's environment is not changed, and nothing of it that MiniStack could take for a setting is given."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("PERSIST_STATE", "1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    stand_in(
        f"open({str(temporary / 'environment')!r}, 'w').write(repr(dict(os.environ)))\n{READY}"
    )
    before = dict(os.environ)
    with local_iot():
        assert dict(os.environ) == before
    given = (temporary / "environment").read_text()
    assert "AWS_PROFILE" not in given
    assert "http_proxy" not in given
    assert "'PERSIST_STATE': '0'" in given
    assert "'LC_ALL': 'C.UTF-8'" in given


def test_nothing_is_left(stand_in: Stand, temporary: Path) -> None:
    """In the end the child is gone, with its folder, also when the body fails; its failure comes through."""
    stand_in(READY)
    before = psutil.Process().children()
    with pytest.raises(OSError, match="the body's own"), local_iot():
        raise OSError("the body's own")
    assert psutil.Process().children() == before
    assert not list(temporary.iterdir())


def test_a_child_that_does_not_stop_is_killed(
    stand_in: Stand, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that goes on after its input has ended is killed in the end."""
    stand_in(f"{READY}\ntime.sleep(60)")
    monkeypatch.setattr(embedded, "_STOP_TIMEOUT", 0.1)
    before = psutil.Process().children()
    with local_iot() as running:
        pass
    assert running.wait_ended() == "signal 9"
    assert psutil.Process().children() == before
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("end", "how"),
    [("sys.exit(3)", "exit status 3"), (f"os.kill(os.getpid(), {signal.SIGKILL})", "signal 9")],
)
def test_how_it_ended(end: str, how: str, stand_in: Stand) -> None:
    """Whoever waits for its end learns how it ended; leaving the context is one way."""
    stand_in(f"{READY.partition(chr(10))[0]}\n{end}")
    with local_iot() as running:
        assert running.wait_ended() == how
    stand_in(READY)
    with local_iot() as running:
        pass
    assert running.wait_ended() == "exit status 0"


def test_a_refused_policy(stand_in: Stand) -> None:
    """A device policy that the child refuses is told with its words."""
    stand_in("""print('{"refused": "MalformedPolicyException"}', flush=True)\nsys.stdin.read()""")
    with (
        pytest.raises(
            StartError, match="cannot be used: MiniStack refuses it: MalformedPolicyException"
        ),
        local_iot(),
    ):
        pass


@pytest.mark.parametrize(
    "script", ["raise ImportError('half installed')", "os.close(0); sys.exit('half installed')"]
)
def test_a_child_that_dies(script: str, stand_in: Stand, temporary: Path) -> None:
    """When the child cannot run, its last words are in the error, and the clone's extra is the next step."""
    stand_in(script)
    with pytest.raises(StartError, match=r"did not start: .*half installed") as caught, local_iot():
        pass
    assert "pip install --force-reinstall '.[local]' in a clone" in caught.value.next_step
    assert not list(temporary.iterdir())


def test_a_child_that_dies_before_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that has ended before it is asked anything is told by its last words too."""
    monkeypatch.setattr(
        embedded, "_COMMAND", (sys.executable, "-c", "import sys; sys.exit('no room')")
    )
    start = subprocess.Popen

    def started_and_ended(*arguments: object, **options: object) -> object:
        process = start(*arguments, **options)  # type: ignore[call-overload]
        process.wait()
        return process

    monkeypatch.setattr(subprocess, "Popen", started_and_ended)
    with pytest.raises(StartError, match="did not start: no room"), local_iot():
        pass


@pytest.mark.parametrize("said", ["", "sys.stdout.write('{'); sys.stdout.flush()"])
def test_a_child_that_never_answers(
    said: str, stand_in: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that says nothing, or not all, and does not obey either, is told as such, and is killed."""
    stand_in(f"{said}\nos.kill(os.getpid(), signal.SIGSTOP)")
    monkeypatch.setattr(embedded, "_START_TIMEOUT", 0.5)
    monkeypatch.setattr(embedded, "_STOP_TIMEOUT", 0.1)
    before = psutil.Process().children()
    with pytest.raises(StartError, match="did not start: no answer"), local_iot():
        pass
    assert psutil.Process().children() == before


def test_a_child_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """When the system starts no process, that is told, and the folder is gone."""

    def no_process(*_: object, **__: object) -> None:
        raise OSError("Too many open files")

    monkeypatch.setattr("subprocess.Popen", no_process)
    with pytest.raises(StartError, match="did not start: Too many open files"), local_iot():
        pass
    assert not list(temporary.iterdir())


def test_many_open_files(stand_in: Stand) -> None:
    """It starts in a process with more open files than select() can number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, hard), hard))
    stand_in(READY)
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with local_iot() as running:
            assert running.port == 8883
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_missing_extra_says_which_install_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MiniStack, the error names the extra and the command."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StartError, match="needs the local extra") as caught, local_iot():
        pass
    assert caught.value.next_step == "pip install '.[local]' in a clone of jobs-sandbox."


@pytest.mark.parametrize("thing", ["", "a/b", "x" * 129])
def test_no_thing_name(thing: str) -> None:
    """What is no thing name is refused."""
    with pytest.raises(StartError, match="is not a thing name"), local_iot(thing):
        pass


def test_a_bad_policy() -> None:
    """A policy that cannot be used is refused before anything is started."""
    with (
        pytest.raises(StartError, match="the device policy cannot be used"),
        local_iot(policy="{}"),
    ):
        pass


def test_another_environment() -> None:
    """Of the AWS settings in an environment, those of the embedded AWS IoT are left, and no proxy gets between."""
    environment = {
        "AWS_PROFILE": "production",
        "AWS_SESSION_TOKEN": "token",
        "PATH": "/bin",
        "no_proxy": "x",
    }
    local().apply_to(environment)
    assert environment == {
        "PATH": "/bin",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "very secret",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def test_no_secret_in_its_repr() -> None:
    """What a debugger or a log shows of it holds no secret."""
    assert "very secret" not in repr(local())
