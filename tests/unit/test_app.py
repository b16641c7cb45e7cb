"""One run: the order of its start, what it leaves behind, and its exit status."""

import argparse
import io
import os
import queue
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, TextIO

import pytest

from jobs_sandbox import app
from jobs_sandbox.blocks import Block, Pending
from jobs_sandbox.cli import parse
from jobs_sandbox.errors import RequestFailed, StartError
from jobs_sandbox.local.embedded import LocalIoT
from jobs_sandbox.settings import Settings

FIVE = ["host", "cert.pem", "key.pem", "us-east-1", "Thing"]


class World:
    """The collaborators of a run, and what happened to them in which order."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.settings: list[Settings] = []
        self.warning = ""
        self.policy: str | None = ""
        self.ends_of_local: queue.Queue[int] = queue.Queue()
        self.created = False
        self.on_ensure: Callable[[], None] = lambda: None
        self.on_connect: Callable[[], None] = lambda: None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A run whose planes are fakes."""
    world = World()

    class FakeControlPlane:
        def __init__(self, settings: Settings) -> None:
            world.settings.append(settings)

        def ensure_thing(self) -> bool:
            world.happened.append("ensure the thing")
            world.on_ensure()
            return world.created

    class FakeDataPlane:
        def __init__(self, settings: Settings, listener: object) -> None:
            pass

        def __enter__(self) -> Self:
            world.happened.append("connect")
            world.on_connect()
            return self

        def __exit__(self, *_: object) -> None:
            world.happened.append("disconnect")

        def get_pending_job_executions(self) -> Pending:
            pending = Pending()
            pending.set_result(Block("GetPendingJobExecutionsResponse", {"queuedJobs": []}))
            return pending

    @contextmanager
    def fake_local(thing: str, *, policy: str | None) -> Iterator[LocalIoT]:
        world.happened.append("start the local AWS IoT")
        world.policy = policy
        environment = {"AWS_ACCESS_KEY_ID": "id"}
        child = SimpleNamespace(wait=world.ends_of_local.get)
        arguments = ("127.0.0.1", 1, "ca", "cert", "key", "us-east-1", thing, "http://x", environment)
        yield LocalIoT(*arguments, warnings=("it is old",), _process=child)
        world.ends_of_local.put(0)
        world.happened.append("stop the local AWS IoT")

    monkeypatch.setattr("jobs_sandbox.data_plane.diagnosis.check_files", lambda _: world.warning)
    monkeypatch.setattr("jobs_sandbox.control_plane.client.ControlPlane", FakeControlPlane)
    monkeypatch.setattr("jobs_sandbox.data_plane.client.DataPlane", FakeDataPlane)
    monkeypatch.setattr("jobs_sandbox.local.embedded.local_iot", fake_local)
    return world


class Stdout(io.TextIOWrapper):
    """A stdout that may claim to be a terminal."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def text(self) -> str:
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined, no-any-return]


class Streams:
    """The three standard streams of a run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.out, self.err = Stdout(), Stdout()
        self.full: TextIO | None = None
        self.stdin: TextIO | None = None

    def run(self, options: argparse.Namespace, script: str = "", *, terminal: bool = False) -> int:
        """Run the app with ``script`` on its standard input; the exit status."""
        self.out, self.err = Stdout(terminal=terminal), Stdout()
        reading, writing = os.pipe()
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:
            pipe.write(script)
        stdin = SimpleNamespace(fileno=lambda: reading, isatty=lambda: terminal)
        for name, stream in (("stdin", self.stdin or stdin), ("stdout", self.full or self.out), ("stderr", self.err)):
            self._monkeypatch.setattr(sys, name, stream)
        try:
            return app.run(options)
        finally:
            os.close(reading)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    """The standard streams of a run."""
    return Streams(monkeypatch)


def options(*more: str, arguments: list[str] = FIVE) -> argparse.Namespace:
    return parse([*arguments, *more])


