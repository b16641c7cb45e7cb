"""The process of ``--device``: started, cut off, started again; what it prints and how it ends goes to callbacks.

Between it and this process stands `supervisor`, which ends it when this process ends, however that happens, and
tells of its end by a pipe: so no thread waits for it, as asyncio's own child watchers would need on some systems.
"""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from jobs_sandbox.core.errors import SandboxError, StartError
from jobs_sandbox.core.settings import Settings, new_client_id
from jobs_sandbox.device.supervisor import NUMBER_SIZE

LINE_LIMIT = 8192  # bytes; longer lines come in pieces
TERM_TIMEOUT = 5.0  # seconds, from SIGTERM to SIGKILL
_KILL_TIMEOUT = (
    2.0  # seconds, for a killed process to be gone, and again for its last words to be delivered
)
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_CAUSES = {
    errno.ENOENT: "a mistyped path, or nothing of that name on the PATH; of a script, perhaps the program after its #!",
    errno.EACCES: "the file is not executable (chmod +x)",
    errno.ENOEXEC: "it is no program for this machine; a script needs a first line such as #!/bin/sh",
}


def device_environment(settings: Settings) -> dict[str, str]:
    """What a device needs to connect, in ``IOT_…`` variables, beside our own environment without AWS credentials.

    There is no ``IOT_CA_FILE`` where the system's trust store is meant.
    """
    connection = {
        "IOT_ENDPOINT": settings.endpoint,
        "IOT_PORT": str(settings.port),
        "IOT_CERT": settings.cert,
        "IOT_KEY": settings.key,
        "IOT_REGION": settings.region,
        "IOT_THING": settings.thing,
        "IOT_CLIENT_ID": new_client_id("device-"),
    }
    if settings.ca_file is not None:
        connection["IOT_CA_FILE"] = settings.ca_file
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "IOT_CA_FILE"))
    }
    return ours | connection


_End = asyncio.Future[int | None]


class _Process(NamedTuple):
    """A device that was started; the numbers are file descriptors of pipes."""

    supervisor: "subprocess.Popen[bytes]"
    report: int
    output: int

    def signal(self, number: int) -> None:
        """Send a signal to all of the device's process group."""
        with suppress(OSError):  # it has ended
            os.write(self.supervisor.stdin.fileno(), bytes([number]))  # type: ignore[union-attr]

    def close(self) -> None:
        """Let go of it; that kills it, if it has not ended."""
        self.supervisor.stdin.close()  # type: ignore[union-attr]
        os.close(self.report)
        os.close(self.output)
        self.supervisor.wait()  # it has nothing left to do


