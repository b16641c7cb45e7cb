"""Threads that cannot keep the program from ending, and whose results reach the event loop."""

import asyncio
import gc
import threading

import pytest

from jobs_sandbox.core.threads import in_thread, loop_in_thread
from tests.unit.fakes import TIMEOUT, until


async def test_the_work_runs_on_a_daemon_thread() -> None:
    """The loop goes on while the work blocks; its result is returned."""
    go = threading.Event()

    def work() -> threading.Thread:
        assert go.wait(TIMEOUT)
        return threading.current_thread()

    waiting = asyncio.create_task(in_thread(work))
    await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    thread = await waiting
    assert thread is not threading.current_thread()
    assert thread.daemon


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), SystemExit(3)])
async def test_an_error_reaches_the_caller(error: BaseException) -> None:
    """Everything that the work raises is raised where it is awaited, and nowhere else."""

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await in_thread(fail)
    assert caught.value is error


async def test_the_result_arrives_in_order() -> None:
    """`arrived` gets the result before the caller wakes and before later callbacks."""
    story: list[str] = []
    loop = asyncio.get_running_loop()

    def work() -> str:
        loop.call_soon_threadsafe(story.append, "earlier")
        return "result"

    def arrived(result: str) -> None:
        story.append(result)
        loop.call_soon(story.append, "later")

    assert await in_thread(work, arrived) == "result"
    assert story[:2] == ["earlier", "result"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_caller_leaves_the_thread_behind(*, fails: bool) -> None:
    """Its result is dropped, its error is not reported, and the loop does not complain."""
    go = threading.Event()
    threads: list[threading.Thread] = []
    unexpected: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected.append(context))

    def work() -> int:
        threads.append(threading.current_thread())
        assert go.wait(TIMEOUT)
        return 1 // (not fails)

    waiting = asyncio.create_task(in_thread(work, unexpected.append))
    await until(lambda: threads)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()
    await until(lambda: not threads[0].is_alive())
    await asyncio.sleep(0)
    del waiting
    gc.collect()
    assert unexpected == []


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_may_outlive_the_loop() -> None:
    """A thread that ends after its loop was closed ends silently."""
    go = threading.Event()
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        assert go.wait(TIMEOUT)

    async def main() -> None:
        waiting = asyncio.create_task(in_thread(work))
        await until(lambda: threads)
        assert not waiting.done()

    asyncio.run(main())
    go.set()
    threads[0].join(TIMEOUT)
    assert not threads[0].is_alive()


def test_a_loop_for_callers_without_one() -> None:
    """A loop runs on another thread meanwhile, and is closed in the end."""
    with loop_in_thread() as loop:
        work = asyncio.sleep(0.001, "done")
        assert asyncio.run_coroutine_threadsafe(work, loop).result(TIMEOUT) == "done"
    assert loop.is_closed()
