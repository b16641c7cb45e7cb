"""The process of the device under test: start it, kill it, and deliver its output and its end."""

import asyncio
import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from jobs_sandbox.core.errors import SandboxError, StartError
from jobs_sandbox.core.protocols import End, Switch
from jobs_sandbox.core.settings import Settings, new_client_id
from jobs_sandbox.core.threads import in_thread

LINE_LIMIT = 8192
"""Bytes; longer lines come in pieces."""

TERM_TIMEOUT = 5.0
"""Seconds from SIGTERM to SIGKILL when the program ends."""

# Processes that left the device's group may keep its output open after its end.
_OUTPUT_TIMEOUT = 1.0  # seconds

_CAUSES = {
    errno.ENOENT: "a mistyped path, or no such program on the PATH; for a script, perhaps the "
    "program after its #!",
    errno.EACCES: "the file is not executable (chmod +x)",
    errno.ENOEXEC: "it is not a program for this machine; a script needs a first line such as "
    "#!/bin/sh",
}


def device_environment(settings: Settings) -> dict[str, str]:
    """The environment of the device: ours without AWS credentials, and ``IOT_…`` variables.

    ``IOT_CA_FILE`` is missing if the system's trust store is meant.
    """
    connection = {
        "IOT_ENDPOINT": settings.endpoint,
        "IOT_PORT": str(settings.port),
        "IOT_CERT": settings.device_cert or settings.cert,
        "IOT_KEY": settings.device_key or settings.key,
        "IOT_REGION": settings.region,
        "IOT_THING": settings.thing,
        "IOT_CLIENT_ID": new_client_id("device-"),
    }
    if settings.ca_file is not None:
        connection["IOT_CA_FILE"] = settings.ca_file
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and name != "IOT_CA_FILE"
    }
    return inherited | connection


class DeviceProcess:
    """The device under test, in a process group of its own; one at a time.

    A device that is killed or ended loses all of its group with it; a process that left the group
    goes on. If this program is killed with SIGKILL, the device goes on, too.

    Attributes:
        ends: each time it has ended by itself, in order of time.
        switches: each time it was started or stopped, in order of time.

    Args:
        command: program and arguments; no shell is involved.
        environment: its whole environment.
        on_line: gets each line that it prints, without the line end; bytes that are not UTF-8 are
            escaped.
        flush: awaited after each portion of output, so that a flood waits in the pipe.
        on_end: gets the way it ended, after its last line: ``exit status 3`` or ``SIGKILL``.

    """

    def __init__(
        self,
        *,
        command: Sequence[str],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        flush: Callable[[], Coroutine[Any, Any, object]],
        on_end: Callable[[str], None],
    ) -> None:
        self._command = command
        self._environment = environment
        self._on_line = on_line
        self._flush = flush
        self._on_end = on_end
        self.ends: list[End] = []
        self.switches: list[Switch] = []
        self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself, and has not been started again."""
        return self._process is not None and self._running() is None and not self._stopped

    @property
    def absence(self) -> str:
        """How it has ended, or that it was stopped; ``""`` while it runs."""
        if self.has_ended:
            return f"it has ended: {self.ends[-1].how}"
        return "" if self._running() else "it was stopped"

    async def start(self) -> None:
        """Start it.

        Raises:
            SandboxError: it is running already.
            StartError: it cannot be started.

        """
        if self._running():
            raise SandboxError("the device is running already.", next_step="stop-device ends it.")
        try:
            process = subprocess.Popen(  # noqa: ASYNC220
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # Ctrl-C in the terminal is meant for the prompt
            )
        except OSError as error:
            raise StartError(
                f"the device cannot be started: {self._command[0]}: {error.strerror}",
                cause=_CAUSES.get(
                    error.errno or 0, "a limit of this machine (processes, files, memory)"
                ),
                next_step="try the command of --device in a shell, in this folder.",
            ) from error
        self._process = process
        self._stopped = False
        self.switches.append(Switch(time.time(), "start"))
        self._following = asyncio.create_task(self._follow(process))

    async def stop(self) -> None:
        """Kill it and its group, as a power cut would; returns when its output has been delivered.

        Raises:
            SandboxError: it is not running.

        """
        following = self._running()
        if not following:
            raise SandboxError("the device is not running.", next_step="start-device starts it.")
        self.switches.append(Switch(time.time(), "stop"))
        self.kill()
        await asyncio.wait({following})

    async def close(self) -> None:
        """End it, if it runs: SIGTERM, and SIGKILL after `TERM_TIMEOUT` or when canceled."""
        following = self._running()
        if not following:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait({following}, timeout=TERM_TIMEOUT)
        finally:
            self.kill()
        await asyncio.wait({following})

    def kill(self) -> None:
        """Kill it and its group, if it runs, and wait for nothing."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process and self._running():
            self._stopped = True
            _signal_group(self._process, number)

    def _running(self) -> "asyncio.Task[None] | None":
        """The task that follows it, until it has ended and its end has been reported."""
        return None if self._following is None or self._following.done() else self._following

    async def _follow(self, process: "subprocess.Popen[bytes]") -> None:
        ended = asyncio.create_task(in_thread(process.wait))
        delivering = asyncio.create_task(self._deliver(process, ended))
        status = await ended
        _signal_group(process, signal.SIGKILL)  # processes that it left behind
        await asyncio.wait({delivering}, timeout=_OUTPUT_TIMEOUT)
        delivering.cancel()
        await asyncio.wait({delivering})
        how = _describe_end(status)
        if not self._stopped:
            self.ends.append(End(time.time(), how))
        self._on_end(how)

    async def _deliver(
        self, process: "subprocess.Popen[bytes]", ended: "asyncio.Task[int]"
    ) -> None:
        reader = asyncio.StreamReader(limit=LINE_LIMIT)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), process.stdout
        )
        begun = b""
        try:
            while portion := await reader.read(LINE_LIMIT):
                *lines, begun = (begun + portion).split(b"\n")
                if len(begun) >= LINE_LIMIT:
                    lines.append(begun)
                    begun = b""
                for line in lines:
                    self._print(line)
                # After its end, no more than the pipe holds is left, and need not wait.
                flushed = asyncio.create_task(self._flush())
                await asyncio.wait({flushed, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if begun:
                self._print(begun)
            transport.close()

    def _print(self, line: bytes) -> None:
        text = line.removesuffix(b"\r").decode(errors="backslashreplace")
        for begin in range(0, len(text) or 1, LINE_LIMIT):
            self._on_line(text[begin : begin + LINE_LIMIT])


def _signal_group(process: "subprocess.Popen[bytes]", number: int) -> None:
    with suppress(OSError):  # nobody is left in it
        os.killpg(process.pid, number)


def _describe_end(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:  # a real-time signal
        return f"signal {-status}"
