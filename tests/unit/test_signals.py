"""Signals as cancellation."""

import asyncio
import os
import signal
import sys
import termios
from collections.abc import Iterator

import pytest

from jobs_sandbox.signals import Signals
from tests.unit.fakes import until

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def exits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The statuses with which the process would have ended; no signal is ignored."""
    exits: list[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)
    before = {number: signal.signal(number, signal.default_int_handler) for number in NUMBERS}
    yield exits
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
async def task() -> "asyncio.Task[None]":
    """A task that only a signal ends."""
    return asyncio.create_task(asyncio.sleep(600))


@pytest.mark.parametrize("number", NUMBERS)
async def test_two_signals(task: "asyncio.Task[None]", exits: list[int], number: int) -> None:
    """The first signal cancels the task; a second one ends the program after the last steps."""
    signals = Signals(task)
    signals.before_exit(lambda: exits.append(0))
    signal.raise_signal(number)
    await until(task.cancelled)
    assert (signals.number, exits) == (number, [])
    with signals.interrupt_with(lambda: None):
        signal.raise_signal(signal.SIGINT)
        await until(lambda: exits)
    assert exits == [0, 130]


async def test_close(task: "asyncio.Task[None]") -> None:
    """In the end no signal is written to the pipe of the loop, which the loop closes."""
    signals = Signals(task)
    signals.close()
    assert signal.set_wakeup_fd(-1) == -1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


async def test_interrupt(task: "asyncio.Task[None]") -> None:
    """SIGINT can have another meaning for a while."""
    signals = Signals(task)
    calls: list[int] = []
    with signals.interrupt_with(lambda: calls.append(1)):
        signal.raise_signal(signal.SIGINT)
        await until(lambda: calls)
    assert not task.cancelling()
    signal.raise_signal(signal.SIGINT)
    await until(task.cancelled)


async def test_ignored_signals(task: "asyncio.Task[None]") -> None:
    """A signal that the parent ignores, as nohup does, stays ignored."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Signals(task)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


async def test_the_terminal_is_sane(
    task: "asyncio.Task[None]", exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second signal gives the terminal back as it was found."""
    far, near = os.openpty()
    with os.fdopen(near) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        found = termios.tcgetattr(near)
        Signals(task)
        raw = list(found)
        raw[3] = 0
        termios.tcsetattr(near, termios.TCSANOW, raw)
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        await until(lambda: exits)
        assert termios.tcgetattr(near) == found
    os.close(far)
