"""The process of --device: real small processes, their output and their ends."""

import asyncio
import json
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs_sandbox.core.errors import SandboxError, StartError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.device import process as module
from jobs_sandbox.device.process import LINE_LIMIT, DeviceProcess, device_environment
from tests.unit.fakes import until

SETTINGS = Settings("host", "cert.pem", "key.pem", "eu-west-1", "Lamp", "test-1", ca_file="ca.pem")


class Devices:
    """Makes devices, and records what they print and how they end.

    Attributes:
        lines: what was printed.
        ends: how they ended.
        flush: what a device waits for after each portion of output.

    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ends: list[str] = []
        self.made: list[DeviceProcess] = []
        self.flush: Callable[[], Coroutine[Any, Any, object]] = lambda: asyncio.sleep(0)

    def make(self, *command: str) -> DeviceProcess:
        """A device that is not started."""
        device = DeviceProcess(
            command=command,
            environment=os.environ,
            on_line=self.lines.append,
            flush=lambda: self.flush(),
            on_end=self.ends.append,
        )
        self.made.append(device)
        return device

    async def start(self, code: str) -> DeviceProcess:
        """Start a device in Python."""
        device = self.make(sys.executable, "-u", "-c", textwrap.dedent(code), "$HOME; *")
        await device.start()
        return device

    async def printed(self, number: int = 1) -> list[str]:
        """Wait for so many lines."""
        await until(lambda: len(self.lines) >= number)
        return self.lines

    async def ended(self) -> str:
        """Wait for the end of a device."""
        await until(lambda: self.ends)
        return self.ends[0]


@pytest.fixture
async def devices() -> AsyncIterator[Devices]:
    """Devices that do not outlive the test."""
    devices = Devices()
    yield devices
    for device in devices.made:
        device.kill()
        await device.close()


def ends(pid: str) -> bool:
    return not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == "zombie"


async def test_lines_and_end(devices: Devices) -> None:
    """Both streams of the device come line by line, and then the way it ended."""
    await devices.start(r"""
        import os, sys
        os.write(1, b"one\ntw")
        os.write(2, b"o\r\n\n\xffthree\xc3\xbc\nlast")
        sys.exit(3)
    """)
    assert await devices.ended() == "exit status 3"
    assert devices.lines == ["one", "two", "", "\\xffthreeü", "last"]


async def test_ends(devices: Devices) -> None:
    """An end that the device came to by itself is kept; a device that is killed has none."""
    device = await devices.start("import sys; sys.exit(3)")
    assert not device.has_ended
    await devices.ended()
    assert [end.how for end in device.ends] == ["exit status 3"]
    await until(lambda: device.has_ended)
    assert device.absence == "it has ended: exit status 3"
    device = devices.make("sleep", "600")
    await device.start()
    assert device.absence == ""
    await device.stop()
    assert (device.ends, device.has_ended, device.absence) == ([], False, "it was stopped")
    assert [switch.what for switch in device.switches] == ["start", "stop"]


async def test_long_lines(devices: Devices) -> None:
    """A line without an end comes in pieces while it is being printed."""
    await devices.start(f"print('x' * {LINE_LIMIT + 5}, end=''); import time; time.sleep(600)")
    assert await devices.printed() == ["x" * LINE_LIMIT]


async def test_surroundings(devices: Devices) -> None:
    """A device has no shell, no standard input, and a session of its own."""
    await devices.start("""
        import json, os, sys
        print(json.dumps([sys.argv[1], sys.stdin.read(), os.getsid(0) == os.getpid()]))
    """)
    assert await devices.ended() == "exit status 0"
    assert json.loads(devices.lines[0]) == ["$HOME; *", "", True]


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device gets our environment without AWS credentials, and the connection."""
    for name in ("AWS_SECRET_ACCESS_KEY", "IOT_THING", "IOT_CA_FILE", "MINE"):
        monkeypatch.setenv(name, "x")
    found = device_environment(SETTINGS)
    client_id = found["IOT_CLIENT_ID"]
    assert client_id.startswith("test-device-")
    ours = {name: found[name] for name in found if name.startswith(("AWS_", "IOT_", "MINE"))}
    assert ours == {
        "IOT_ENDPOINT": "host",
        "IOT_PORT": "8883",
        "IOT_CA_FILE": "ca.pem",
        "IOT_CERT": "cert.pem",
        "IOT_KEY": "key.pem",
        "IOT_REGION": "eu-west-1",
        "IOT_THING": "Lamp",
        "IOT_CLIENT_ID": client_id,
        "MINE": "x",
    }
    assert "IOT_CA_FILE" not in device_environment(SETTINGS._replace(ca_file=None))


