"""One run: the order of its start, what it leaves behind, and its exit status."""

import argparse
import asyncio
import functools
import io
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, TextIO

import pytest

from jobs_sandbox import app
from jobs_sandbox.cli import parse
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import RequestFailed, StartError
from jobs_sandbox.core.protocols import Listener
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.ui.console import Console
from tests.unit.fakes import TIMEOUT, FakeControl, FakeData

FIVE = ["host", "cert.pem", "key.pem", "us-east-1", "Thing"]


class World:
    """The collaborators of a run, and what happened to them in which order."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.settings: list[Settings] = []
        self.warning = ""
        self.policy: str | None = ""
        self.ends_of_local: queue.Queue[str] = queue.Queue()
        self.created = False
        self.on_ready: Callable[[], None] = lambda: None
        self.on_ensure: Callable[[], None] = lambda: None
        self.on_connect: Callable[[], None] = lambda: None
        self.on_disconnect: Callable[[], None] = lambda: None
        self.listener: Listener | None = None


class FakeLocal:
    """An embedded AWS IoT."""

    def __init__(self, world: World, thing: str, *, policy: str | None) -> None:
        self.world = world
        self.thing = thing
        self.world.policy = policy
        self.endpoint, self.port, self.region = "localhost", 1, "us-east-1"
        self.ca_file, self.cert, self.key = "ca", "cert", "key"
        self.endpoint_url = "http://x"
        self.environment = {"AWS_ACCESS_KEY_ID": "id"}
        self.warnings = ["it is old"]

    def start(self) -> None:
        self.world.happened.append("start the local AWS IoT")

    def wait_ready(self) -> None:
        self.world.on_ready()

    def wait_ended(self) -> str:
        return self.world.ends_of_local.get()

    def stop(self) -> None:
        self.world.ends_of_local.put("exit status 0")
        self.world.happened.append("stop the local AWS IoT")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A run whose planes are fakes."""
    world = World()

    class FakeControlPlane(FakeControl):
        def __init__(self, settings: Settings) -> None:
            super().__init__()
            world.settings.append(settings)

        def ensure_thing(self) -> bool:
            world.happened.append("ensure the thing")
            world.on_ensure()
            return world.created

    class FakeDataPlane(FakeData):
        def __init__(self, settings: Settings, listener: Listener) -> None:
            super().__init__(Block("GetPendingJobExecutionsResponse", {"queuedJobs": []}))
            world.listener = listener

        async def __aenter__(self) -> Self:
            world.happened.append("connect")
            world.on_connect()
            await asyncio.sleep(0.01)  # a signal or a closed stdout finds it here
            return self

        async def __aexit__(self, *_: object) -> None:
            world.happened.append("disconnect")
            world.on_disconnect()

    monkeypatch.setattr("jobs_sandbox.data_plane.diagnosis.check_files", lambda _: world.warning)
    monkeypatch.setattr("jobs_sandbox.control_plane.client.ControlPlane", FakeControlPlane)
    monkeypatch.setattr("jobs_sandbox.data_plane.client.DataPlane", FakeDataPlane)
    monkeypatch.setattr("jobs_sandbox.local.service.LocalIoT", functools.partial(FakeLocal, world))
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
    """The three standard streams of a run.

    Attributes:
        stdin, stdout, stderr: take the place of the script, of ``out`` and of ``err``, if set.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.out, self.err = Stdout(), Stdout()
        self.stdout: TextIO | None = None
        self.stderr: TextIO | None = None
        self.stdin: TextIO | None = None

    def run(self, options: argparse.Namespace, script: str = "", *, terminal: bool = False) -> int:
        """Run the app with ``script`` on its standard input; the exit status."""
        self.out, self.err = Stdout(terminal=terminal), Stdout()
        reading, writing = os.pipe()
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:
            pipe.write(script)
        stdin = SimpleNamespace(fileno=lambda: reading, isatty=lambda: terminal)
        taken = {
            "stdin": self.stdin or stdin,
            "stdout": self.stdout or self.out,
            "stderr": self.stderr or self.err,
        }
        for name, stream in taken.items():
            self._monkeypatch.setattr(sys, name, stream)
        try:
            return app.run(options)
        finally:
            os.close(reading)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    """The standard streams of a run; no signal is ignored, though this process were to ignore it."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield Streams(monkeypatch)
    for number, handler in before.items():
        signal.signal(number, handler)


