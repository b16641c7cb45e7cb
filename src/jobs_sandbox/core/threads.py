"""Blocking work on daemon threads. This is the only module that starts threads."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], arrived: Callable[[T], object] | None = None) -> T:
    """Run ``work`` on a daemon thread, and wait for what it returns or raises.

    Daemon threads do not keep the program from ending while they hang. A caller that is canceled
    leaves the thread behind, and its result is dropped.

    Args:
        work: what blocks.
        arrived: called on the event loop with the result, in the callback in which it arrives:
            before anything that arrives later is handled.

    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def succeed(result: T) -> None:
        if future.done():
            return
        if arrived is not None:
            arrived(result)
        future.set_result(result)

    def fail(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    def run() -> None:
        # A loop that is closed raises RuntimeError; then the program is ending.
        with suppress(RuntimeError):
            try:
                result = work()
            except BaseException as error:  # the caller handles it, whatever it is
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


@contextmanager
def loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop on a daemon thread, for callers that have none."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop_in_thread", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
