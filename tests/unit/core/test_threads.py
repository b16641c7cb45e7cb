"""Threads that cannot keep the program from ending, and whose results reach the event loop."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from jobs_sandbox.core.threads import in_thread
from tests.unit.fakes import TIMEOUT, until


async def test_result() -> None:
    """The work runs on a daemon thread other than the caller's, and its result is what the caller gets."""
    thread = await in_thread(threading.current_thread)
    assert thread is not threading.current_thread()
    assert thread.daemon


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("y"), KeyboardInterrupt(), SystemExit(3)]
)
async def test_exception(error: BaseException) -> None:
    """Whatever the work raises goes to whoever waits, and nowhere else."""

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await in_thread(fail)
    assert caught.value is error


async def test_the_loop_goes_on() -> None:
    """Who waits for a thread does not hold up the event loop."""
    go = threading.Event()
    waiting = asyncio.create_task(in_thread(lambda: go.wait(TIMEOUT)))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    assert await waiting


async def test_arrived_comes_first() -> None:
    """The result is handed over in the callback in which it arrives: before what arrives later, and the waker."""
    story: list[str] = []
    loop = asyncio.get_running_loop()

    def work() -> str:
        loop.call_soon_threadsafe(story.append, "earlier")
        return "result"

    async def wait() -> None:
        story.append(f"woken: {await in_thread(work, arrived)}")  # type: ignore[arg-type]

    def arrived(result: str) -> None:
        story.append(result)
        loop.call_soon(story.append, "later")

    await wait()
    await asyncio.sleep(0)
    assert story[:2] == ["earlier", "result"]
    assert sorted(story[2:]) == ["later", "woken: result"]


async def test_nobody_waits_any_more() -> None:
    """Who is cancelled leaves the thread behind; its result is handed over all the same, its error is nobody's."""
    for fails in (False, True):
        go, left = threading.Event(), threading.Event()
        arrived: list[int] = []
        complaints: list[Any] = []

        def complain(_: object, context: Any, into: list[Any] = complaints) -> None:
            into.append(context)

        asyncio.get_running_loop().set_exception_handler(complain)

        def work(
            go: threading.Event = go, left: threading.Event = left, *, fails: bool = fails
        ) -> int:
            assert go.wait(TIMEOUT)
            left.set()
            if fails:
                raise ValueError
            return 1

        waiting = asyncio.create_task(in_thread(work, arrived.append))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        await until(left.is_set)
        if not fails:
            await until(lambda arrived=arrived: arrived)  # type: ignore[misc]
        await in_thread(lambda: None)  # its result came after the other's
        del waiting
        gc.collect()
        assert (arrived, complaints) == ([] if fails else [1], [])


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_loop_has_ended() -> None:
    """A thread whose loop is closed by the time it is done ends without a word."""
    go = threading.Event()
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        assert go.wait(TIMEOUT)

    async def main() -> None:
        asyncio.get_running_loop().create_task(in_thread(work))
        await until(lambda: threads)

    asyncio.run(main())
    go.set()
    threads[0].join(TIMEOUT)
    assert not threads[0].is_alive()
