"""The process of --device: real small processes, their output, their ends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs_sandbox.core.errors import SandboxError, StartError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.device import process as module
from jobs_sandbox.device.process import LINE_LIMIT, Device, device_environment

SETTINGS = Settings(
    "host", "cert.pem", "key.pem", "eu-west-1", "Lamp", "test-mine", port=8884, ca_file="ca.pem"
)
TIMEOUT = 20.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No end of a device is missed on a busy machine."""
    monkeypatch.setattr(module, "TERM_TIMEOUT", TIMEOUT)
    monkeypatch.setattr(module, "_KILL_TIMEOUT", TIMEOUT)


class Watched:
    """A device in Python, what it printed, and how it ended, as often as it did."""

    def __init__(self, code: str, *, flush: Callable[[], Awaitable[object]] | None = None) -> None:
        self.lines: list[str] = []
        self.ends: list[str] = []
        self._changed = asyncio.Condition()
        self._flushed = flush
        self.device = self.make([sys.executable, "-u", "-c", textwrap.dedent(code)])

    def make(self, command: list[str]) -> Device:
        return Device(
            command=command,
            environment=dict(os.environ),
            on_line=self.lines.append,
            flush=self._flush,
            on_end=self._end,
        )

    async def seen(self, predicate: Callable[[], object]) -> None:
        """Wait until it is true of the lines and ends."""
        async with asyncio.timeout(TIMEOUT), self._changed:
            await self._changed.wait_for(predicate)

    async def _flush(self) -> None:
        async with self._changed:
            self._changed.notify_all()
        if self._flushed is not None:
            await self._flushed()

    def _end(self, how: str) -> None:
        self.ends.append(how)
        self._wake = asyncio.create_task(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the test on an event loop, and see that it leaves no process and no descriptor."""
    before = set(psutil.Process().children()), os.listdir("/dev/fd")
    asyncio.run(test())
    assert (set(psutil.Process().children()), os.listdir("/dev/fd")) == before


def gone(pid: int) -> bool:
    """Wait until the process has ended."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        end = time.monotonic() + TIMEOUT
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)  # psutil waits in the same way
    return True


def appears(path: Path) -> None:
    """Wait until the file is there."""
    end = time.monotonic() + TIMEOUT
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_lines_and_end() -> None:
    """What the device prints on either stream comes line by line and in order, and then how it ended."""

    async def test() -> None:
        watched = Watched(r"""
            import os, sys
            os.write(1, b"one\ntw")
            os.write(2, b"o\r\n\n\xffthree\xc3\xbc\nlast")
            sys.exit(3)
        """)
        await watched.device.start()
        await watched.seen(lambda: watched.ends)
        assert watched.lines == ["one", "two", "", "\\xffthreeü", "last"]
        assert watched.ends == ["exit status 3"]
        assert not watched.device.running

    run(test)


def test_long_lines() -> None:
    """A line without end comes in pieces of bounded length while it is being printed, and all of it comes."""

    async def test() -> None:
        length = 3 * LINE_LIMIT + 5
        watched = Watched(f"""
            import signal
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            print("x" * {length}, end="")
            signal.sigwait([signal.SIGTERM])
            print("y" * {LINE_LIMIT})
        """)
        await watched.device.start()
        await watched.seen(lambda: len(watched.lines) == 3)
        await watched.device.close()
        assert "".join(watched.lines) == "x" * length + "y" * LINE_LIMIT
        assert max(map(len, watched.lines)) <= LINE_LIMIT

    run(test)


