"""How long the tests wait for what must happen, and how."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 60.0
"""Seconds. They are reached only when a test fails, also on a busy machine."""


def until(
    condition: Callable[[], Any],
    patience: float = PATIENCE,
    *,
    explain: Callable[[], str] = lambda: "it did not happen",
    pause: float = 0.01,
) -> Any:
    """Wait until a condition is true, and return its value.

    Raises:
        AssertionError: it was not true in time; ``explain`` gives the message.

    """
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, explain()
        time.sleep(pause)
    return value
