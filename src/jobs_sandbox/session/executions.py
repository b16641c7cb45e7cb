"""What this session has learnt about the thing's job executions, from every answer and event. Pure."""

from typing import Any, NamedTuple

from jobs_sandbox.core.blocks import CHANGED, REJECTED, Block
from jobs_sandbox.core.jobs import LIST_LIMIT, PENDING, STATUSES, is_job_id

STARTED, UPDATED = "StartNextJobExecutionResponse", "UpdateJobExecutionResult"
_REMEMBERED = 1000
_GONE, _UNKNOWN = "not pending", "not known"


class _Listing(NamedTuple):
    """The pending executions that a block lists, by job id, and whether there may be more."""

    statuses: dict[str, str]
    cut: bool


class Executions:
    """Job ids, and the status of each execution as last heard."""

    def __init__(self) -> None:
        self._status: dict[str, str] = {}  # by job id, the most recently named one last
        self._listed = False  # a list of what is pending was heard
        self._more = False  # and it may have been cut
        self._attempts: dict[
            str, str
        ] = {}  # by job id, "" for the next one: the status that a command may have set

    @property
    def more(self) -> bool:
        """Whether more executions may be pending than `counts` tells."""
        return self._more

    def counts(self) -> tuple[int, int] | None:
        """How many executions are queued and in progress, at least; None when nothing was heard yet."""
        statuses = list(self._status.values())
        return (statuses.count("QUEUED"), statuses.count("IN_PROGRESS")) if self._listed else None

    def job_ids(self) -> dict[str, str]:
        """Every job id seen, with what is known of its execution: pending ones first, then the most recent."""
        recent = list(reversed(self._status.items()))
        return dict(sorted(recent, key=lambda item: item[1] not in PENDING))

    def attempt(self, job_id: str, status: str) -> None:
        """A command of this program is about to give an execution this status; ``""`` is whichever is the next."""
        self._attempts[job_id] = status
        _forget_the_oldest(self._attempts)

    def give_up(self, job_id: str) -> None:
        """The command that `attempt` told of has failed for certain."""
        self._attempts.pop(job_id, None)

    def learn(self, answer: Block, job_id: str = "", status: str = "") -> None:
        """Take in an answer or an event; ``job_id`` and ``status`` are those that the request named, if it did."""
        title, body = answer.title, answer.body or {}
        state = _state(body)
        for seen in [*_job_ids(body), job_id if state or title != REJECTED else ""]:
            if isinstance(seen, str) and is_job_id(seen):
                self._touch(seen)
        if title in (REJECTED, STARTED, UPDATED):
            self._attempts.pop(job_id, None)
        execution = body if title == "DescribeJobExecutionOutput" else body.get("execution")
        if title == "DeleteJobOutput":
            self._status.pop(str(body.get("jobId")), None)
        elif listed := _listed(answer):
            self._take_list(listed)
        elif isinstance(execution, dict):
            self._set(execution.get("jobId"), execution.get("status"))
        else:
            self._set(job_id, state or (status if title == UPDATED else ""))

    def changes(self, pending: Block) -> dict[str, Any]:
        """What a GetPendingJobExecutions answer shows that was not known: ``{jobId: {"was": …, "now": …}}``.

        ``was`` or ``now`` is null for an execution that was or is not pending. What a list that may be cut leaves
        open, and what a command of this program did, is no news.
        """
        listed = _listed(pending)
        if not listed:
            return {}
        now, cut = listed
        was = {
            job_id: status if status in PENDING else None for job_id, status in self._status.items()
        }
        unknown = {job_id for job_id, status in self._status.items() if status == _UNKNOWN}
        attempts = dict(self._attempts)
        found = {}
        for job_id in sorted(was.keys() | now.keys()):
            before, after = was.get(job_id), now.get(job_id)
            open_before = self._more and (job_id in unknown or job_id not in was)
            open_after = cut and after is None
            own = _explains(
                attempts.get(job_id) or (attempts.get("") if before == "QUEUED" else None), after
            )
            if before != after and not open_before and not open_after and not own:
                found[job_id] = {"was": before, "now": after}
        return found

    def _take_list(self, listed: _Listing) -> None:
        for job_id, status in self._status.items():
            if status in PENDING or status == _UNKNOWN:
                self._set(
                    job_id, listed.statuses.get(job_id) or (_UNKNOWN if listed.cut else _GONE)
                )
        for job_id, status in listed.statuses.items():
            self._set(job_id, status)
        self._listed, self._more = True, listed.cut

    def _touch(self, job_id: str) -> None:
        self._status[job_id] = self._status.pop(job_id, _UNKNOWN)
        _forget_the_oldest(self._status)

    def _set(self, job_id: object, status: object) -> None:
        if (
            isinstance(job_id, str)
            and job_id in self._status
            and isinstance(status, str)
            and status
        ):
            self._status[job_id] = status if status in (*STATUSES, _UNKNOWN) else _GONE
            if status != _UNKNOWN and _explains(self._attempts.get(job_id), status):
                del self._attempts[job_id]


def _forget_the_oldest(remembered: dict[str, str]) -> None:
    if len(remembered) > _REMEMBERED:
        del remembered[next(iter(remembered))]


def _explains(attempted: str | None, status: str | None) -> bool:
    """Whether a command that may have set one status explains another; all that are not pending count as one."""
    return attempted is not None and (attempted == status or not {attempted, status} & set(PENDING))


def _state(body: dict[str, Any]) -> object:
    """The status in the ``executionState`` of an update's answer, if it brings one."""
    state = body.get("executionState")
    return state.get("status") if isinstance(state, dict) else None


def _listed(block: Block) -> _Listing | None:
    """What a block lists; None for one that lists nothing, or not in the documented form.

    A single summary that is not of that form is passed over, and the rest is as good as cut.
    """
    body = block.body or {}
    if block.title == CHANGED:
        jobs = body.get("jobs")
    elif block.title == "GetPendingJobExecutionsResponse":
        jobs = {"QUEUED": body.get("queuedJobs"), "IN_PROGRESS": body.get("inProgressJobs")}
    else:
        return None
    if not isinstance(jobs, dict) or not all(isinstance(items, list) for items in jobs.values()):
        return None
    summaries = [(status, summary) for status, items in jobs.items() for summary in items]
    statuses = {
        summary["jobId"]: status
        for status, summary in summaries
        if status in PENDING
        and isinstance(summary, dict)
        and isinstance(summary.get("jobId"), str)
        and is_job_id(summary["jobId"])
    }
    return _Listing(statuses, len(summaries) >= LIST_LIMIT or len(statuses) < len(summaries))


def _job_ids(body: dict[str, Any]) -> list[object]:
    """The job ids that a body names, wherever the service puts them."""
    jobs = body.get("jobs")
    lists = [
        *(jobs.values() if isinstance(jobs, dict) else ()),
        body.get("queuedJobs"),
        body.get("inProgressJobs"),
    ]
    named = [
        body,
        body.get("execution"),
        *(item for items in lists if isinstance(items, list) for item in items),
    ]
    return [item.get("jobId") for item in named if isinstance(item, dict)]
