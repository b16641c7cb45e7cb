"""What this session knows about the thing's job executions, from every answer and event."""

from typing import Any

from jobs_sandbox.core.blocks import (
    CHANGED,
    CREATE_JOB,
    DELETE_JOB,
    GET_PENDING,
    JOB_EXECUTION,
    REJECTED,
    UPDATE,
    Block,
)
from jobs_sandbox.core.jobs import LIST_LIMIT, PENDING, STATUSES, is_job_id

_REMEMBERED = 1000  # executions
_NOT_PENDING, _NOT_KNOWN = "not pending", "not known"


class Executions:
    """The status of each job execution, as last reported.

    Attributes:
        incomplete: more may be pending than `counts` returns: AWS IoT lists only ten.

    """

    def __init__(self) -> None:
        self._status: dict[str, str] = {}  # by job id, the most recently named one last
        self._listed = False
        self.incomplete = False

    def counts(self) -> tuple[int, int] | None:
        """How many executions are queued and in progress; None before the first list."""
        if not self._listed:
            return None
        statuses = list(self._status.values())
        return statuses.count("QUEUED"), statuses.count("IN_PROGRESS")

    def statuses(self) -> dict[str, str]:
        """Job id → status, ``not pending`` or ``not known``; pending and recent ones first."""
        recent = reversed(self._status.items())
        return dict(sorted(recent, key=lambda item: item[1] not in PENDING))

    def record(self, block: Block, job_id: str = "", status: str = "") -> None:
        """Record an answer or an event.

        Args:
            block: the answer or event.
            job_id: the job that the request named, if it named one.
            status: the status that the request asked for, if it asked for one.

        """
        body = block.body or {}
        pending = _pending(block.title, body)
        if pending is not None:
            self._record_list(pending)
        elif block.title == DELETE_JOB:
            self._status.pop(job_id, None)
        elif block.title == CREATE_JOB:
            self._set(job_id, self._status.get(job_id, _NOT_KNOWN))
        elif block.title in (UPDATE, REJECTED):
            state = body.get("executionState")
            known = state.get("status") if isinstance(state, dict) else None
            accepted = status if block.title == UPDATE else ""
            self._set(job_id, known or accepted)
        else:
            execution = body if block.title == JOB_EXECUTION else body.get("execution")
            if isinstance(execution, dict):
                self._set(execution.get("jobId"), execution.get("status"))

    def _record_list(self, pending: dict[str, str]) -> None:
        self._listed = True
        self.incomplete = len(pending) >= LIST_LIMIT
        for job_id, status in self._status.items():
            if status in PENDING or status == _NOT_KNOWN:
                self._status[job_id] = _NOT_KNOWN if self.incomplete else _NOT_PENDING
        for job_id, status in pending.items():
            self._set(job_id, status)

    def _set(self, job_id: object, status: object) -> None:
        if not isinstance(job_id, str) or not is_job_id(job_id) or not status:
            return
        self._status.pop(job_id, None)
        self._status[job_id] = str(status) if status in STATUSES else _NOT_KNOWN
        if len(self._status) > _REMEMBERED:
            del self._status[next(iter(self._status))]


def _pending(title: str, body: dict[str, Any]) -> dict[str, str] | None:
    """Job id → status of the pending executions that a block lists.

    None if it lists none, or not in the documented form
    (https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html).
    """
    try:
        if title == CHANGED:
            lists = body["jobs"]
        elif title == GET_PENDING:
            lists = {"QUEUED": body["queuedJobs"], "IN_PROGRESS": body["inProgressJobs"]}
        else:
            return None
        return {summary["jobId"]: status for status in PENDING for summary in lists.get(status, [])}
    except (AttributeError, KeyError, TypeError):
        return None