def options(*more: str, arguments: list[str] = FIVE) -> argparse.Namespace:
    return parse([*arguments, *more])


def raiser(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


# The start


def test_a_run_in_order(world: World, streams: Streams) -> None:
    """The thing is ensured, then the connection made; in the end it is closed; the answer is on stdout."""
    assert streams.run(options(), "get-pending-job-executions\n") == 0
    assert world.happened == ["ensure the thing", "connect", "disconnect"]
    assert "GetPendingJobExecutionsResponse" in streams.out.text
    assert "connected to host:8883; type help\n" in streams.err.text


def test_settings_come_from_the_options(world: World, streams: Streams) -> None:
    """Every option reaches the settings."""
    given = "--client-id me --port 7 --ca-file ca --profile p --endpoint-url u --timeout 9"
    streams.run(options(*given.split()))
    assert world.settings == [
        Settings("host", "cert.pem", "key.pem", "us-east-1", "Thing", "me", 7, "ca", "p", "u", 9)
    ]


def test_client_ids_are_new_each_time(world: World, streams: Streams) -> None:
    """Without --client-id each run has an id of its own, which the shipped policy allows."""
    for _ in range(2):
        streams.run(options())
    first, second = (settings.client_id for settings in world.settings)
    assert first != second
    assert first.startswith("test-")


def test_a_new_thing_and_a_careless_key_are_told(world: World, streams: Streams) -> None:
    """It says that it created the thing, and warns of a key that others can read."""
    world.created, world.warning = True, "the private key key.pem can be read by others"
    assert streams.run(options()) == 0
    assert "created the thing Thing\n" in streams.err.text
    assert "can be read by others" in streams.err.text


def test_nothing_new_and_nothing_careless(world: World, streams: Streams) -> None:
    """Otherwise there is one line, that it is connected."""
    assert streams.run(options()) == 0
    [line] = streams.err.text.splitlines()
    assert line.startswith("connected to ")


def test_events_are_shown_from_the_start(world: World, streams: Streams) -> None:
    """The session listens to the data plane, from its first event on."""

    def event() -> None:
        assert world.listener is not None
        world.listener.event(Block("JobExecutionsChangedEvent", {"jobs": {}}))

    world.on_connect = event
    streams.run(options())
    assert "JobExecutionsChangedEvent" in streams.out.text


def test_local_runs_around_everything(world: World, streams: Streams) -> None:
    """The embedded AWS IoT starts first and stops last, and how to join it is printed."""
    assert (
        streams.run(
            options("--timeout", "7", "--client-id", "test-me", arguments=["--local", "Lamp"])
        )
        == 0
    )
    assert world.happened[0] == "start the local AWS IoT"
    assert world.happened[-1] == "stop the local AWS IoT"
    assert "to join it from another terminal: `connection`." in streams.err.text
    expected = Settings(
        "localhost", "cert", "key", "us-east-1", "Lamp", "test-me", 1, "ca", None, "http://x", 7
    )._replace(environment={"AWS_ACCESS_KEY_ID": "id"})
    assert world.settings == [expected]


def test_the_environment_is_that_of_local(
    world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert streams.err.text.startswith("it is old\n")
    assert "has ended" not in streams.err.text


def test_an_end_of_local_is_told(world: World, streams: Streams) -> None:
    """When the embedded AWS IoT ends by itself, that is said, and how."""

    def end() -> None:
        world.ends_of_local.put("signal 9")
        deadline = time.monotonic() + 10
        while "has ended (signal 9)" not in streams.err.text and time.monotonic() < deadline:
            time.sleep(0.01)

    world.on_connect = end
    streams.run(options(arguments=["--local"]))
    assert "the local AWS IoT has ended (signal 9): quit, and start again" in streams.err.text


def test_local_as_json(world: World, streams: Streams) -> None:
    """As JSON, how to join is one object with a field for each value."""
    streams.run(options("--output", "json", arguments=["--local"]))
    assert (
        '\n{"type": "Notice", "endpoint": "localhost", "port": 1, "ca_file": "ca"'
        in streams.err.text
    )


def test_a_start_error_is_told(world: World, streams: Streams) -> None:
    """A start that fails has status 1 and says why; what was begun is ended."""
    world.on_connect = raiser(StartError("it broke", cause="a cause", next_step="a step"))
    assert streams.run(options(arguments=["--local"])) == 1
    assert streams.err.text.endswith("\nit broke\n  likely cause: a cause\n  next: a step\n")
    assert world.happened[-1] == "stop the local AWS IoT"


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
    world.on_ensure = lambda: [hang.wait(TIMEOUT)].clear()
    monkeypatch.setattr(app, "_GRACE_TIMEOUT", -0.9)
    assert streams.run(options("--timeout", "1", *more)) == 1
    assert not hang.is_set()
    hang.set()
    assert f"the control plane ({where}) did not answer within 0.1 s" in streams.err.text


def test_the_control_plane_may_be_late(world: World, streams: Streams) -> None:
    """A control plane that answers after --timeout, but itself says why, has its say."""
    late = threading.Event()

    def fail_late() -> None:
        late.wait(0.3)
        raise RequestFailed("it says why")

    world.on_ensure = fail_late
    assert streams.run(options("--timeout", "0.1")) == 1
    assert streams.err.text == "it says why\n"


def test_start_before_local_is_there(world: World, streams: Streams) -> None:
    """A signal ends the program while it waits for an embedded AWS IoT that hangs."""
    hang = threading.Event()

    def hanging() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        hang.wait(TIMEOUT)

    world.on_ready = hanging
    assert streams.run(options(arguments=["--local"])) == 143
    assert not hang.is_set()
    hang.set()


def test_local_that_does_not_get_ready(
    world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An embedded AWS IoT that fails after its launch is stopped, and the environment is as it was."""
    monkeypatch.setenv("AWS_PROFILE", "theirs")
    world.on_ready = raiser(StartError("it did not start"))
    assert streams.run(options(arguments=["--local"])) == 1
    assert world.happened == ["start the local AWS IoT", "stop the local AWS IoT"]
    assert streams.err.text == "it did not start\n"
    assert os.environ["AWS_PROFILE"] == "theirs"


# The device under test


class FakeDevice:
    """A device; keeps what becomes of it."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        devices.append(self)
        self.story: list[str] = []

    async def start(self) -> None:
        self.story.append("start")
        if self.given["command"] == ["missing"]:
            raise StartError("the device cannot be started")
        self.given["on_line"]("ready")
        self.given["on_end"]("status 3")

    async def stop(self) -> None:
        self.story.append("stop")

    async def close(self) -> None:
        self.story.append("close")


devices: list[FakeDevice] = []


@pytest.fixture
def _device(monkeypatch: pytest.MonkeyPatch) -> None:
    devices.clear()
    monkeypatch.setattr("jobs_sandbox.device.process.Device", FakeDevice)


@pytest.mark.usefixtures("_device")
def test_device(world: World, streams: Streams) -> None:
    """The device is started when the streams are open, with the connection in its environment; and closed first."""
    world.on_disconnect = lambda: world.happened.append(f"device: {devices[0].story[-1]}")
    assert streams.run(options("--device", "./device --fast"), "stop-device\n") == 0
    [device] = devices
    assert device.given["command"] == ["./device", "--fast"]
    assert device.given["environment"]["IOT_ENDPOINT"] == "host"
    assert device.story == ["start", "stop", "close"]
    assert world.happened == ["ensure the thing", "connect", "disconnect", "device: close"]
    assert "device: ready\nthe device has ended: status 3\n" in streams.err.text


@pytest.mark.usefixtures("_device")
def test_a_device_that_cannot_be_started(world: World, streams: Streams) -> None:
    """A device that cannot be started is a start that failed."""
    assert streams.run(options("--device", "missing"), "help\n") == 1
    assert streams.err.text.endswith("\nthe device cannot be started\n")
    assert streams.out.text == ""
    assert world.happened[-1] == "disconnect"


# The end


def test_a_failed_command_makes_the_status_1(world: World, streams: Streams) -> None:
    """Reading from a pipe, a command that failed is the exit status."""
    assert streams.run(options(), "nonsense\nhelp\n") == 1
    assert "line 1: unknown command 'nonsense'" in streams.err.text
    assert "Help" in streams.out.text


@pytest.mark.parametrize(("last", "status"), [("help", 0), ("nonsense", 1)])
def test_a_last_line_that_does_not_end(
    last: str, status: int, world: World, streams: Streams
) -> None:
    """The last line of a script is run though no newline follows it, and counts."""
    assert streams.run(options(), f"# first\n{last}") == status
    assert ("Help" in streams.out.text) == (last == "help")
    assert ("line 2: unknown command" in streams.err.text) == (last == "nonsense")


def test_a_non_blocking_stdin(world: World, streams: Streams) -> None:
    """A pipe inherited in non-blocking mode is waited for on this side, too."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def write_late() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(b"help\n")

    timer = threading.Timer(0.1, write_late)
    world.on_connect = timer.start
    with os.fdopen(reading) as streams.stdin:
        assert streams.run(options()) == 0
    timer.join()
    assert "Help" in streams.out.text


def test_an_unreadable_stdin(world: World, streams: Streams) -> None:
    """Standard input that cannot be read, as under nohup, is an empty script, and said to be."""
    with open(os.devnull, "w", encoding="utf-8") as streams.stdin:
        assert streams.run(options()) == 0
    assert (
        "the standard input cannot be read (Bad file descriptor): taken as its end\n"
        in streams.err.text
    )


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_end_it_in_good_order(
    number: int, status: int, world: World, streams: Streams
) -> None:
    """A signal during the start closes what is open; the status tells which; the old handler is back afterwards."""
    before = signal.getsignal(number)
    world.on_connect = lambda: signal.raise_signal(number)
    assert streams.run(options(arguments=["--local"])) == status
    assert signal.getsignal(number) == before
    assert world.happened[-1] == "stop the local AWS IoT"


def test_a_signal_while_a_script_waits(world: World, streams: Streams) -> None:
    """A signal between two lines ends the app with its own status, though stdout is open."""
    never, input_end = os.pipe()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    world.on_connect = timer.start
    with os.fdopen(never) as streams.stdin, os.fdopen(input_end, "w"):
        assert streams.run(options()) == 143
    timer.join()
    assert world.happened[-1] == "disconnect"


def test_a_signal_while_it_leaves(
    world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the app is leaving, a signal ends it at once: what it closes may hang."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    world.on_disconnect = lambda: signal.raise_signal(signal.SIGTERM)
    streams.run(options(), "help\n")
    assert ended == [143]


def test_signals_that_are_ignored_stay_ignored(world: World, streams: Streams) -> None:
    """Under nohup the end of the terminal does not end the app."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    world.on_connect = lambda: signal.raise_signal(signal.SIGHUP)
    assert streams.run(options()) == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


# Standard output


def send_nowhere(stream: TextIO) -> None:
    """What is left in a stream goes nowhere, so that it can be closed."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@pytest.fixture
def gone() -> Iterator[TextIO]:
    """A stdout whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        yield stream
        send_nowhere(stream)


@pytest.mark.parametrize(("script", "status"), [(b"help\n", 0), (b"nonsense\nhelp\n", 1)])
def test_a_closed_stdout_ends_it(
    script: bytes, status: int, world: World, streams: Streams, gone: TextIO
) -> None:
    """When nobody reads stdout any more, the app ends, though it waits for input; what failed before still counts."""
    never, input_end = os.pipe()
    os.write(input_end, script)
    streams.stdout = gone
    with os.fdopen(never) as streams.stdin, os.fdopen(input_end, "w"):
        assert streams.run(options()) == status
    assert world.happened[-1] == "disconnect"


def test_a_closed_stdout_ends_the_start(world: World, streams: Streams, gone: TextIO) -> None:
    """When that shows during the start, by an event before all subscriptions are there, it is no failure either."""

    def event() -> None:
        assert world.listener is not None
        world.listener.event(Block("JobExecutionsChangedEvent", {"jobs": {}}))

    world.on_connect = event
    streams.stdout = gone
    assert streams.run(options(), "nonsense\n") == 0
    assert "nonsense" not in streams.err.text


def test_a_full_disk(world: World, streams: Streams) -> None:
    """Output that cannot be written is said on stderr, and the status is 1."""
    with open("/dev/full", "w", encoding="utf-8") as streams.stdout:
        assert streams.run(options(), "help\n") == 1
        send_nowhere(streams.stdout)
    assert streams.err.text.endswith(
        "\nthe output cannot be written: [Errno 28] No space left on device\n"
    )


class Pipe:
    """A pipe as stdout, full at the beginning; drained at last, so that no test hangs for it."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.filled = os.write(writing, b"x" * os.fpathconf(writing, "PC_PIPE_BUF"))
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                self.filled += os.write(writing, b"x" * 512)
        self.stream = open(writing, "w", encoding="utf-8")  # noqa: SIM115 - the fixture closes it
        self.read = b""

    def drain(self) -> None:
        """Read all that comes, and as long as the writing end is open."""
        while chunk := os.read(self.reading, 2**16):
            self.read += chunk

    def blocking(self) -> bool:
        return os.get_blocking(self.stream.fileno())


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A full pipe."""
    pipe = Pipe()
    yield pipe
    if not pipe.stream.closed:
        send_nowhere(pipe.stream)
        pipe.stream.close()
    os.close(pipe.reading)


@pytest.mark.parametrize("script", ["", "nonsense\n"])
def test_all_is_written_however_slow_the_reader(
    script: str, world: World, streams: Streams, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app ends when all is written; a pipe inherited in non-blocking mode is waited for like any other."""
    monkeypatch.setattr(app, "_CLOSE_TIMEOUT", 0.01)
    streams.stdout = pipe.stream
    thread = threading.Thread(target=pipe.drain, daemon=True)
    timer = threading.Timer(0.3, thread.start)

    def event() -> None:
        assert world.listener is not None
        world.listener.event(Block("JobExecutionsChangedEvent", {"jobs": {}}))
        timer.start()

    world.on_disconnect = event
    assert streams.run(options(), script) == bool(script)
    assert thread.ident, "the app has ended before anything was read"
    assert pipe.blocking()
    timer.join()
    pipe.stream.close()
    thread.join(TIMEOUT)
    assert pipe.read[pipe.filled :].decode().startswith("─── JobExecutionsChangedEvent ─")
    assert pipe.read.endswith(b"\n\n")


def test_a_non_blocking_stderr(world: World, streams: Streams, pipe: Pipe) -> None:
    """What the app says about itself waits for its reader as well, be the pipe inherited in non-blocking mode."""
    streams.stderr = pipe.stream
    thread = threading.Thread(target=pipe.drain, daemon=True)
    timer = threading.Timer(0.1, thread.start)
    world.on_disconnect = timer.start
    assert streams.run(options()) == 0
    timer.join()
    pipe.stream.close()
    thread.join(TIMEOUT)
    assert pipe.read[pipe.filled :] == b"connected to host:8883; type help\n"


def test_a_signal_does_not_wait_for_a_blocked_reader(
    world: World, streams: Streams, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to end, the app does not wait long for a reader that does not read."""
    monkeypatch.setattr(app, "_CLOSE_TIMEOUT", 0.1)
    streams.stdout = pipe.stream

    def event_and_signal() -> None:
        assert world.listener is not None
        world.listener.event(Block("JobExecutionsChangedEvent", {"jobs": {}}))
        asyncio.get_running_loop().call_later(0.05, signal.raise_signal, signal.SIGTERM)

    world.on_connect = event_and_signal
    rescue = threading.Timer(TIMEOUT, pipe.drain)
    rescue.start()
    never, input_end = os.pipe()
    with os.fdopen(never) as streams.stdin, os.fdopen(input_end, "w"):
        assert streams.run(options()) == 143
    assert pipe.read == b""
    rescue.cancel()
    os.set_blocking(pipe.reading, False)
    for thread in [thread for thread in threading.enumerate() if thread.name == "in_thread"]:
        while thread.is_alive():  # it still writes, and must be done before the pipe is closed
            with suppress(BlockingIOError):
                pipe.drain()
            thread.join(0.01)


def test_the_console_has_buffers_of_its_own(
    world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The console writes to the same files by other buffers: who waits for a buffer's lock handles no signal."""
    given: list[TextIO] = []

    def make(output: str, stdout: TextIO, stderr: TextIO, **options: Any) -> Console:
        given.extend((stdout, stderr))
        return Console(output, stdout, stderr, **options)

    monkeypatch.setattr(app, "Console", make)
    with open(tmp_path / "out", "w", encoding="latin-1") as streams.stdout:
        assert streams.run(options(), "help\n") == 0
        assert (given[0].fileno(), given[0].encoding) == (streams.stdout.fileno(), "latin-1")
        assert given[0].buffer is not streams.stdout.buffer
    assert "Help" in (tmp_path / "out").read_text("latin-1")
    assert given[1] is streams.err  # it is no file, and blocks nobody


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_an_encoding_lacks_is_escaped(
    name: str, world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text that a stream's encoding cannot express is shown with JSON's escapes, and stops nothing."""
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="strict")
    world.on_connect = lambda: world.listener and world.listener.warning("日本🎉")  # type: ignore[assignment, func-returns-value]
    reading, writing = os.pipe()
    os.write(writing, b"help\n")
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", latin if name == "stdout" else Stdout())
        monkeypatch.setattr(sys, "stderr", latin if name == "stderr" else Stdout())
        assert app.run(options()) == 0
    written = latin.buffer.getvalue().decode("latin-1")
    assert (
        "\\u2500\\u2500\\u2500 Help" if name == "stdout" else "\\u65e5\\u672c\\ud83c\\udf89\n"
    ) in written


# The prompt, and colours


class FakeRepl:
    """A prompt; Ctrl-C is not its business before it is shown."""

    def __init__(self, *given: Any) -> None:
        self.given = given
        self.interrupted = asyncio.Event()
        prompts.append(self)

    def interrupt(self) -> None:
        self.interrupted.set()

    async def run(self) -> None:
        signal.raise_signal(signal.SIGINT)
        async with asyncio.timeout(TIMEOUT):
            await self.interrupted.wait()


prompts: list[FakeRepl] = []


@pytest.fixture
def _prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts.clear()
    monkeypatch.setattr("jobs_sandbox.ui.prompt.Repl", FakeRepl)


@pytest.mark.usefixtures("_prompt")
def test_a_terminal_gets_the_prompt(world: World, streams: Streams) -> None:
    """With a terminal on both sides the prompt runs, not the script; Ctrl-C is the prompt's there."""
    assert streams.run(options(), "nonsense\n", terminal=True) == 0
    [prompt] = prompts
    session, _, settings = prompt.given
    assert session is world.listener
    assert [settings] == world.settings
    assert world.happened[-1] == "disconnect"


@pytest.mark.usefixtures("_prompt")
@pytest.mark.parametrize("side", ["stdin", "stdout"])
def test_a_terminal_on_one_side(side: str, world: World, streams: Streams) -> None:
    """With a terminal on one side alone there is no prompt."""
    reading, writing = os.pipe()
    os.close(writing)
    streams.stdin = SimpleNamespace(fileno=lambda: reading, isatty=lambda: side == "stdin")  # type: ignore[assignment]
    streams.stdout = Stdout(terminal=side == "stdout")
    assert streams.run(options()) == 0
    os.close(reading)
    assert prompts == []


@pytest.fixture
def terminal() -> Iterator[str]:
    """The path of a terminal."""
    ours, theirs = os.openpty()
    yield os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def no_control(path: str, flags: int) -> int:
    """Open a terminal that does not become the one of this process."""
    return os.open(path, flags | os.O_NOCTTY)


@pytest.mark.usefixtures("_prompt")
def test_a_terminal_that_cannot_be_read(terminal: str, world: World, streams: Streams) -> None:
    """After ``0>/dev/tty`` there is no prompt, which would heed no key, but the end of the input, and said to be."""
    streams.stdout = Stdout(terminal=True)
    with open(terminal, "w", encoding="utf-8", opener=no_control) as streams.stdin:
        assert streams.run(options()) == 0
    assert (
        "the standard input cannot be read (Bad file descriptor): taken as its end\n"
        in streams.err.text
    )
    assert prompts == []


@pytest.mark.usefixtures("_prompt")
def test_a_terminal_that_cannot_be_written_to(
    terminal: str, world: World, streams: Streams
) -> None:
    """After ``1</dev/tty`` there is no prompt, which could not be shown, but an error that says so."""
    with open(terminal, encoding="utf-8", opener=no_control) as streams.stdout:
        assert streams.run(options(), "help\n", terminal=True) == 1
    assert streams.err.text.endswith(
        "\nthe output cannot be written: [Errno 9] Bad file descriptor\n"
    )
    assert prompts == []


@pytest.mark.usefixtures("_prompt")
@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours(
    environment: dict[str, str],
    coloured: bool,  # noqa: FBT001 - a parameter of the test
    world: World,
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A terminal gets colours unless it is dumb, or the user wants none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def event() -> None:
        assert world.listener is not None
        world.listener.event(Block("JobExecutionsChangedEvent", {"jobs": {}}))

    world.on_connect = event
    streams.run(options(), terminal=True)
    assert streams.out.text.startswith("\x1b[36m─── J" if coloured else "─── J")
