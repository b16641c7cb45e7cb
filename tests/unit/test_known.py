"""What a session learns about the thing's executions."""

import pytest

from jobs_sandbox.answers import Answer
from jobs_sandbox.known import KnownExecutions


def summaries(*job_ids: str) -> list[dict[str, object]]:
    return [{"jobId": job_id, "versionNumber": 1} for job_id in job_ids]


def changed(**jobs: object) -> Answer:
    return Answer("JobExecutionsChangedEvent", {"jobs": jobs})


def pending(queued: list[dict[str, object]], in_progress: list[dict[str, object]]) -> Answer:
    return Answer("GetPendingJobExecutionsResponse", {"queuedJobs": queued, "inProgressJobs": in_progress})


def execution(job_id: object, status: object, title: str = "DescribeJobExecutionResponse") -> Answer:
    return Answer(title, {"execution": {"jobId": job_id, "status": status}})


@pytest.fixture
def known() -> KnownExecutions:
    return KnownExecutions()


def test_nothing_heard(known: KnownExecutions) -> None:
    """Before anything is heard, the counts are unknown, not zero."""
    assert known.counts() is None
    assert known.job_ids() == {}


def test_counts_of_an_event(known: KnownExecutions) -> None:
    """An event that lists the pending executions replaces what was known of them."""
    known.learn(changed(QUEUED=summaries("A", "B"), IN_PROGRESS=summaries("C")))
    assert known.counts() == (2, 1)
    known.learn(changed())
    assert known.counts() == (0, 0)


def test_a_cut_event(known: KnownExecutions) -> None:
    """An event that is as long as AWS makes them may be cut: it adds to what was known."""
    known.learn(changed(QUEUED=summaries("A", "Z")))
    known.learn(changed(QUEUED=summaries(*(f"J{n}" for n in range(14))), IN_PROGRESS=summaries("A")))
    assert known.counts() == (15, 1)


def test_counts_of_an_answer(known: KnownExecutions) -> None:
    """GetPendingJobExecutions lists them all."""
    known.learn(changed(QUEUED=summaries("A", "B")))
    known.learn(pending(summaries("B"), summaries("C")))
    assert known.counts() == (1, 1)


@pytest.mark.parametrize(
    ("status", "counts"), [("QUEUED", (1, 0)), ("IN_PROGRESS", (0, 1)), ("SUCCEEDED", (0, 0)), ("NEW_ONE", (0, 0))]
)
def test_counts_of_an_execution(known: KnownExecutions, status: str, counts: tuple[int, int]) -> None:
    """An execution that is shown moves to its status; a terminal one is no longer pending."""
    known.learn(changed(QUEUED=summaries("A")))
    known.learn(execution("A", status))
    assert known.counts() == counts


def test_one_execution_is_no_count(known: KnownExecutions) -> None:
    """An execution that is shown does not tell how many there are."""
    known.learn(execution("A", "QUEUED"))
    assert known.counts() is None
    assert known.job_ids() == {"A": "not pending"}


def test_hostile_names_are_not_remembered(known: KnownExecutions) -> None:
    """What is no job id or no pending status is neither counted nor offered, and memory is bounded."""
    known.learn(changed(QUEUED=summaries("A\u202eevil", "B\n", "", "C" * 65), EVIL=summaries("D")))
    assert known.counts() == (0, 0)
    assert list(known.job_ids()) == ["D"]
    known.learn(changed(QUEUED=summaries(*(f"J{number}" for number in range(1500)))))
    assert len(known.job_ids()) == 1000


def test_counts_of_an_update(known: KnownExecutions) -> None:
    """An accepted update changes the status of its execution."""
    known.learn(changed(QUEUED=summaries("A", "B")))
    known.learn(Answer("UpdateJobExecutionResult", {"executionState": None}), "A", "IN_PROGRESS")
    assert known.counts() == (1, 1)
    known.learn(Answer("UpdateJobExecutionResult", {"executionState": None}), "A", "SUCCEEDED")
    assert known.counts() == (1, 0)


def test_an_answer_without_executions(known: KnownExecutions) -> None:
    """A job created or deleted says nothing of executions."""
    known.learn(Answer("CreateJobOutput", {"jobId": "A"}))
    assert known.counts() is None


def test_job_ids_most_recent_first(known: KnownExecutions) -> None:
    """Job ids come from every place the service names them, the most recent first, with what is known of each."""
    known.learn(Answer("CreateJobOutput", {"jobId": "A"}))
    known.learn(changed(QUEUED=summaries("B", "C")))
    known.learn(pending(summaries("B"), summaries("D")))
    known.learn(execution("E", "SUCCEEDED"))
    known.learn(Answer("UpdateJobExecutionResult", {}), "A", "FAILED")
    assert list(known.job_ids().items()) == [
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
def test_wrong_types(known: KnownExecutions, title: str, body: dict[str, object] | None) -> None:
    """What is not of the documented form teaches nothing, and harms nothing."""
    known.learn(Answer(title, body))
    assert known.job_ids() == {}
    assert known.counts() in (None, (0, 0))


def test_changes(known: KnownExecutions) -> None:
    """What a list of pending executions shows that was not known is told per job, null for not pending."""
    known.learn(changed(QUEUED=summaries("Same", "Started", "Gone")))
    assert known.changes(pending(summaries("Same", "New"), summaries("Started"))) == {
        "Gone": {"was": "QUEUED", "now": None},
        "New": {"was": None, "now": "QUEUED"},
        "Started": {"was": "QUEUED", "now": "IN_PROGRESS"},
    }
    assert known.counts() == (3, 0)


def test_no_changes(known: KnownExecutions) -> None:
    """A list that shows what was known changes nothing."""
    known.learn(changed(QUEUED=summaries("A")))
    assert known.changes(pending(summaries("A"), [])) == {}


def test_changes_of_the_unreadable(known: KnownExecutions) -> None:
    """A list without a body shows that nothing is pending."""
    known.learn(changed(QUEUED=summaries("A")))
    unreadable = Answer("GetPendingJobExecutionsResponse", None)
    assert known.changes(unreadable) == {"A": {"was": "QUEUED", "now": None}}