def raiser(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


def test_a_run_in_order(world: World, streams: Streams) -> None:
    """The thing is ensured, then the connection made; in the end it is closed; the answer is on stdout."""
    assert streams.run(options(), "get-pending-job-executions\n") == 0
    assert world.happened == ["ensure the thing", "connect", "disconnect"]
    assert "GetPendingJobExecutionsResponse" in streams.out.text
    assert "connected to host:8883 as test-" in streams.err.text


def test_settings_come_from_the_options(world: World, streams: Streams) -> None:
    """Every option reaches the settings."""
    given = [
        "--client-id",
        "me",
        "--port",
        "7",
        "--ca-file",
        "ca",
        "--profile",
        "p",
        "--endpoint-url",
        "u",
        "--timeout",
        "9",
    ]
    streams.run(options(*given))
    assert world.settings == [Settings("host", "cert.pem", "key.pem", "us-east-1", "Thing", "me", 7, "ca", "p", "u", 9)]


def test_client_ids_are_new_each_time(world: World, streams: Streams) -> None:
    """Without --client-id each run has an id of its own, which the shipped policy allows."""
    for _ in range(2):
        streams.run(options())
    first, second = (settings.client_id for settings in world.settings)
    assert first != second
    assert first.startswith("test-")


def test_a_failed_command_makes_the_status_1(world: World, streams: Streams) -> None:
    """Reading from a pipe, a command that failed is the exit status."""
    assert streams.run(options(), "nonsense\nhelp\n") == 1
    assert "line 1: unknown command 'nonsense'" in streams.err.text
    assert "Help" in streams.out.text


def test_a_new_thing_and_a_careless_key_are_told(world: World, streams: Streams) -> None:
    """It says that it created the thing, and warns of a key that others can read."""
    world.created, world.warning = True, "the private key key.pem can be read by others"
    assert streams.run(options()) == 0
    assert "created the thing Thing\n" in streams.err.text
    assert "can be read by others" in streams.err.text


def test_local_runs_around_everything(world: World, streams: Streams) -> None:
    """The embedded AWS IoT starts first and stops last, and its join_instructions is printed."""
    assert streams.run(options(arguments=["--local", "Lamp"])) == 0
    assert world.happened[0] == "start the local AWS IoT"
    assert world.happened[-1] == "stop the local AWS IoT"
    assert "export AWS_ACCESS_KEY_ID=id" in streams.err.text
    [settings] = world.settings
    assert (settings.endpoint, settings.port, settings.thing) == ("127.0.0.1", 1, "Lamp")


def test_the_environment_is_that_of_local(world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs, boto3 finds the credentials of the embedded AWS IoT alone; afterwards the user's are back."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    seen: list[dict[str, str]] = []
    world.on_ensure = lambda: seen.append(dict(os.environ))
    before = dict(os.environ)
    streams.run(options(arguments=["--local"]))
    assert seen[0]["AWS_ACCESS_KEY_ID"] == "id"
    assert "AWS_PROFILE" not in seen[0]
    assert dict(os.environ) == before


def test_the_policy_of_local(world: World, streams: Streams, tmp_path: Path) -> None:
    """The embedded AWS IoT enforces the policy in the file of --policy, or else its own; a bad file ends the start."""
    (tmp_path / "policy.json").write_text("{}")
    streams.run(options("--policy", str(tmp_path / "policy.json"), arguments=["--local"]))
    assert world.policy == "{}"
    streams.run(options(arguments=["--local"]))
    assert world.policy is None
    assert streams.run(options("--policy", "missing", arguments=["--local"])) == 1
    assert "the device policy 'missing' cannot be read" in streams.err.text


def test_warnings_of_local_are_told(world: World, streams: Streams) -> None:
    """What is not as it should be with the embedded AWS IoT is said; that it is stopped in the end is not."""
    streams.run(options(arguments=["--local"]))
    assert "\nit is old\n" in streams.err.text
    assert "has ended" not in streams.err.text


def test_an_end_of_local_is_told(world: World, streams: Streams) -> None:
    """When the embedded AWS IoT ends by itself, that is said, and how."""

    def end() -> None:
        world.ends_of_local.put(-9)
        deadline = time.monotonic() + 10
        while "has ended (signal 9)" not in streams.err.text and time.monotonic() < deadline:
            time.sleep(0.01)

    world.on_connect = end
    streams.run(options(arguments=["--local"]))
    assert "the local AWS IoT has ended (signal 9): quit, and start again" in streams.err.text


def test_local_as_json(world: World, streams: Streams) -> None:
    """As JSON the join_instructions is one object with a field for each value."""
    streams.run(options("--output", "json", arguments=["--local"]))
    assert streams.err.text.startswith('{"type": "Notice", "endpoint": "127.0.0.1", "port": 1, "ca_file": "ca"')


def test_a_start_error_is_told(world: World, streams: Streams) -> None:
    """A start that fails has status 1 and says why; nothing is connected."""
    world.on_connect = raiser(StartError("it broke", cause="a cause", next_step="a step"))
    assert streams.run(options()) == 1
    assert streams.err.text == "it broke\n  likely cause: a cause\n  next: a step\n"


def test_a_control_plane_error_is_a_start_error(world: World, streams: Streams) -> None:
    """When the thing cannot be ensured, nothing is connected."""
    world.on_ensure = raiser(RequestFailed("denied", cause="a cause", next_step="a step"))
    assert streams.run(options()) == 1
    assert streams.err.text == "denied\n  likely cause: a cause\n  next: a step\n"
    assert world.happened == ["ensure the thing"]


@pytest.mark.parametrize(
    ("more", "where"), [([], "AWS IoT in us-east-1"), (["--endpoint-url", "http://u"], "http://u")]
)
def test_a_silent_control_plane(
    more: list[str], where: str, world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control plane that never answers ends the start, with the time it had."""
    hang = threading.Event()

    def wait() -> None:
        hang.wait(10)

    world.on_ensure = wait
    monkeypatch.setattr(app, "GRACE", -0.9)
    assert streams.run(options("--timeout", "1", *more)) == 1
    hang.set()
    assert f"the control plane ({where}) did not answer within 0.1 s" in streams.err.text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_it_in_good_order(number: int, status: int, world: World, streams: Streams) -> None:
    """A signal during the start closes what is open; the status tells which; the old handler is back afterwards."""
    before = signal.getsignal(number)
    world.on_connect = lambda: os.kill(os.getpid(), number)
    assert streams.run(options(arguments=["--local"])) == status
    assert signal.getsignal(number) == before


def test_a_second_signal_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the app is leaving, another signal ends it at once."""
    monkeypatch.setattr(os, "_exit", sys.exit)
    signals = app._Signals()
    signals.leaving = True
    signals.end_main()  # says nothing new
    try:
        with pytest.raises(SystemExit) as end:
            os.kill(os.getpid(), signal.SIGINT)
        assert end.value.code == 130
    finally:
        signals.restore()


def test_a_closed_stdout_ends_it(world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody reads stdout any more, the app ends, though it waits for input, with status 0."""
    reading, writing = os.pipe()
    os.close(reading)
    never, input_end = os.pipe()
    os.write(input_end, b"help\n")
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w", encoding="utf-8"))
    monkeypatch.setattr(sys, "stdin", os.fdopen(never, encoding="utf-8"))
    assert app.run(options()) == 0
    os.close(input_end)
    sys.stdin.close()
    with pytest.raises(BrokenPipeError):
        sys.stdout.close()


def test_a_failure_before_the_reader_left_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that failed before stdout was closed still is the exit status."""
    reading, writing = os.pipe()
    os.close(reading)
    never, input_end = os.pipe()
    os.write(input_end, b"nonsense\nhelp\n")
    with (
        os.fdopen(never) as stdin,
        os.fdopen(input_end, "w"),
        suppress(BrokenPipeError),
        os.fdopen(writing, "w") as stdout,
    ):
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", Stdout())
        monkeypatch.setattr(sys, "stdin", stdin)
        assert app.run(options()) == 1


def test_a_signal_while_a_script_waits(world: World, streams: Streams) -> None:
    """A signal between two lines ends the app with its own status, though stdout is open."""
    never, input_end = os.pipe()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    world.on_connect = timer.start
    with os.fdopen(never) as stdin, os.fdopen(input_end, "w"):
        streams.stdin = stdin
        assert streams.run(options()) == 143
    timer.join()


def test_a_full_disk(world: World, streams: Streams) -> None:
    """Output that cannot be written is said on stderr, and the status is 1."""
    with suppress(OSError), open("/dev/full", "w", encoding="utf-8") as full:
        streams.full = full
        assert streams.run(options(), "help\n") == 1
    assert "the output cannot be written: [Errno 28] No space left on device" in streams.err.text


def test_signals_that_are_ignored_stay_ignored(world: World, streams: Streams) -> None:
    """Under nohup the end of the terminal does not end the app."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        world.on_connect = lambda: os.kill(os.getpid(), signal.SIGHUP)
        assert streams.run(options()) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_leaving_at_once_restores_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second signal ends the app at once, but not with a terminal that shows nothing typed."""
    monkeypatch.setattr(os, "_exit", sys.exit)
    master, slave = os.openpty()
    with os.fdopen(master), os.fdopen(slave) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        signals = app._Signals()
        try:
            raw = termios.tcgetattr(slave)
            raw[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(slave, termios.TCSANOW, raw)
            signals.leaving = True
            with pytest.raises(SystemExit):
                os.kill(os.getpid(), signal.SIGTERM)
            assert termios.tcgetattr(slave)[3] & termios.ECHO
            assert termios.tcgetattr(slave)[3] & termios.ICANON
        finally:
            signals.restore()


def test_a_terminal_gets_the_prompt(world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a terminal on both sides the prompt runs, not the script."""
    prompted: list[Any] = []
    monkeypatch.setattr("jobs_sandbox.repl.run_repl", lambda *given: prompted.append(given))
    assert streams.run(options(), terminal=True) == 0
    assert len(prompted) == 1
