"""What this session has learnt about the thing's job executions, from every answer and event. Pure."""

import re
import threading
from typing import Any

from jobs_sandbox.blocks import Block

PENDING = ("QUEUED", "IN_PROGRESS")
# AWS IoT lists at most so many executions in one JobExecutionsChanged event; more may be pending.
_EVENT_LIMIT = 15
_REMEMBERED = 1000
_JOB_ID = re.compile("[a-zA-Z0-9_-]{1,64}")


class Executions:
    """Job ids, most recent first, and the status of each pending execution as last heard. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[str, None] = {}
        self._status: dict[str, str] | None = None

    def job_ids(self) -> dict[str, str]:
        """Every job id seen, the most recent first, with what is known of its execution."""
        with self._lock:
            status = self._status or {}
            return {job_id: status.get(job_id, "not pending") for job_id in reversed(self._ids)}

    def counts(self) -> tuple[int, int] | None:
        """How many executions are queued and in progress; None when nothing was heard yet."""
        with self._lock:
            if self._status is None:
                return None
            statuses = list(self._status.values())
        return statuses.count("QUEUED"), statuses.count("IN_PROGRESS")

    def learn(self, answer: Block, job_id: str = "", status: str = "") -> None:
        """Take in an answer or an event; ``job_id`` and ``status`` are those of an update that was accepted."""
        body = answer.body or {}
        with self._lock:
            for seen in filter(is_job_id, _job_ids(body)):
                self._touch(seen)
            if job_id:
                self._touch(job_id)
            if answer.title == "JobExecutionsChangedEvent":
                listed = _by_status(body.get("jobs"))
                self._status = (self._status or {}) | listed if len(listed) == _EVENT_LIMIT else listed
            elif answer.title == "GetPendingJobExecutionsResponse":
                self._status = _pending(body)
            elif isinstance(execution := body.get("execution"), dict):
                self._set(execution.get("jobId"), execution.get("status"))
            elif status:
                self._set(job_id, status)

    def changes(self, pending: Block) -> dict[str, Any]:
        """What a GetPendingJobExecutions answer shows that was not known: ``{jobId: {"was": …, "now": …}}``.

        ``was`` or ``now`` is null for an execution that was or is not pending.
        """
        now = _pending(pending.body or {})
        with self._lock:
            was = self._status or {}
        changed = sorted(job_id for job_id in was.keys() | now.keys() if was.get(job_id) != now.get(job_id))
        return {job_id: {"was": was.get(job_id), "now": now.get(job_id)} for job_id in changed}

    def _touch(self, job_id: str) -> None:
        self._ids.pop(job_id, None)
        self._ids[job_id] = None
        if len(self._ids) > _REMEMBERED:
            del self._ids[next(iter(self._ids))]

    def _set(self, job_id: object, status: object) -> None:
        if isinstance(job_id, str) and isinstance(status, str):
            if self._status is None:
                return  # one execution does not tell how many there are
            self._status.pop(job_id, None)
            if status in PENDING:
                self._status[job_id] = status


def is_job_id(value: object) -> bool:
    """Whether AWS IoT would take it for a job id (CreateJob): nothing else is remembered, sent or drawn."""
    return isinstance(value, str) and _JOB_ID.fullmatch(value) is not None


def _pending(body: dict[str, Any]) -> dict[str, str]:
    return _by_status({"QUEUED": body.get("queuedJobs"), "IN_PROGRESS": body.get("inProgressJobs")})


def _by_status(jobs: object) -> dict[str, str]:
    """``{status: [summary, …]}`` → ``{jobId: status}``, passing over what is not of that form."""
    found = {}
    for status, summaries in jobs.items() if isinstance(jobs, dict) else ():
        for summary in summaries if isinstance(summaries, list) else ():
            if status in PENDING and isinstance(summary, dict) and is_job_id(summary.get("jobId")):
                found[summary["jobId"]] = status
    return found


def _job_ids(body: dict[str, Any]) -> list[str]:
    """The job ids that a body names, wherever the service puts them."""
    jobs = body.get("jobs")
    lists = [*(jobs.values() if isinstance(jobs, dict) else ()), body.get("queuedJobs"), body.get("inProgressJobs")]
    named = [body, body.get("execution"), *(item for items in lists if isinstance(items, list) for item in items)]
    return [item["jobId"] for item in named if isinstance(item, dict) and isinstance(item.get("jobId"), str)]
