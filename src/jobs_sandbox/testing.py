"""Fixtures for pytest: an embedded AWS IoT, a device under test, and its jobs.

A ``conftest.py`` in the root folder takes them with
``pytest_plugins = ["jobs_sandbox.testing"]``. The option ``--device``, or ``device_command`` in the
ini file, is the command of the device. Each test has an AWS IoT of its own.
"""

import asyncio
import io
import json
import shlex
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from jobs_sandbox.app import local_settings, open_session
from jobs_sandbox.core.errors import SandboxError
from jobs_sandbox.core.settings import new_client_id
from jobs_sandbox.core.threads import loop_in_thread
from jobs_sandbox.local.service import LocalIoT
from jobs_sandbox.local.service import local_iot as run_local_iot
from jobs_sandbox.session import watched
from jobs_sandbox.session.session import Session
from jobs_sandbox.ui.console import Console
from jobs_sandbox.ui.formatting import error_text

_TIMEOUT = 10.0  # seconds, that connecting and each request may take


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--device`` and ``device_command``."""
    meaning = "the command of the device under test"
    parser.addoption("--device", metavar="COMMAND", help=meaning)
    parser.addini("device_command", meaning)


class Sandbox:
    """A session with the embedded AWS IoT, which runs in the loop of another thread."""

    def __init__(
        self, session: Session, loop: asyncio.AbstractEventLoop, *, has_device: bool
    ) -> None:
        self._session = session
        self._loop = loop
        self._has_device = has_device

    def run(self, line: str) -> None:
        """Run a command, as it is typed at the prompt; raises AssertionError if it fails."""
        __tracebackhide__ = True
        try:
            _wait(self._loop, self._run(line))
        except SandboxError as error:
            raise AssertionError(self._explain(line, error)) from None

    async def _run(self, line: str) -> None:
        # These wait for the device: without one they would wait in vain.
        words = [*line.split(), "", ""]
        waits = words[0] == "expect" or (words[0] == "expect-device" and words[1] != "ends")
        may_end = not waits or not self._has_device
        await watched.run_line(self._session, line, may_end=may_end)

    def _explain(self, line: str, error: SandboxError) -> str:
        lines = [f"{line}: {error_text(error).rstrip()}"]
        try:
            story = _wait(self._loop, self._session.activity()).story()
        except SandboxError:
            story = []
        if story:
            lines += ["what the device did, as AWS IoT saw it:", *story]
        return "\n".join(lines)


class Jobs:
    """The jobs of the device, as an operator sees them.

    Each method raises AssertionError if it fails: with the cause, and with what the device did.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def create(self, job_id: str, document: object) -> None:
        """Create a job for the device; ``document`` becomes JSON."""
        __tracebackhide__ = True
        self.run(f"create-job {job_id} {json.dumps(document)}")

    def expect(self, job_id: str, status: str, seconds: float = 10) -> None:
        """Wait until the execution of a job has a status."""
        __tracebackhide__ = True
        self.run(f"expect {job_id} {status} {seconds:g}")

    def fault(self, words: str) -> None:
        """Cause a fault on the device's wire, for example ``lose update``."""
        __tracebackhide__ = True
        self.run(f"fault {words}")

    def expect_device(self, fact: str, bound: str, number: int, seconds: float = 10) -> None:
        """Judge what the device has done since the last fault, or since its start."""
        __tracebackhide__ = True
        self.run(f"expect-device {fact} {bound} {number} {seconds:g}")

    def run(self, line: str) -> None:
        """Run any other command, as it is typed at the prompt: ``cancel-job Job1 force``."""
        __tracebackhide__ = True
        self._sandbox.run(line)


class Device:
    """The device under test, which runs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def stop(self) -> None:
        """Kill it, as a power cut would."""
        self._sandbox.run("stop-device")

    def start(self) -> None:
        """Start it again."""
        self._sandbox.run("start-device")


@pytest.fixture
def local_iot() -> Iterator[LocalIoT]:
    """An embedded AWS IoT; see `jobs_sandbox.LocalIoT`."""
    with run_local_iot() as running:
        yield running


@pytest.fixture
def _sandbox(request: pytest.FixtureRequest, local_iot: LocalIoT) -> Iterator[Sandbox]:
    file = io.StringIO()
    stack = AsyncExitStack()

    async def start() -> Session:
        console = Console("text", file, file, colour=False, on_closed=lambda: None)
        stack.push_async_callback(console.close)
        return await open_session(
            local_settings(local_iot, new_client_id(), _TIMEOUT),
            console,
            stack,
            service=local_iot,
            device_command=_command(request),
            before_exit=lambda _: None,
        )

    with loop_in_thread() as loop:
        try:
            yield Sandbox(_wait(loop, start()), loop, has_device=bool(_command(request)))
        except SandboxError as error:
            pytest.fail(error_text(error), pytrace=False)
        finally:
            _wait(loop, stack.aclose())
            # pytest shows it if the test has failed.
            print(file.getvalue())  # noqa: T201


@pytest.fixture
def jobs(_sandbox: Sandbox) -> Jobs:
    """Jobs for the device, which runs if there is a command for it."""
    return Jobs(_sandbox)


@pytest.fixture
def device(request: pytest.FixtureRequest, _sandbox: Sandbox) -> Device:
    """The device under test, to stop it and to start it again."""
    if not _command(request):
        pytest.fail("name the device: --device COMMAND, or device_command in ini", pytrace=False)
    return Device(_sandbox)


def _command(request: pytest.FixtureRequest) -> list[str]:
    config = request.config
    return shlex.split(config.getoption("--device") or config.getini("device_command"))


def _wait(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a loop of another thread."""
    return asyncio.run_coroutine_threadsafe(work, loop).result()