class Device:
    """The device under test, as a process group of its own. For one event loop; not more than one runs at a time.

    Args:
        command: program and arguments; no shell.
        environment: all of its environment.
        on_line: called with each line that it prints, without its end; what is not UTF-8 is escaped.
        flush: awaited between portions of at most `LINE_LIMIT` bytes: a flood waits in the pipe until this returns.
        on_end: called after its last line with how it ended: ``exit status 3`` or ``SIGKILL``.

    """

    def __init__(
        self,
        *,
        command: Sequence[str],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        flush: Callable[[], Awaitable[None]],
        on_end: Callable[[str], None],
    ) -> None:
        self._command = command
        self._environment = environment
        self._on_line = on_line
        self._flush = flush
        self._on_end = on_end
        self._process: _Process | None = None
        self._end: _End | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._end is not None and not self._end.done()

    async def start(self) -> None:
        """Start it.

        Raises:
            SandboxError: it is running already.
            StartError: it cannot be started.

        """
        if self.running:
            raise SandboxError("the device is running already.", next_step="stop-device ends it.")
        if self._following is not None:
            await asyncio.wait({self._following})  # what the one before has printed comes first
        process = self._process = self._spawn()
        started = asyncio.get_running_loop().create_future()
        self._end = asyncio.create_task(_report(process.report, started))
        self._following = asyncio.create_task(self._follow(process, started, self._end))
        try:
            await asyncio.wait({started})
        except asyncio.CancelledError:
            process.signal(signal.SIGKILL)
            raise
        if started.result() != 0:
            await asyncio.wait({self._following})
            raise self._not_started(started.result())

    async def stop(self) -> None:
        """Kill it and all of its group, as a power cut would; returns when what it has printed is delivered.

        Raises:
            SandboxError: it is not running.

        """
        if self._process is None or self._following is None or not self.running:
            raise SandboxError("the device is not running.", next_step="start-device starts it.")
        self._process.signal(signal.SIGKILL)
        await asyncio.wait({self._following})

    async def close(self) -> None:
        """End it, if it runs: SIGTERM, and SIGKILL after `TERM_TIMEOUT`. Waits for a bounded time only."""
        if self._process is None or self._end is None or self._following is None:
            return
        if self.running:
            self._process.signal(signal.SIGTERM)
            await asyncio.wait({self._end}, timeout=TERM_TIMEOUT)
            self._process.signal(signal.SIGKILL)
        await asyncio.wait({self._following}, timeout=_KILL_TIMEOUT)
        self._following.cancel()
        await asyncio.wait({self._following})

    def _spawn(self) -> _Process:
        report, their_report = os.pipe()
        output, their_output = os.pipe()
        os.set_blocking(output, False)
        try:
            supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SUPERVISOR), str(their_report), *self._command],
                stdin=subprocess.PIPE,
                stdout=their_output,
                stderr=their_output,
                pass_fds=[their_report],
                env=self._environment,
                start_new_session=True,  # Ctrl-C in the terminal is for the prompt
            )
        except OSError as error:
            os.close(report)
            os.close(output)
            raise self._not_started(error.errno) from error
        finally:
            os.close(their_report)
            os.close(their_output)
        return _Process(supervisor, report, output)

    def _not_started(self, number: int | None) -> StartError:
        reason = "its supervisor has ended" if number is None else os.strerror(number)
        return StartError(
            f"the device cannot be started: {self._command[0]}: {reason}",
            cause=_CAUSES.get(number or 0, "a limit of this machine (processes, files, memory)"),
            next_step="try the command of --device in a shell, in this folder.",
        )

    async def _follow(
        self, process: _Process, started: "asyncio.Future[int | None]", end: _End
    ) -> None:
        try:
            await self._deliver(process.output, end)
            status = await end
        finally:
            end.cancel()
            await asyncio.wait({end})
            process.close()
        if started.result() == 0:
            self._on_end(_ended(status))

    async def _deliver(self, output: int, end: _End) -> None:
        begun = b""
        while portion := await _portion(output, end):
            *lines, begun = (begun + portion).split(b"\n")
            if len(begun) >= LINE_LIMIT:
                lines.append(begun)
                begun = b""
            for line in lines:
                self._say(line)
            if lines:
                await self._flush()
        if begun:
            self._say(begun)

    def _say(self, line: bytes) -> None:
        text = line.removesuffix(b"\r").decode(errors="backslashreplace")
        for begin in range(0, len(text) or 1, LINE_LIMIT):
            self._on_line(text[begin : begin + LINE_LIMIT])


async def _portion(output: int, end: _End) -> bytes:
    """What comes next; ``b""`` at the end of the output or, if somebody outside the group has it too, of the device."""
    while True:
        ended = end.done()  # asked first: all that the device's group wrote is there by then
        try:
            return os.read(output, LINE_LIMIT)
        except BlockingIOError:
            if ended:
                return b""
            await _readable(output, end)


async def _report(report: int, started: "asyncio.Future[int | None]") -> int | None:
    """The two numbers of the supervisor, the first by ``started``; None each when it was killed before."""
    started.set_result(await _number(report))
    return await _number(report) if started.result() == 0 else None


async def _number(report: int) -> int | None:
    await _readable(report)
    number = os.read(report, NUMBER_SIZE)
    return int.from_bytes(number, "big", signed=True) if number else None


async def _readable(descriptor: int, *others: "asyncio.Future[Any]") -> None:
    """Wait until there is something to read, or one of ``others`` is done."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[Any] = loop.create_future()

    def read() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(descriptor, read)
    try:
        await asyncio.wait({readable, *others}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(descriptor)


def _ended(status: int | None) -> str:
    if status is None:
        return "unknown: its supervisor was killed"
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:  # a real-time signal
        return f"signal {-status}"
