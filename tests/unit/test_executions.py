"""What a session learns about the thing's executions."""

import pytest

from jobs_sandbox.blocks import Block
from jobs_sandbox.executions import Executions


def summaries(*job_ids: str) -> list[dict[str, object]]:
    return [{"jobId": job_id, "versionNumber": 1} for job_id in job_ids]


def changed(**jobs: object) -> Block:
    return Block("JobExecutionsChangedEvent", {"jobs": jobs})


def pending(queued: list[dict[str, object]], in_progress: list[dict[str, object]]) -> Block:
    return Block("GetPendingJobExecutionsResponse", {"queuedJobs": queued, "inProgressJobs": in_progress})


def execution(job_id: object, status: object, title: str = "DescribeJobExecutionResponse") -> Block:
    return Block(title, {"execution": {"jobId": job_id, "status": status}})


@pytest.fixture
def executions() -> Executions:
    return Executions()


def test_nothing_heard(executions: Executions) -> None:
    """Before anything is heard, the counts are unknown, not zero."""
    assert executions.counts() is None
    assert executions.job_ids() == {}


def test_counts_of_an_event(executions: Executions) -> None:
    """An event that lists the pending executions replaces what was executions of them."""
    executions.learn(changed(QUEUED=summaries("A", "B"), IN_PROGRESS=summaries("C")))
    assert executions.counts() == (2, 1)
    executions.learn(changed())
    assert executions.counts() == (0, 0)


def test_a_cut_event(executions: Executions) -> None:
    """An event that is as long as AWS makes them may be cut: it adds to what was executions."""
    executions.learn(changed(QUEUED=summaries("A", "Z")))
    executions.learn(changed(QUEUED=summaries(*(f"J{n}" for n in range(14))), IN_PROGRESS=summaries("A")))
    assert executions.counts() == (15, 1)


def test_counts_of_an_answer(executions: Executions) -> None:
    """GetPendingJobExecutions lists them all."""
    executions.learn(changed(QUEUED=summaries("A", "B")))
    executions.learn(pending(summaries("B"), summaries("C")))
    assert executions.counts() == (1, 1)


@pytest.mark.parametrize(
    ("status", "counts"), [("QUEUED", (1, 0)), ("IN_PROGRESS", (0, 1)), ("SUCCEEDED", (0, 0)), ("NEW_ONE", (0, 0))]
)
def test_counts_of_an_execution(executions: Executions, status: str, counts: tuple[int, int]) -> None:
    """An execution that is shown moves to its status; a terminal one is no longer pending."""
    executions.learn(changed(QUEUED=summaries("A")))
    executions.learn(execution("A", status))
    assert executions.counts() == counts


def test_one_execution_is_no_count(executions: Executions) -> None:
    """An execution that is shown does not tell how many there are."""
    executions.learn(execution("A", "QUEUED"))
    assert executions.counts() is None
    assert executions.job_ids() == {"A": "not pending"}


def test_hostile_names_are_not_remembered(executions: Executions) -> None:
    """What is no job id or no pending status is neither counted nor offered, and memory is bounded."""
    executions.learn(changed(QUEUED=summaries("A\u202eevil", "B\n", "", "C" * 65), EVIL=summaries("D")))
    assert executions.counts() == (0, 0)
    assert list(executions.job_ids()) == ["D"]
    executions.learn(changed(QUEUED=summaries(*(f"J{number}" for number in range(1500)))))
    assert len(executions.job_ids()) == 1000


def test_counts_of_an_update(executions: Executions) -> None:
    """An accepted update changes the status of its execution."""
    executions.learn(changed(QUEUED=summaries("A", "B")))
    executions.learn(Block("UpdateJobExecutionResult", {"executionState": None}), "A", "IN_PROGRESS")
    assert executions.counts() == (1, 1)
    executions.learn(Block("UpdateJobExecutionResult", {"executionState": None}), "A", "SUCCEEDED")
    assert executions.counts() == (1, 0)


def test_an_answer_without_executions(executions: Executions) -> None:
    """A job created or deleted says nothing of executions."""
    executions.learn(Block("CreateJobOutput", {"jobId": "A"}))
    assert executions.counts() is None


def test_job_ids_most_recent_first(executions: Executions) -> None:
    """Job ids come from every place the service names them, the most recent first, with what is executions of each."""
    executions.learn(Block("CreateJobOutput", {"jobId": "A"}))
    executions.learn(changed(QUEUED=summaries("B", "C")))
    executions.learn(pending(summaries("B"), summaries("D")))
    executions.learn(execution("E", "SUCCEEDED"))
    executions.learn(Block("UpdateJobExecutionResult", {}), "A", "FAILED")
    assert list(executions.job_ids().items()) == [
        ("A", "not pending"),
        ("E", "not pending"),
        ("D", "IN_PROGRESS"),
        ("B", "QUEUED"),
        ("C", "not pending"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"jobs": "x"},
        {"jobs": ["x"]},
        {"jobs": {"QUEUED": "x"}},
        {"jobs": {"QUEUED": {"jobId": "A"}}},
        {"jobs": {"QUEUED": ["x", None, {"jobId": 1}, {}]}},
        {"execution": "x"},
        {"execution": {"jobId": 5, "status": "QUEUED"}},
        {"execution": {"jobId": None, "status": 5}},
        {"queuedJobs": 1, "inProgressJobs": {"a": 1}},
        {"jobId": ["x"]},
    ],
)
@pytest.mark.parametrize(
    "title", ["JobExecutionsChangedEvent", "NextJobExecutionChangedEvent", "GetPendingJobExecutionsResponse"]
)
def test_wrong_types(executions: Executions, title: str, body: dict[str, object] | None) -> None:
    """What is not of the documented form teaches nothing, and harms nothing."""
    executions.learn(Block(title, body))
    assert executions.job_ids() == {}
    assert executions.counts() in (None, (0, 0))


def test_changes(executions: Executions) -> None:
    """What a list of pending executions shows that was not executions is told per job, null for not pending."""
    executions.learn(changed(QUEUED=summaries("Same", "Started", "Gone")))
    assert executions.changes(pending(summaries("Same", "New"), summaries("Started"))) == {
        "Gone": {"was": "QUEUED", "now": None},
        "New": {"was": None, "now": "QUEUED"},
        "Started": {"was": "QUEUED", "now": "IN_PROGRESS"},
    }
    assert executions.counts() == (3, 0)


def test_no_changes(executions: Executions) -> None:
    """A list that shows what was executions changes nothing."""
    executions.learn(changed(QUEUED=summaries("A")))
    assert executions.changes(pending(summaries("A"), [])) == {}


def test_changes_of_the_unreadable(executions: Executions) -> None:
    """A list without a body shows that nothing is pending."""
    executions.learn(changed(QUEUED=summaries("A")))
    unreadable = Block("GetPendingJobExecutionsResponse", None)
    assert executions.changes(unreadable) == {"A": {"was": "QUEUED", "now": None}}
