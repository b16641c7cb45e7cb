"""Threads that cannot keep the program from ending."""

import threading
from concurrent.futures import Future

import pytest

from jobs_sandbox.background import in_background, start_thread

PATIENCE = 10


def test_result() -> None:
    """The result of the work goes into the future, from a daemon thread other than the caller's."""
    future: Future[threading.Thread] = Future()
    in_background(threading.current_thread, future)
    thread = future.result(PATIENCE)
    assert thread is not threading.current_thread()
    assert thread.daemon


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_exception(error: BaseException) -> None:
    """Whatever the work raises goes to whoever waits, and nowhere else."""

    def fail() -> None:
        raise error

    future: Future[None] = Future()
    in_background(fail, future)
    assert future.exception(PATIENCE) is error


def test_thread() -> None:
    """A thread is named, a daemon, and running when it is handed back."""
    go = threading.Event()

    def work() -> None:
        go.wait(PATIENCE)

    thread = start_thread(work, "worker")
    assert (thread.name, thread.daemon, thread.is_alive()) == ("worker", True, True)
    go.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
