"""The waits of the commands `wait` and `expect`, and the likely causes when they fail."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jobs_sandbox.core.blocks import TOPICS, Block
from jobs_sandbox.core.errors import NotFound, RequestFailed, SandboxError, Unavailable
from jobs_sandbox.core.jobs import TERMINAL
from jobs_sandbox.core.protocols import ControlPlane
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.session.activity import Activity
from jobs_sandbox.session.monitor import Monitor

_ASK_AGAIN = 1.0  # seconds, unless an event arrives
_OBSERVE_AGAIN = 0.25  # seconds

Observe = Callable[[], Awaitable[Activity]]
"""Asks the embedded AWS IoT what the device has done; may raise `SandboxError`."""


async def wait_for_event(monitor: Monitor, title: str, thing: str, seconds: float) -> None:
    """Wait for an event that no earlier wait has taken.

    Raises:
        RequestFailed: it did not come in time.

    """
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            while not monitor.take_event(title):
                await asyncio.wait({monitor.arrival()})
    except TimeoutError:
        raise RequestFailed(
            f"no {title} within {seconds:g} s",
            cause=_why_no_event(monitor, title, thing, began),
            next_step="get-pending-job-executions shows what is pending.",
        ) from None


def _why_no_event(monitor: Monitor, title: str, thing: str, began: float) -> str:
    if monitor.state == "reconnecting":
        return "the connection is down"
    if monitor.since > began:
        return "the connection was down meanwhile, and events may have been lost"
    if arrived := monitor.last_arrival(title):
        at = time.strftime("%H:%M:%S", time.localtime(arrived))
        return (
            f"the last one came at {at}: before the last command that causes events, or an earlier "
            "wait took it; no other followed"
        )
    topic = f"$aws/things/{thing}/jobs/{TOPICS[title]}"
    return (
        f"nothing caused one; or no policy of the certificate allows iot:Receive on topic/{topic}"
    )


async def expect(
    monitor: Monitor,
    control: ControlPlane,
    job_id: str,
    status: str,
    seconds: float,
    *,
    observe: Observe | None = None,
) -> Block:
    """Ask the control plane after each event and each second until an execution has a status.

    With ``observe``, a failure says what the device did and was refused.

    Returns:
        The DescribeJobExecutionOutput that shows it.

    Raises:
        RequestFailed: the execution ended in another status, did not get the status in time, or
            the control plane refuses to answer.

    """
    found: str | None = None
    failure: RequestFailed | None = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                # Taken before the request: an event during the request makes this ask again.
                arrival = monitor.arrival()
                try:
                    described = await in_thread(
                        lambda: control.describe_job_execution(job_id), monitor.record
                    )
                except NotFound:
                    found = ""
                    failure = None
                except Unavailable as error:
                    failure = error
                else:
                    body = described.body or {}
                    found = str(body.get("status"))
                    failure = None
                    if found == status:
                        return described
                    if found in TERMINAL:
                        break
                await asyncio.wait({arrival}, timeout=_ASK_AGAIN)
    except TimeoutError:
        if found is None and failure is None:
            failure = control.no_answer(seconds)
        activity = await _observed(observe)
        raise _too_late(
            job_id, status, seconds, found=found, failure=failure, activity=activity
        ) from None
    raise _ended(job_id, status, body, await _observed(observe))


async def _observed(observe: Observe | None) -> Activity | None:
    """What the device has done; None if it is not known."""
    if observe is None:
        return None
    try:
        return await observe()
    except SandboxError:
        return None


async def expect_device(
    observe: Observe, fact: str, bound: str, number: int, seconds: float
) -> None:
    """Count a fact about the device until it is decided whether a bound is kept.

    Args:
        observe: asks what the device has done.
        fact: one of `FACTS`.
        bound: ``at-least``: the number is to be reached in time; ``at-most``: it may not be
            exceeded in the whole time.
        number: the bound.
        seconds: the time.

    Raises:
        RequestFailed: the bound is not kept.
        SandboxError: the embedded AWS IoT does not answer.

    """
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        activity = await observe()
        count = activity.count(fact)
        if bound == "at-least" and count >= number:
            return
        # Unacknowledged messages are not counted up: each is so for a moment.
        exceeded = bound == "at-most" and count > number
        if (exceeded and fact != "unacknowledged") or left <= 0:
            break
        await asyncio.sleep(min(left, _OBSERVE_AGAIN))
    if bound == "at-most" and not exceeded:
        return
    next_step = "see what the device did and printed; at the prompt, `device-activity` shows it."
    if fact == "reports" and exceeded:
        next_step = "let the device report once for each execution, when its work is done."
    raise RequestFailed(
        f"{fact} of the device within {seconds:g} s: {count}; expected: "
        f"{bound.replace('-', ' ')} {number}",
        cause=activity.circumstances(fact),
        next_step=next_step,
    )


def _ended(
    job_id: str, status: str, execution: dict[str, Any], activity: Activity | None
) -> RequestFailed:
    """The execution ended in another status than the expected one."""
    found = execution["status"]
    next_step = "create a new job; an execution that has ended cannot change."
    if found == "CANCELED":
        cause = "an operator canceled the job or this execution"
    elif found == "REMOVED":
        cause = "the thing is no longer a target of the job"
    else:
        details = execution.get("statusDetails")
        if isinstance(details, dict):
            details = details.get("detailsMap", details)
        shown = json.dumps(details, ensure_ascii=False) if details else "none"
        cause = f"the device reported {found}"
        if found == "TIMED_OUT":
            cause = "a timer ran out before the device reported the end"
        elif status not in TERMINAL:
            cause += f" before this command saw it {status}"
        cause += f" (statusDetails: {shown})"
        if activity:
            cause = "; ".join([cause, *activity.obstacles(job_id)])
        if found != "SUCCEEDED":
            next_step = f"find out what the device does with this document, and {next_step}"
    return RequestFailed(
        f"the execution of {job_id} ended as {found}, not {status}",
        cause=cause,
        next_step=next_step,
    )


def _too_late(
    job_id: str,
    status: str,
    seconds: float,
    *,
    found: str | None,
    failure: RequestFailed | None,
    activity: Activity | None,
) -> RequestFailed:
    """The execution did not get the status in time.

    ``found`` is the status in the last answer, or ``""`` if there was no such execution;
    ``failure`` is that of the last request, if it failed; ``activity`` is what the device has done.
    """
    longer = f"wait longer: `expect {job_id} {status} <seconds>`"
    if failure is not None:
        before = f"; it was {found}" if found else ""
        return RequestFailed(
            f"the status of the execution of {job_id} is not known after {seconds:g} s{before}",
            cause=f"{failure.message}: {failure.cause}".removesuffix(": "),
            next_step=f"{longer}; or {failure.next_step}" if failure.next_step else longer,
        )
    message = f"the execution of {job_id} is not {status} after {seconds:g} s: "
    if not found:
        return RequestFailed(
            f"{message}there is none",
            cause="no such job, or one that does not target this thing",
            next_step="create-job creates one; on AWS its execution appears a moment later.",
        )
    message += f"it is {found}"
    if status == "QUEUED":
        return RequestFailed(
            message,
            cause="the device has started it; an execution in progress is not queued again",
            next_step="see what the device prints.",
        )
    if status == "CANCELED":
        return RequestFailed(
            message,
            cause="the job is not canceled, or it was canceled without force; then an execution in "
            "progress goes on",
            next_step=f"`cancel-job {job_id} force` cancels both. If the job is canceled already, "
            "the device may end its execution, or delete-job deletes it.",
        )
    observed = activity.explain(job_id, found) if activity else ""
    if found == "QUEUED":
        return RequestFailed(
            message,
            cause=observed
            or "no device has started it: none is connected, it was not notified and did not "
            "ask, its policy refuses a request, or another execution is in front",
            next_step="`describe-job-execution $next` shows what is in front; see what the device "
            f"prints, or {longer}.",
        )
    return RequestFailed(
        message,
        cause=observed
        or "the device is still working, hangs, has not reported the end, or its report was "
        "refused",
        next_step=f"see what the device prints, or {longer}.",
    )
