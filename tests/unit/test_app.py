"""One run: the order of its start and its end, and its exit status."""

import asyncio
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TextIO

import pytest

from jobs_sandbox import app
from jobs_sandbox.cli import parse
from jobs_sandbox.core.blocks import CHANGED, GET_PENDING, Block
from jobs_sandbox.core.errors import RequestFailed, StartError
from jobs_sandbox.core.protocols import Listener
from jobs_sandbox.core.settings import Settings
from tests.unit.fakes import TIMEOUT, FakeControl, FakeData, titles, until

FIVE = ["host", "cert.pem", "key.pem", "us-east-1", "Thing"]


def fail(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


class Stream(io.TextIOWrapper):
    """A standard stream in memory."""

    def __init__(self, text: str = "", *, terminal: bool = False, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(text.encode()), encoding)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def text(self) -> str:
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined, no-any-return]


class World:
    """A run with fake planes and its standard streams.

    Attributes:
        story: what happened, in order.
        settings: what the planes got.
        listener: the listener of the data plane.
        on_ensure, on_connect, on_disconnect: called by the planes.
        created: the thing is new.
        local: the fake AWS IoT of --local.
        stdout, stderr: the streams.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.story: list[str] = []
        self.settings: list[Settings] = []
        self.listener: Listener
        self.local: FakeLocal
        self.on_ensure: Callable[[], object] = lambda: None
        self.on_connect: Callable[[], object] = lambda: None
        self.on_disconnect: Callable[[], object] = lambda: None
        self.created = False
        self.stdout: TextIO = Stream()
        self.stderr = Stream()

    def run(self, *options: str, stdin: TextIO | str = "", arguments: list[str] = FIVE) -> int:
        """Run the app; the exit status."""
        if isinstance(stdin, str):
            stdin = Stream(stdin)
        for name, stream in (("stdin", stdin), ("stdout", self.stdout), ("stderr", self.stderr)):
            self._monkeypatch.setattr(sys, name, stream)
        return app.run(parse([*arguments, *options]))

    def event(self) -> None:
        """An event arrives."""
        self.listener.event(Block(CHANGED, {"jobs": {}}))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A run with fake planes, and the default handling of signals."""
    world = World(monkeypatch)

    class FakeControlPlane(FakeControl):
        def __init__(self, settings: Settings, notice: Callable[[str], None]) -> None:
            super().__init__()
            world.settings.append(settings)
            self._notice = notice

        def ensure_thing(self) -> bool:
            world.story.append("ensure")
            world.on_ensure()
            if world.created:
                self._notice("fetching credentials")
            return world.created

        def close(self) -> None:
            world.story.append("close")

    class FakeDataPlane(FakeData):
        def __init__(self, _: Settings, listener: Listener) -> None:
            super().__init__()
            self.outcome = Block(GET_PENDING, {"queuedJobs": []})
            world.listener = listener

        async def __aenter__(self) -> Self:
            world.story.append("connect")
            world.on_connect()
            await asyncio.sleep(0.01)  # a signal or a closed stdout finds it here
            return self

        async def __aexit__(self, *_: object) -> None:
            world.on_disconnect()
            world.story.append("disconnect")
            await asyncio.sleep(0.01)

    monkeypatch.setattr("jobs_sandbox.control_plane.client.ControlPlane", FakeControlPlane)
    monkeypatch.setattr("jobs_sandbox.data_plane.client.DataPlane", FakeDataPlane)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    yield world
    for number, handler in before.items():
        signal.signal(number, handler)


# The start


def test_order(world: World) -> None:
    """The thing is ensured, the connection is made, the script runs, the connection is closed."""
    world.created = True
    assert world.run(stdin="get-pending-job-executions\n") == 0
    assert world.story == ["ensure", "connect", "disconnect", "close"]
    assert titles(world.stdout.text) == [GET_PENDING]  # type: ignore[attr-defined]
    assert world.stderr.text.splitlines() == [
        "fetching credentials",
        "created the thing Thing",
        "connected to host:8883; type help",
    ]


def test_settings(world: World) -> None:
    """Every option reaches the settings; without --client-id each run has an id of its own."""
    given = "--client-id me --port 7 --ca-file ca --profile p --endpoint-url u --timeout 9"
    for options in (given.split(), [], []):
        world.run(*options)
    first, *others = world.settings
    assert first == (*FIVE, "me", 7, "ca", "p", "u", 9, {}, None, None)
    assert len({settings.client_id for settings in others}) == 2


