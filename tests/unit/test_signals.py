"""Signals as cancellation."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import termios
import textwrap
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import pytest

from jobs_sandbox.signals import Loop, Signals
from tests.unit.fakes import TIMEOUT, until

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


class Ended(BaseException):
    """What `os._exit` does here; with the status."""


@pytest.fixture(autouse=True)
def _handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever this process was told to ignore, as under nohup, is not ignored here; nothing ends it."""

    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(os, "_exit", end)
    before = {number: signal.signal(number, signal.default_int_handler) for number in NUMBERS}
    yield
    signal.alarm(0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
async def signals() -> AsyncIterator[Signals]:
    """Signals that cancel a task which waits for ever."""
    with Signals() as made:
        made.task = asyncio.create_task(asyncio.sleep(600))
        await asyncio.sleep(0)
        yield made
    made.task.cancel()


def test_a_full_wake_up_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    """A signal that finds the loop's wake-up pipe full cancels, too, and Python does not tell stderr of the pipe."""

    async def main() -> None:
        with Signals() as signals:
            signals.task = asyncio.create_task(asyncio.sleep(600))
            await asyncio.sleep(0)
            for _ in range(5000):  # each writes a byte; nobody reads
                asyncio.get_running_loop().call_soon_threadsafe(int)
            signal.raise_signal(signal.SIGTERM)
            async with asyncio.timeout(TIMEOUT):
                await asyncio.wait({signals.task})
            assert signals.task.cancelled()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_the_first_cancels(signals: Signals, number: int) -> None:
    """A signal cancels the task, by waking the loop that waits, and its number is kept."""
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), number)
    assert signals.task is not None
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(TIMEOUT):
            await signals.task
    assert signals.number == number


async def test_an_alarm_is_set(signals: Signals) -> None:
    """From the first signal on there is a limit to the time that leaving takes; it is called off at the end."""
    signal.raise_signal(signal.SIGTERM)
    assert 0 < signal.alarm(4) <= 4
    signals.leave()
    assert signal.alarm(0) == 0


@pytest.mark.parametrize(
    ("second", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_the_second_ends_it(signals: Signals, second: int, status: int) -> None:
    """A second signal does not wait for what the first one has begun."""
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Ended) as ended:
        signal.raise_signal(second)
    assert ended.value.args == (status,)


async def test_the_alarm_ends_it(signals: Signals) -> None:
    """When leaving takes too long, it ends as the signal would have ended it."""
    signal.raise_signal(signal.SIGHUP)
    with pytest.raises(Ended) as ended:
        signal.raise_signal(signal.SIGALRM)
    assert ended.value.args == (129,)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_while_leaving(signals: Signals, number: int) -> None:
    """While the program leaves by itself, a first signal ends it at once, though SIGINT had another meaning."""
    signals.interrupt = lambda: None
    signals.leave()
    with pytest.raises(Ended) as ended:
        signal.raise_signal(number)
    assert ended.value.args == (128 + number,)


async def test_interrupt(signals: Signals) -> None:
    """SIGINT may mean something else than to leave, any number of times; then it is done on the event loop."""
    story: list[str] = []
    signals.interrupt = lambda: story.append("interrupted")
    for _ in range(2):
        signal.raise_signal(signal.SIGINT)
    assert story == []
    await until(lambda: len(story) == 2)
    assert signals.task is not None
    assert (signals.number, signals.task.cancelling(), signal.alarm(0)) == (0, 0, 0)
    signal.raise_signal(signal.SIGTERM)
    await until(signals.task.cancelled)
    assert signals.number == signal.SIGTERM


async def test_interrupt_while_leaving(signals: Signals) -> None:
    """After another signal, SIGINT is the second one, whatever it meant before."""
    signals.interrupt = lambda: None
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Ended):
        signal.raise_signal(signal.SIGINT)


async def test_cancel_once(signals: Signals) -> None:
    """What cancels for another reason does so once, and never what is leaving already."""
    assert signals.task is not None
    signals.cancel()
    signals.cancel()
    assert signals.task.cancelling() == 1
    with Signals() as others:
        others.cancel()  # there is nothing yet
        others.task = asyncio.create_task(asyncio.sleep(0))
        others.leave()
        others.cancel()
        assert others.task.cancelling() == 0
        await others.task


async def test_what_was_ignored_stays_ignored() -> None:
    """Under nohup the end of the terminal does not end the program."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Signals() as signals:
        signals.task = asyncio.create_task(asyncio.sleep(0.01))
        signal.raise_signal(signal.SIGHUP)
        await signals.task
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) != signal.default_int_handler
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


async def test_the_old_handlers_are_back() -> None:
    """Afterwards the signals do what they did before; no alarm is left."""
    before = [signal.getsignal(number) for number in NUMBERS]
    with Signals():
        assert not {signal.getsignal(number) for number in NUMBERS} & set(before)
        signal.alarm(4)
    assert [signal.getsignal(number) for number in NUMBERS] == before
    assert signal.alarm(0) == 0


# The terminal


async def test_ending_restores_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second signal ends the program at once, but not with a terminal that shows nothing typed."""
    master, slave = os.openpty()
    with os.fdopen(master), os.fdopen(slave) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        before = termios.tcgetattr(slave)
        with Signals() as signals:
            raw = termios.tcgetattr(slave)
            raw[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(slave, termios.TCSANOW, raw)
            signals.leave()
            with pytest.raises(Ended):
                signal.raise_signal(signal.SIGTERM)
        assert termios.tcgetattr(slave) == before


async def test_a_terminal_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that is gone by then cannot be restored, and keeps nothing from ending."""
    master, slave = os.openpty()
    os.close(master)
    with os.fdopen(slave) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with Signals() as signals:
            signals._terminal = [0, 0, 0, 0, 0, 0, [b"\0"] * 32]
            signals.leave()
            with pytest.raises(Ended):
                signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("stdin", [None, SimpleNamespace(fileno=lambda: -1)])
async def test_no_terminal(monkeypatch: pytest.MonkeyPatch, stdin: object) -> None:
    """Without a terminal, or any standard input, there is nothing to restore."""
    monkeypatch.setattr(sys, "stdin", stdin)
    with Signals() as signals:
        signals.leave()
        with pytest.raises(Ended):
            signal.raise_signal(signal.SIGTERM)


# For real

STUCK = """
    import asyncio, os, sys
    from jobs_sandbox import signals as module

    module._STUCK_TIMEOUT = 1
    reading, full = os.pipe()

    async def main():
        with module.Signals() as signals:
            signals.task = asyncio.current_task()
            print("ready", flush=True)
            while True:
                os.write(full, bytes(2**16))  # nobody reads: the main thread stays in here

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
        ([signal.SIGTERM, signal.SIGINT], 130),
    ],
)
def test_stuck_in_a_write(sent: list[int], status: int) -> None:
    """A main thread that is stuck in a write ends soon after a signal, and at once after the second one."""
    command = [sys.executable, "-c", textwrap.dedent(STUCK)]
    reset = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); signal.signal(signal.SIGHUP, "
    reset += "signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", reset, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for number in sent:
            process.send_signal(number)
            select.select([], [], [], 0.1)
        assert process.wait(TIMEOUT) == status
