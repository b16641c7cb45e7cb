"""Where threads are born: daemon threads, so that no blocked call can keep the program from ending."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def start_thread(work: Callable[[], None], name: str) -> threading.Thread:
    """Run ``work`` on a daemon thread."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def in_background(work: Callable[[], T], future: "Future[T]") -> None:
    """Run ``work`` on a daemon thread and put its result, or its exception, into ``future``."""

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # it belongs to whoever waits for the future
            future.set_exception(error)
        else:
            future.set_result(result)

    start_thread(run, "request")
