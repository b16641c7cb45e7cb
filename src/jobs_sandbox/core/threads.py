"""Runs what blocks on daemon threads, and hands its result to the event loop. The only place that starts a thread."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], arrived: Callable[[T], object] | None = None) -> T:
    """Run ``work`` on a daemon thread, and wait for what it returns or raises.

    A daemon thread, because no call that hangs may keep the program from ending: who is cancelled while waiting leaves
    it behind.

    Args:
        work: what blocks.
        arrived: called on the event loop with the result, in the very callback in which it arrives there: before
            anything that arrives later is handled, and whether or not somebody still waits.

    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def succeed(result: T) -> None:
        if arrived is not None:
            arrived(result)
        if not future.done():
            future.set_result(result)

    def fail(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    def run() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            try:
                result = work()
            except BaseException as error:  # whatever it is, it is the waiting side's
                loop.call_soon_threadsafe(fail, error)
            else:
                loop.call_soon_threadsafe(succeed, result)

    threading.Thread(target=run, name="in_thread", daemon=True).start()
    return await future


def after(seconds: float, work: Callable[[], object]) -> None:
    """Run ``work`` on a daemon thread after so many seconds."""
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()
