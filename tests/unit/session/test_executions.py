"""What a session knows about the thing's executions."""

from typing import Any

import pytest

from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.session.executions import Executions

TEN = [f"J{number}" for number in range(10)]


def summaries(job_ids: list[str]) -> list[dict[str, str]]:
    return [{"jobId": job_id} for job_id in job_ids]


def changed(queued: list[str], in_progress: list[str]) -> Block:
    jobs = {"QUEUED": summaries(queued), "IN_PROGRESS": summaries(in_progress)}
    return Block(blocks.CHANGED, {"jobs": jobs})


def pending(queued: list[str], in_progress: list[str]) -> Block:
    body = {"queuedJobs": summaries(queued), "inProgressJobs": summaries(in_progress)}
    return Block(blocks.GET_PENDING, body)


def execution(job_id: str, status: str) -> Block:
    return Block(blocks.DESCRIBE, {"execution": {"jobId": job_id, "status": status}})


@pytest.fixture
def executions() -> Executions:
    """Two are queued, and one is in progress."""
    made = Executions()
    assert (made.counts(), made.statuses(), made.incomplete) == (None, {}, False)
    made.record(changed(["A", "B"], ["C"]))
    assert made.counts() == (2, 1)
    return made


@pytest.mark.parametrize(
    ("block", "counts"),
    [(Block(blocks.CHANGED, {"jobs": {}}), (0, 0)), (pending(["B", "D"], ["A"]), (2, 1))],
)
def test_lists(executions: Executions, block: Block, counts: tuple[int, int]) -> None:
    """A list of pending executions replaces the one before."""
    executions.record(block)
    assert executions.counts() == counts
    assert executions.statuses()["C"] == "not pending"


@pytest.mark.parametrize("block", [changed(TEN, []), pending(TEN[1:], TEN[:1])])
def test_incomplete_lists(executions: Executions, block: Block) -> None:
    """AWS IoT lists ten; whether others are pending is unknown until a shorter list comes."""
    executions.record(execution("D", "SUCCEEDED"))
    executions.record(block)
    assert executions.incomplete
    assert sum(executions.counts() or ()) == 10
    assert executions.statuses()["A"] == "not known"
    assert executions.statuses()["D"] == "SUCCEEDED"
    executions.record(changed(TEN[1:], []))
    assert not executions.incomplete
    assert executions.statuses()["A"] == "not pending"


@pytest.mark.parametrize(
    ("title", "body"),
    [
        (blocks.CHANGED, None),
        (blocks.CHANGED, {"jobs": {"QUEUED": ["x"]}}),
        (blocks.NEXT_CHANGED, {"execution": {"jobId": 5, "status": "FAILED"}}),
        (blocks.NEXT_CHANGED, {"execution": {"jobId": "../x", "status": "QUEUED"}}),
        (blocks.UPDATE, {"executionState": "x"}),
    ],
)
def test_malformed_messages(
    executions: Executions, title: str, body: dict[str, Any] | None
) -> None:
    """A message in another form than the documented one changes nothing."""
    executions.record(Block(title, body), "C")
    assert executions.statuses() == {"C": "IN_PROGRESS", "B": "QUEUED", "A": "QUEUED"}


@pytest.mark.parametrize(
    ("status", "known"), [("TIMED_OUT", "TIMED_OUT"), ("\x1b[31mEVIL", "not known")]
)
def test_one_execution(executions: Executions, status: str, known: str) -> None:
    """Answers of both planes have the status of an execution; an unknown one is not shown."""
    executions.record(execution("A", status))
    executions.record(Block(blocks.JOB_EXECUTION, {"jobId": "B", "status": status}))
    assert executions.statuses() == {"C": "IN_PROGRESS", "B": known, "A": known}


@pytest.mark.parametrize(
    ("title", "state", "status"),
    [
        (blocks.UPDATE, None, "SUCCEEDED"),
        (blocks.UPDATE, {"status": "FAILED"}, "FAILED"),
        (blocks.REJECTED, {"status": "FAILED"}, "FAILED"),
        (blocks.REJECTED, None, "QUEUED"),
    ],
)
def test_updates(executions: Executions, title: str, state: object, status: str) -> None:
    """``executionState`` counts, also in a rejection; else an accepted update does."""
    executions.record(Block(title, {"executionState": state}), "A", "SUCCEEDED")
    assert executions.statuses()["A"] == status


def test_jobs(executions: Executions) -> None:
    """A new job has an unknown status, unless its event came first; a deleted one is forgotten."""
    for job_id in ("A", "D"):
        executions.record(Block(blocks.CREATE_JOB, {}), job_id)
    for job_id in ("B", "E"):
        executions.record(Block(blocks.DELETE_JOB, {}), job_id)
    assert executions.statuses() == {"A": "QUEUED", "C": "IN_PROGRESS", "D": "not known"}


def test_order_for_completion(executions: Executions) -> None:
    """Pending executions come first, then the ones named last; memory is bounded."""
    executions.record(execution("D", "SUCCEEDED"))
    executions.record(execution("A", "FAILED"))
    executions.record(execution("B", "IN_PROGRESS"))
    assert list(executions.statuses()) == ["B", "C", "A", "D"]
    executions.record(changed([str(number) for number in range(1500)], []))
    assert len(executions.statuses()) == 1000
