"""What the control plane's view of a job execution says about the status that is expected of it. Pure."""

import json
from typing import Any

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import RequestFailed
from jobs_sandbox.core.jobs import TERMINAL

_NOT_BY_THE_DEVICE = {
    "CANCELED": "an operator canceled the job or this execution",
    "REMOVED": "the thing is no target of the job any more",
}


def status_of(described: Block) -> str:
    """The status in a DescribeJobExecutionOutput."""
    return str((described.body or {}).get("status"))


def is_as_expected(described: Block, job_id: str, expected: str) -> bool:
    """Whether an execution has the status that is expected; False if it may still come to it.

    Raises:
        RequestFailed: it has ended in another one.

    """
    status = status_of(described)
    if status == expected:
        return True
    if status in TERMINAL:
        details = _details(described.body or {})
        told = (
            f"its statusDetails: {json.dumps(details, ensure_ascii=False) if details else 'none'}"
        )
        look = (
            ""
            if status in _NOT_BY_THE_DEVICE
            else "look at what the device does with this document, and "
        )
        raise RequestFailed(
            f"the execution of {job_id} ended as {status}, not {expected}",
            cause=_NOT_BY_THE_DEVICE.get(
                status, f"a timer ran out; {told}" if status == "TIMED_OUT" else told
            ),
            next_step=f"{look}create a new job: this execution stays so.",
        )
    return False


def too_late(job_id: str, expected: str, seen: str | None, seconds: float) -> RequestFailed:
    """The failure of an execution that has not come to the expected status in time; ``seen`` is its last.

    It is ``""`` if there is no such execution, and None if that was never answered.
    """
    message = f"the execution of {job_id} is not {expected} after {seconds:g} s: "
    longer = f"give it longer: `expect {job_id} {expected} <seconds>`."
    if seen is None:
        return RequestFailed(
            f"{message}no answer came",
            cause="the time is too short for one question, or the control plane cannot be reached or throttles",
            next_step=longer,
        )
    if not seen:
        return RequestFailed(
            f"{message}there is none",
            cause="no such job, or one that does not target this thing",
            next_step="create-job creates one; on AWS its execution appears a moment later.",
        )
    causes = {
        "QUEUED": "no device has started it: none is connected, it did not hear of the job and did not ask, its policy "
        "refuses that, or another execution is in front",
        "IN_PROGRESS": "cancel-job leaves it alone unless forced: the device may end it, and delete-job removes it"
        if expected == "CANCELED"
        else "the device is still at it, hangs, or never reported the end",
    }
    front = "`describe-job-execution $next` shows what is in front; " if seen == "QUEUED" else ""
    next_step = f"{front}look at what the device prints, or {longer}"
    return RequestFailed(f"{message}it is {seen}", cause=causes.get(seen, ""), next_step=next_step)


def _details(body: dict[str, Any]) -> Any:
    details = body.get("statusDetails")
    return details.get("detailsMap", details) if isinstance(details, dict) else details
