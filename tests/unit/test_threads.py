"""Threads that cannot keep the program from ending."""

import threading
from concurrent.futures import Future

import pytest

from jobs_sandbox.threads import in_background, start_thread, wait_for

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


def test_wait_for_what_is() -> None:
    """What is already so is not waited for."""
    condition = threading.Condition()
    with condition:
        assert wait_for(condition, lambda: True, 0)


def test_wait_for_what_comes() -> None:
    """Waiting ends when another thread makes it so, however long that takes."""
    condition = threading.Condition()
    made: list[int] = []

    def make() -> None:
        with condition:
            made.append(1)
            condition.notify_all()

    with condition:
        start_thread(make, "maker")
        assert wait_for(condition, lambda: bool(made))


def test_wait_without_being_told() -> None:
    """What becomes so without a word is seen after a slice."""
    condition = threading.Condition()
    made = threading.Event()
    timer = threading.Timer(0.01, made.set)
    timer.start()
    with condition:
        assert wait_for(condition, made.is_set, PATIENCE)
    timer.join()


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_wait_in_vain(seconds: float) -> None:
    """What never is so is waited for so long, and no longer."""
    condition = threading.Condition()
    with condition:
        assert not wait_for(condition, lambda: False, seconds)