async def test_a_flood_waits(devices: Devices) -> None:
    """While its lines are not taken, the device waits."""
    devices.flush = asyncio.Event().wait
    device = devices.make("yes")
    await device.start()
    await devices.printed()
    await asyncio.sleep(0.02)
    assert len(devices.lines) <= LINE_LIMIT


async def test_last_lines(devices: Devices) -> None:
    """The last lines of a device that has ended are delivered at once."""
    devices.flush = asyncio.Event().wait
    await devices.start("import os; os.write(1, b'last\\n' * 10_000)")
    assert await devices.ended() == "exit status 0"
    assert devices.lines == ["last"] * 10_000


STUBBORN = """
    import os, signal, subprocess, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(os.getpid(), subprocess.Popen(["sleep", "600"]).pid)
    time.sleep(600)
"""


async def test_stop(devices: Devices) -> None:
    """``stop`` kills the device with its children at once; then it can be started again."""
    device = await devices.start(STUBBORN)
    pids = (await devices.printed())[0].split()
    await device.stop()
    assert devices.ends == ["SIGKILL"]
    await until(lambda: all(map(ends, pids)))
    await device.start()
    await devices.printed(2)


async def test_close_asks_first(devices: Devices) -> None:
    """``close`` lets the device end by itself, and delivers its last lines."""
    device = await devices.start("""
        import signal, sys
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        print("ready")
        signal.sigwait([signal.SIGTERM])
        sys.exit("bye")
    """)
    await devices.printed()
    await device.close()
    await device.close()
    assert (devices.lines, devices.ends) == (["ready", "bye"], ["exit status 1"])


@pytest.mark.parametrize("interrupted", [True, False])
async def test_close_kills(
    devices: Devices, monkeypatch: pytest.MonkeyPatch, *, interrupted: bool
) -> None:
    """A device that ignores SIGTERM is killed after a while, or when the user will not wait."""
    monkeypatch.setattr(module, "TERM_TIMEOUT", 600 if interrupted else 0.05)
    device = await devices.start(STUBBORN)
    await devices.printed()
    closing = asyncio.create_task(device.close())
    await asyncio.sleep(0)
    if interrupted:
        closing.cancel()
    await asyncio.wait({closing})
    assert await devices.ended() == "SIGKILL"


async def test_processes_left_behind(devices: Devices) -> None:
    """What the device leaves in its group is killed; what left the group does not hold us up."""
    await devices.start("""
        import subprocess
        print(subprocess.Popen(["sleep", "600"]).pid)
        print(subprocess.Popen(["sleep", "600"], start_new_session=True).pid)
        print("unfinished", end="")
    """)
    assert await devices.ended() == "exit status 0"
    left, fled, last = devices.lines
    os.kill(int(fled), signal.SIGKILL)
    await until(lambda: ends(left))
    assert last == "unfinished"


async def test_closed_output(devices: Devices) -> None:
    """A device whose output has ended goes on, and its end is reported when it comes."""
    await devices.start("""
        import os, signal
        os.close(1)
        os.close(2)
        os.kill(os.getpid(), signal.SIGRTMIN + 1)
    """)
    assert await devices.ended() == f"signal {signal.SIGRTMIN + 1}"


async def test_wrong_order(devices: Devices) -> None:
    """A device that runs is not started again, and one that does not run is not stopped."""
    device = devices.make("sleep", "600")
    await device.close()
    with pytest.raises(SandboxError, match="not running"):
        await device.stop()
    await device.start()
    with pytest.raises(SandboxError, match="running already"):
        await device.start()
    await device.stop()


@pytest.mark.parametrize(
    ("content", "cause"),
    [(None, "no such program"), ("", "first line")],
)
async def test_no_start(devices: Devices, tmp_path: Path, content: str | None, cause: str) -> None:
    """A device that cannot be started is an error with the likely cause."""
    path = tmp_path / "device"
    if content is not None:
        path.write_text(content)
        path.chmod(0o700)
    with pytest.raises(StartError, match=f"cannot be started: {path}") as error:
        await devices.make(str(path)).start()
    assert cause in error.value.cause
