"""What a session waits for: answers, events, a status. Each wait has a bound, and `Waiting.interrupt` ends it."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from jobs_sandbox.core.blocks import TOPICS, Block
from jobs_sandbox.core.errors import NotFound, RequestFailed, Throttled
from jobs_sandbox.session.verdict import is_as_expected, status_of, too_late

_ASK_AGAIN = 1.0  # seconds, while no event arrives


class Waiting:
    """Waits for one thing at a time, on the event loop. Every wait may raise KeyboardInterrupt, after `interrupt`."""

    def __init__(self) -> None:
        self._unclaimed: Counter[str] = Counter()  # events by title that no `for_event` was given
        self._arrival = _new_future()  # done when the next event arrives
        self._interrupted = _new_future()

    def begin(self, *, forget_events: bool) -> None:
        """Begin with a new command; earlier interrupts, and if asked earlier events, are of no account any more."""
        self._interrupted = _new_future()
        if forget_events:
            self._unclaimed.clear()

    def interrupt(self) -> None:
        """End the wait that is on."""
        if not self._interrupted.done():
            self._interrupted.set_result(None)

    def event_arrived(self, title: str) -> None:
        """Wake who waits for an event."""
        self._unclaimed[title] += 1
        arrival, self._arrival = self._arrival, _new_future()
        arrival.set_result(None)

    async def until(self, future: "asyncio.Future[Any]", seconds: float) -> bool:
        """Wait for ``future``, for so long at most; whether it is done."""
        await asyncio.wait(
            {future, self._interrupted},
            timeout=max(0, seconds),
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not future.done() and self._interrupted.done():
            raise KeyboardInterrupt
        return future.done()

    async def for_seconds(self, seconds: float) -> None:
        """Wait so long."""
        await self.until(_new_future(), seconds)

    async def for_event(self, title: str, thing: str, seconds: float) -> None:
        """Wait for an event that no earlier call was given.

        Raises:
            RequestFailed: it did not come in time.

        """
        end = time.monotonic() + seconds
        while not self._unclaimed[title]:
            left = (
                end - time.monotonic()
            )  # in a flood of other events, one arrives whenever it is looked
            if left < 0 or not await self.until(self._arrival, left):
                topic = f"$aws/things/{thing}/jobs/{TOPICS[title]}"
                raise RequestFailed(
                    f"no {title} within {seconds:g} s",
                    cause=f"nothing caused one; or no policy of the certificate allows iot:Receive on topic/{topic}",
                    next_step="get-pending-job-executions shows what is pending.",
                )
        self._unclaimed[title] -= 1

    async def for_status(
        self, job_id: str, status: str, describe: Callable[[], Awaitable[Block]], seconds: float
    ) -> Block:
        """Ask with ``describe``, at once, after every event and each second, until an execution has a status.

        Returns:
            The DescribeJobExecutionOutput that shows it.

        Raises:
            RequestFailed: the execution ended in another status, or has not come to this one in time.

        """
        end = time.monotonic() + seconds
        seen: str | None = None
        while True:
            arrival = self._arrival  # an event that comes while it asks makes it ask again
            try:
                described = await self._ask(describe, end - time.monotonic())
            except NotFound:
                described, seen = None, ""
            if described is not None:
                if is_as_expected(described, job_id, status):
                    return described
                seen = status_of(described)
            left = end - time.monotonic()
            if left <= 0:
                raise too_late(job_id, status, seen, seconds)
            await self.until(arrival, min(_ASK_AGAIN, left))

    async def _ask(self, describe: Callable[[], Awaitable[Block]], seconds: float) -> Block | None:
        """What ``describe`` returns; None while no answer can be had."""
        asking = asyncio.ensure_future(describe())
        try:
            return asking.result() if await self.until(asking, seconds) else None
        except RequestFailed as error:
            if not (
                error.uncertain or isinstance(error, Throttled)
            ):  # else it may work a moment later
                raise
            return None
        finally:
            asking.cancel()


def _new_future() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()