@pytest.mark.parametrize("step", ["on_ensure", "on_connect"])
def test_a_start_that_fails(world: World, step: str) -> None:
    """A start that fails is reported, and has status 1."""
    error = RequestFailed if step == "on_ensure" else StartError
    setattr(world, step, fail(error("it broke", cause="a cause", next_step="a step")))
    assert world.run(stdin="help\n") == 1
    assert world.stderr.text == "it broke\n  likely cause: a cause\n  next: a step\n"
    assert world.stdout.text == ""  # type: ignore[attr-defined]


class FakeLocal:
    """An embedded AWS IoT that records its calls, and ends when ``ends`` is set."""

    endpoint = "localhost"
    cert = key = region = ca_file = endpoint_url = device_key = "x"
    device_cert = "device certificate"
    port = 1
    environment = {"AWS_ACCESS_KEY_ID": "id"}  # noqa: RUF012

    def __init__(self, world: World, thing: str, **policies: str | None) -> None:
        self._world = world
        self.thing = thing
        self.policies = policies
        self.ends = threading.Event()
        world.local = self

    def start(self) -> None:
        self._world.story.append("start")

    def wait_ready(self) -> None:
        self._world.story.append("wait")

    def wait_ended(self) -> str:
        self.ends.wait(TIMEOUT)
        return "SIGKILL"

    def stop(self) -> None:
        self.ends.set()
        self._world.story.append("stop")