def test_what_the_device_is_given() -> None:
    """No shell, no standard input, a session and a process group that are not ours, default signals, no open files."""

    async def test() -> None:
        watched = Watched("""
            import json, os, signal, sys
            numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            print(json.dumps({
                "argument": sys.argv[1], "input": sys.stdin.read(), "group": os.getpgid(0), "session": os.getsid(0),
                "pid": os.getpid(), "signals": [signal.getsignal(number) is not signal.SIG_IGN for number in numbers],
                "files": len(os.listdir("/dev/fd")), "environment": dict(os.environ),
            }))
        """)
        device = watched.make([*watched.device._command, "$HOME; *"])
        await device.start()
        await watched.seen(lambda: watched.ends)
        given = json.loads("".join(watched.lines))
        assert (given["argument"], given["input"], given["signals"]) == ("$HOME; *", "", [True] * 3)
        assert given["group"] == given["pid"]
        assert given["session"] not in (os.getsid(0), given["pid"])
        assert given["files"] == 4  # the fourth lists the others
        assert given["environment"].items() >= dict(os.environ).items()

    run(test)


def test_a_python_path_that_is_the_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python of the supervisor heeds no variable that is meant for the device's."""
    (tmp_path / "contextlib.py").write_text("raise RuntimeError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def test() -> None:
        watched = Watched("")
        device = watched.make(["/bin/sh", "-c", "echo $PYTHONPATH"])
        await device.start()
        await watched.seen(lambda: watched.ends)
        assert watched.lines == [str(tmp_path)]

    run(test)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device's environment has the connection and ours, but no AWS variable."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("IOT_THING", "another")
    monkeypatch.setenv("MINE", "x")
    found = device_environment(SETTINGS)
    client_id = found["IOT_CLIENT_ID"]
    assert client_id.startswith("test-device-")
    assert client_id != device_environment(SETTINGS)["IOT_CLIENT_ID"]
    assert {
        name: value for name, value in found.items() if name.startswith(("IOT_", "AWS_", "MINE"))
    } == {
        "IOT_ENDPOINT": "host",
        "IOT_PORT": "8884",
        "IOT_CA_FILE": "ca.pem",
        "IOT_CERT": "cert.pem",
        "IOT_KEY": "key.pem",
        "IOT_REGION": "eu-west-1",
        "IOT_THING": "Lamp",
        "IOT_CLIENT_ID": client_id,
        "MINE": "x",
    }
    assert found["PATH"] == os.environ["PATH"]
    monkeypatch.setenv("IOT_CA_FILE", "of an earlier session")
    assert "IOT_CA_FILE" not in device_environment(SETTINGS._replace(ca_file=None))


def test_a_flood_waits(tmp_path: Path) -> None:
    """While the lines are not taken, no more of them are read: the device waits, and afterwards none is missing."""

    async def test() -> None:
        full = tmp_path / "full"
        taken = asyncio.Event()
        watched = Watched(
            f"""
            import os
            os.set_blocking(1, False)
            number = 0
            try:
                while True:
                    os.write(1, b"%d\\n" % number)
                    number += 1
            except BlockingIOError:
                open({str(full)!r}, "w").close()
            os.set_blocking(1, True)
            for number in range(number, 100_000):
                os.write(1, b"%d\\n" % number)
            """,
            flush=taken.wait,
        )
        await watched.device.start()
        await asyncio.to_thread(appears, full)
        for _ in range(10):  # time enough for the loop to read more
            await asyncio.sleep(0)
        assert 0 < sum(map(len, watched.lines)) < LINE_LIMIT
        taken.set()
        await watched.seen(lambda: watched.ends)
        assert watched.lines == [str(number) for number in range(100_000)]

    run(test)


def test_stop_is_a_power_cut() -> None:
    """``stop`` kills the device and its children, who cannot react; then the device can be started again."""

    async def test() -> None:
        watched = Watched("""
            import os, signal, subprocess, sys
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, lambda *_: print("warned"))
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            print(os.getpid(), child.pid)
            child.wait()
        """)
        for _ in range(2):
            watched.lines.clear()
            await watched.device.start()
            assert watched.device.running
            await watched.seen(lambda: watched.lines)
            await watched.device.stop()
            assert not watched.device.running
            assert watched.ends.pop() == "SIGKILL"
            (pids,) = watched.lines
            assert all(gone(int(pid)) for pid in pids.split())

    run(test)


def test_close_asks_first() -> None:
    """``close`` lets the device end by itself, and delivers what it says last."""

    async def test() -> None:
        watched = Watched("""
            import signal, sys, time
            def leave(*_):
                print("bye")
                sys.exit(7)
            signal.signal(signal.SIGTERM, leave)
            print("ready")
            time.sleep(600)
        """)
        await watched.device.start()
        await watched.seen(lambda: watched.lines)
        await watched.device.close()
        assert (watched.lines, watched.ends) == (["ready", "bye"], ["exit status 7"])
        await watched.device.close()
        assert len(watched.ends) == 1

    run(test)


def test_close_does_not_ask_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that ignores SIGTERM is killed when its time is over."""
    monkeypatch.setattr(module, "TERM_TIMEOUT", 0.2)

    async def test() -> None:
        watched = Watched("""
            import signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("ready")
            time.sleep(600)
        """)
        await watched.device.start()
        await watched.seen(lambda: watched.lines)
        await watched.device.close()
        assert (watched.lines, watched.ends) == (["ready"], ["SIGKILL"])

    run(test)


def test_close_while_nobody_takes_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """``close`` ends although the lines are not taken, as at a blocked terminal."""
    monkeypatch.setattr(module, "_KILL_TIMEOUT", 0.2)

    async def test() -> None:
        watched = Watched("print('x'); import time; time.sleep(600)", flush=asyncio.Event().wait)
        await watched.device.start()
        await watched.seen(lambda: watched.lines)
        async with asyncio.timeout(TIMEOUT):
            await watched.device.close()
        assert watched.ends == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(test)


def test_last_words_come_first() -> None:
    """A device is started again when all that the one before has printed was taken."""

    async def test() -> None:
        taken = asyncio.Event()
        watched = Watched("import os; os.write(1, b'hello\\n' * 2000)", flush=taken.wait)
        await watched.device.start()
        await watched.seen(lambda: watched.lines)
        while watched.device.running:
            await asyncio.wait({watched.device._end})  # type: ignore[type-var]
        before = set(psutil.Process().children())
        again = asyncio.create_task(watched.device.start())
        for _ in range(10):  # time enough for a start that does not wait
            await asyncio.sleep(0)
        assert set(psutil.Process().children()) <= before
        taken.set()
        await again
        await watched.seen(lambda: len(watched.ends) == 2)
        assert watched.lines == ["hello"] * 4000

    run(test)


def test_close_without_a_start() -> None:
    """``close`` of a device that never ran does nothing."""

    async def test() -> None:
        watched = Watched("")
        await watched.device.close()
        assert not watched.device.running

    run(test)


def test_what_a_device_leaves_behind() -> None:
    """When the device ends, what it left in its group is ended; one that has left the group does not hold us up."""

    async def test() -> None:
        watched = Watched("""
            import subprocess, sys
            wait = [sys.executable, "-c", "import time; time.sleep(600)"]
            print(subprocess.Popen(wait).pid, subprocess.Popen(wait, start_new_session=True).pid)
        """)
        await watched.device.start()
        await watched.seen(lambda: watched.ends)
        assert watched.ends == ["exit status 0"]
        left, fled = map(int, watched.lines[0].split())
        try:
            assert gone(left)
            assert psutil.pid_exists(fled)  # it has the pipe still
        finally:
            os.kill(fled, signal.SIGKILL)

    run(test)


def test_a_device_that_closes_its_output() -> None:
    """A device whose output has ended runs on, and its end is told when it comes."""

    async def test() -> None:
        watched = Watched("""
            import os, signal
            print("closing")
            os.close(1)
            os.close(2)
            os.kill(os.getpid(), signal.SIGUSR1)
        """)
        await watched.device.start()
        await watched.seen(lambda: watched.ends)
        assert (watched.lines, watched.ends) == (["closing"], ["SIGUSR1"])

    run(test)


def test_wrong_order() -> None:
    """A device that runs is not started again, and one that does not is not stopped; both say what to do."""

    async def test() -> None:
        watched = Watched("import time; time.sleep(600)")
        with pytest.raises(SandboxError, match="not running") as error:
            await watched.device.stop()
        assert "start-device" in error.value.next_step
        await watched.device.start()
        with pytest.raises(SandboxError, match="running already") as error:
            await watched.device.start()
        assert "stop-device" in error.value.next_step
        await watched.device.stop()
        with pytest.raises(SandboxError, match="not running"):
            await watched.device.stop()

    run(test)


@pytest.mark.parametrize(
    ("name", "reason", "cause"),
    [
        ("no-such-device", "No such file or directory", "mistyped path"),
        ("./not-executable", "Permission denied", "chmod"),
        ("./no-program", "Exec format error", "#!"),
    ],
)
def test_a_command_that_cannot_be_started(
    name: str, reason: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that cannot be started is an error with the reason, the likely cause and the next step."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    (tmp_path / "no-program").write_text("text")
    (tmp_path / "no-program").chmod(0o700)

    async def test() -> None:
        watched = Watched("")
        device = watched.make([name, "secret"])
        with pytest.raises(StartError) as error:
            await device.start()
        assert error.value.message == f"the device cannot be started: {name}: {reason}"
        assert cause in error.value.cause
        assert "in a shell" in error.value.next_step
        assert not device.running
        await device.close()
        assert watched.ends == []

    run(test)


def test_no_process_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system has no process to give, that is the error, and no descriptor is left open."""

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    async def test() -> None:
        monkeypatch.setattr(subprocess, "Popen", refuse)
        with pytest.raises(StartError, match="Resource temporarily unavailable") as error:
            await Watched("").device.start()
        assert "limit" in error.value.cause
        monkeypatch.undo()

    run(test)


def test_a_signal_without_a_name() -> None:
    """A signal that has no name is told by its number."""
    assert module._ended(-40) == "signal 40"


def test_a_supervisor_that_is_no_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A supervisor that ends before it reports is an error too."""
    broken = tmp_path / "broken.py"
    broken.write_text("")
    monkeypatch.setattr(module, "_SUPERVISOR", broken)

    async def test() -> None:
        with pytest.raises(StartError, match="its supervisor has ended"):
            await Watched("").device.start()

    run(test)


def test_a_start_that_is_interrupted() -> None:
    """Who no longer waits for a start leaves no process behind."""

    async def test() -> None:
        watched = Watched("import time; time.sleep(600)")
        start = asyncio.create_task(watched.device.start())
        await asyncio.sleep(0)  # it has asked for the process
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        await watched.seen(lambda: watched.ends)
        assert (watched.lines, watched.ends) == ([], ["SIGKILL"])

    run(test)


def test_the_supervisor_is_killed() -> None:
    """When the process between is killed, the end is told as unknown, and nothing hangs."""

    async def test() -> None:
        watched = Watched("import os, time; print(os.getpid()); time.sleep(600)")
        before = set(psutil.Process().children())
        await watched.device.start()
        await watched.seen(lambda: watched.lines)
        (supervisor,) = set(psutil.Process().children()) - before
        supervisor.kill()
        await watched.seen(lambda: watched.ends)
        os.kill(int(watched.lines[0]), signal.SIGKILL)
        assert watched.ends == ["unknown: its supervisor was killed"]

    run(test)


def test_killed_with_the_program() -> None:
    """When the program is killed outright, the device and its children are too."""
    program = """
        import asyncio, os, sys
        from jobs_sandbox.device.process import Device

        async def nothing(): pass

        async def main():
            code = '''
        import os, signal, subprocess, sys
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(os.getpid(), child.pid, flush=True)
        child.wait()
        '''
            code = "\\n".join(line.strip() for line in code.splitlines())
            device = Device(command=[sys.executable, "-c", code], environment=dict(os.environ),
                on_line=lambda line: print(line, flush=True), flush=nothing, on_end=print)
            await device.start()
            await asyncio.sleep(600)

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        supervisor = psutil.Process(pids[0]).ppid()
        parent.kill()
    assert len(pids) == 2
    assert all(gone(pid) for pid in [*pids, supervisor])
