"""Where threads are born: daemon threads, so that no blocked call can keep the program from ending."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
_SLICE = 0.2  # seconds


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


def wait_for(condition: threading.Condition, predicate: Callable[[], bool], seconds: float = math.inf) -> bool:
    """Wait like `threading.Condition.wait_for`, in slices.

    A signal that arrives in the instant before a wait begins interrupts nothing: it is seen after the slice.
    """
    end = time.monotonic() + seconds
    while not predicate():
        left = end - time.monotonic()
        if left <= 0:
            return False
        condition.wait(min(left, _SLICE))
    return True