@pytest.fixture
def local_world(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A run with a fake AWS IoT of --local."""
    monkeypatch.setattr(
        "jobs_sandbox.local.service.LocalIoT",
        lambda thing, **policies: FakeLocal(world, thing, **policies),
    )
    return world


def test_local(local_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded AWS IoT runs around everything, with a client that gets all of its settings."""
    world = local_world

    async def end() -> None:
        world.local.ends.set()
        await until(lambda: "the local AWS IoT has ended (SIGKILL)" in world.stderr.text)

    monkeypatch.setattr("jobs_sandbox.session.session.Session.run", lambda *_: end())
    assert world.run(arguments=["--local", "Lamp"], stdin="help\n") == 0
    assert world.story == ["start", "wait", "ensure", "connect", "disconnect", "close", "stop"]
    assert world.settings[0].environment == {"AWS_ACCESS_KEY_ID": "id"}
    assert world.stderr.text.startswith("A local AWS IoT runs")


# The device under test


class FakeDevice:
    """Records what becomes of a device."""

    def __init__(self, world: World, **given: Any) -> None:
        self._world = world
        self._given = given

    async def start(self) -> None:
        environment = self._given["environment"]
        self._world.story += [
            *self._given["command"],
            environment["IOT_ENDPOINT"],
            environment["IOT_CERT"],
        ]
        self._given["on_line"]("ready")
        self._given["on_end"]("SIGKILL")

    async def close(self) -> None:
        self._world.on_disconnect()
        self._world.story.append("close")

    def kill(self) -> None:
        self._world.story.append("kill")


@pytest.fixture
def device_world(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A run with a fake device."""
    monkeypatch.setattr(app, "DeviceProcess", lambda **given: FakeDevice(world, **given))
    return world


def test_device(device_world: World) -> None:
    """The device starts after the connection, and is closed before it."""
    assert device_world.run("--device", "./device --fast") == 0
    device = ["./device", "--fast", "host", "cert.pem", "close"]
    assert device_world.story == ["ensure", "connect", *device, "disconnect", "close"]
    assert "device: ready\nthe device has ended: SIGKILL\n" in device_world.stderr.text


@pytest.mark.parametrize("device", [True, False])
def test_a_policy_of_the_device(
    local_world: World, device_world: World, tmp_path: Path, *, device: bool
) -> None:
    """The device under test gets its own certificate, and --policy holds for that alone."""
    (tmp_path / "policy.json").write_text("{}")
    options = ["--device", "./device"] if device else []
    arguments = ["--local", "--policy", str(tmp_path / "policy.json")]
    assert device_world.run(*options, arguments=arguments) == 0
    assert local_world.local.policies == {
        "policy": None if device else "{}",
        "device_policy": "{}",
    }
    assert local_world.story.count("device certificate") == device


def test_a_second_signal_kills_the_device(
    device_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second signal while the program leaves kills the device and ends the program at once."""
    exits: list[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)

    def interrupt_twice() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            loop.call_soon(signal.raise_signal, signal.SIGINT)

    device_world.on_disconnect = interrupt_twice
    device_world.run("--device", "x")
    assert set(exits) == {130}
    assert "kill" in device_world.story


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_start(world: World, number: int) -> None:
    """A signal during the start ends the program with its own status."""
    world.on_connect = lambda: signal.raise_signal(number)
    assert world.run(stdin="help\n") == 128 + number
    assert world.story == ["ensure", "connect", "close"]


def test_a_signal_while_a_command_waits(world: World) -> None:
    """A signal ends a command that waits, and what comes afterwards is still shown."""

    def interrupt_soon() -> None:
        asyncio.get_running_loop().call_later(0.05, signal.raise_signal, signal.SIGTERM)

    world.on_connect = interrupt_soon
    world.on_disconnect = world.event
    assert world.run(stdin="wait 600\n") == 143
    assert titles(world.stdout.text) == [CHANGED]  # type: ignore[attr-defined]


def test_a_signal_at_a_blocked_reader(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal ends the program although nobody reads its last output."""
    monkeypatch.setattr(app, "_CLOSE_TIMEOUT", 0.05)
    opened = threading.Event()

    class Blocked(Stream):
        def write(self, _: str) -> int:
            opened.wait(TIMEOUT)
            return 0

    def leave() -> None:
        world.event()
        asyncio.get_running_loop().call_later(0.05, signal.raise_signal, signal.SIGTERM)

    world.stdout = Blocked()
    world.on_disconnect = leave
    assert world.run() == 143
    opened.set()


# Standard output


class Unwritable(Stream):
    """A stream that fails."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, _: str) -> int:
        raise self._error


@pytest.mark.parametrize(
    ("step", "script", "status"),
    [
        ("on_connect", "nonsense\n", 0),
        ("", "help\nwait 600\n", 0),
        ("", "nonsense\nhelp\nwait 600\n", 1),
        ("on_disconnect", "nonsense\n", 1),
    ],
)
def test_nobody_reads(world: World, step: str, script: str, status: int) -> None:
    """The program ends quietly when nobody reads its output; a failed command still counts."""
    world.stdout = Unwritable(BrokenPipeError())
    if step:
        setattr(world, step, world.event)
    assert world.run(stdin=script) == status
    assert "cannot be written" not in world.stderr.text


def test_a_full_disk(world: World) -> None:
    """Output that cannot be written is reported, and has status 1."""
    world.stdout = Unwritable(OSError(28, "No space left on device"))
    assert world.run(stdin="help\n") == 1
    assert "cannot be written: [Errno 28] No space left on device\n" in world.stderr.text


def test_streams_of_other_parents(world: World) -> None:
    """A non-blocking pipe is waited for, and an encoding that lacks a character is no failure."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    world.stdout = Stream(encoding="latin-1")
    world.on_connect = lambda: world.listener.event(Block(CHANGED, {"text": "日本"}))
    with os.fdopen(writing, "wb") as pipe, os.fdopen(reading) as stdin:

        def write() -> None:
            pipe.write(b"help\n")
            pipe.close()

        timer = threading.Timer(0.05, write)
        timer.start()
        assert world.run(stdin=stdin) == 0
        timer.join()
    assert "--- Help" in world.stdout.text
    assert "\\u65e5\\u672c" in world.stdout.text


# Terminals


def test_a_terminal_gets_the_prompt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal the prompt runs, and meanwhile SIGINT is the prompt's."""

    class FakePrompt:
        def __init__(self, *_: object) -> None:
            self._interrupted = asyncio.Event()
            self.interrupt = self._interrupted.set

        async def run(self) -> None:
            signal.raise_signal(signal.SIGINT)
            async with asyncio.timeout(TIMEOUT):
                await self._interrupted.wait()
            world.story.append("interrupted")

    monkeypatch.setattr("jobs_sandbox.ui.prompt.Prompt", FakePrompt)
    monkeypatch.setattr("jobs_sandbox.ui.terminal.TerminalInput", id)
    world.stdout = Stream(terminal=True)
    world.on_disconnect = lambda: signal.raise_signal(signal.SIGINT)
    assert (
        world.run(stdin=Stream("nonsense\n", terminal=True)) == 130
    )  # the second one, while it leaves
    assert world.story[-3:] == ["interrupted", "disconnect", "close"]


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_only_prints(
    world: World, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    """A terminal that cannot move its cursor gets a prompt for each line, and no colours."""
    monkeypatch.setenv("TERM", term)
    world.stdout = Stream(terminal=True)
    assert world.run(stdin=Stream("nonsense\nhelp\n", terminal=True)) == 0
    assert world.stdout.text.startswith("jobs-sandbox> jobs-sandbox> ─── Help ─")
