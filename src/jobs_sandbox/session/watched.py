"""Runs lines while there is a device under test, which must not end by itself."""

import asyncio

from jobs_sandbox.core.errors import RequestFailed
from jobs_sandbox.session.activity import Activity
from jobs_sandbox.session.session import Session

LOOK_AGAIN = 0.25
"""Seconds between two looks at the device."""

# A device may end just after its last report; so long a line may still succeed.
_GRACE = 1.5  # seconds


async def run_line(session: Session, line: str, *, may_end: bool) -> None:
    """Run a line; it fails at once when the device has ended by itself.

    Args:
        session: runs the line.
        line: as at the prompt.
        may_end: the device may end by itself.

    Raises:
        SandboxError: the line failed, or the device has ended.

    """
    task = asyncio.create_task(session.run(line))
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=LOOK_AGAIN)
            if not may_end and session.device.has_ended:
                await asyncio.wait({task}, timeout=_GRACE)
                break
    finally:
        task.cancel()
    if not task.done():
        raise has_ended(session, await session.activity())
    await task


def has_ended(session: Session, activity: Activity) -> RequestFailed:
    """The error that the device has ended by itself."""
    how = session.device.ends[-1].how
    return RequestFailed(
        f"the device has ended by itself: {how}",
        cause="; ".join(activity.obstacles()),
        next_step="see what it printed last; a device must stay in the foreground.",
    )
