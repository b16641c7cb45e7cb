"""What a session learns about the thing's executions."""

from typing import Any

import pytest

from jobs_sandbox.core.blocks import REJECTED, Block
from jobs_sandbox.core.jobs import STATUSES
from jobs_sandbox.session.executions import Executions

DONE = Block("UpdateJobExecutionResult", {"executionState": None})


def summaries(*job_ids: str) -> list[dict[str, object]]:
    return [{"jobId": job_id, "versionNumber": 1} for job_id in job_ids]


def numbered(count: int) -> list[dict[str, object]]:
    return summaries(*(f"J{number}" for number in range(count)))


def changed(**jobs: object) -> Block:
    return Block("JobExecutionsChangedEvent", {"jobs": jobs})


def pending(queued: list[dict[str, object]], in_progress: list[dict[str, object]]) -> Block:
    return Block(
        "GetPendingJobExecutionsResponse", {"queuedJobs": queued, "inProgressJobs": in_progress}
    )


def execution(job_id: object, status: object, title: str = "DescribeJobExecutionResponse") -> Block:
    return Block(title, {"execution": {"jobId": job_id, "status": status}})


@pytest.fixture
def executions() -> Executions:
    return Executions()


def test_nothing_heard(executions: Executions) -> None:
    """Before anything is heard, the counts are unknown, not zero."""
    assert executions.counts() is None
    assert executions.job_ids() == {}
    assert not executions.more


# Lists of pending executions


def test_counts_of_an_event(executions: Executions) -> None:
    """An event that lists the pending executions replaces what was known of them."""
    executions.learn(changed(QUEUED=summaries("A", "B"), IN_PROGRESS=summaries("C")))
    assert executions.counts() == (2, 1)
    executions.learn(changed())
    assert executions.counts() == (0, 0)
    assert executions.job_ids() == {"C": "not pending", "B": "not pending", "A": "not pending"}


def test_counts_of_an_answer(executions: Executions) -> None:
    """GetPendingJobExecutions lists them as well."""
    executions.learn(changed(QUEUED=summaries("A", "B")))
    executions.learn(pending(summaries("B"), summaries("C")))
    assert executions.counts() == (1, 1)


@pytest.mark.parametrize(("listed", "more"), [(9, False), (10, True), (15, True)])
@pytest.mark.parametrize("form", ["event", "answer"])
def test_more_than_a_list_holds(executions: Executions, form: str, listed: int, more: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A list of 10, which is as long as AWS IoT makes one, may have been cut, until a shorter one comes."""
    summaries_made = numbered(listed)
    if form == "event":
        executions.learn(changed(QUEUED=summaries_made[1:], IN_PROGRESS=summaries_made[:1]))
    else:
        executions.learn(pending(summaries_made[1:], summaries_made[:1]))
    assert (executions.counts(), executions.more) == ((listed - 1, 1), more)
    executions.learn(changed(QUEUED=summaries("A")))
    assert not executions.more


def test_what_a_cut_list_leaves_open(executions: Executions) -> None:
    """Of an execution that a cut list does not name, nothing is known: it is neither counted nor called gone."""
    executions.learn(changed(QUEUED=summaries("A"), IN_PROGRESS=summaries("B")))
    executions.learn(execution("C", "SUCCEEDED"))
    executions.learn(changed(QUEUED=[*summaries("B"), *numbered(10)]))
    assert executions.counts() == (11, 0)
    known = executions.job_ids()
    assert (known["A"], known["B"], known["C"]) == ("not known", "QUEUED", "SUCCEEDED")
    executions.learn(changed())
    assert executions.job_ids()["A"] == "not pending"


def test_hostile_names_are_not_remembered(executions: Executions) -> None:
    """What is no job id or no pending status is neither counted nor offered, and memory is bounded."""
    executions.learn(
        changed(QUEUED=summaries("A\u202eevil", "B\n", "", "C" * 65), EVIL=summaries("D"))
    )
    assert executions.counts() == (0, 0)
    assert executions.more
    assert executions.job_ids() == {"D": "not known"}
    executions.learn(changed(QUEUED=numbered(1500)))
    assert len(executions.job_ids()) == 1000
    for number in range(1500):
        executions.attempt(f"J{number}", "FAILED")
    assert len(executions._attempts) == 1000


UNREADABLE: list[dict[str, Any] | None] = [
    None,
    {},
    {"jobs": "x"},
    {"jobs": ["x"]},
    {"jobs": {"QUEUED": "x"}},
    {"jobs": {"QUEUED": {"jobId": "A"}}},
    {"execution": "x"},
    {"execution": {"jobId": 5, "status": "QUEUED"}},
    {"execution": {"jobId": None, "status": 5}},
    {"execution": {"jobId": "Known", "status": 5}},
    {"execution": {"jobId": "Known", "status": ["QUEUED"]}},
    {"execution": {"jobId": ["Known"], "status": "FAILED"}},
    {"executionState": "x"},
    {"executionState": {"status": {}}},
    {"queuedJobs": 1, "inProgressJobs": {"a": 1}},
    {"queuedJobs": []},
    {"jobId": ["x"]},
]


@pytest.mark.parametrize("body", UNREADABLE)
@pytest.mark.parametrize(
    "title",
    [
        "JobExecutionsChangedEvent",
        "NextJobExecutionChangedEvent",
        "GetPendingJobExecutionsResponse",
        "UpdateJobExecutionResult",
        "DeleteJobOutput",
        REJECTED,
    ],
)
def test_wrong_types(executions: Executions, title: str, body: dict[str, object] | None) -> None:
    """What is not of the documented form teaches nothing, before something is known and after."""
    executions.learn(Block(title, body))
    assert executions.counts() is None
    executions.learn(changed(IN_PROGRESS=summaries("Known")))
    executions.learn(Block(title, body), "Known")
    assert executions.counts() == (0, 1)
    assert executions.job_ids() == {"Known": "IN_PROGRESS"}


def test_a_summary_of_another_form(executions: Executions) -> None:
    """A summary that is not of the documented form is passed over, and the list no longer complete."""
    executions.learn(changed(QUEUED=["x", None, {"jobId": 1}, {}, *summaries("A")]))
    assert (executions.counts(), executions.more) == ((1, 0), True)


# Single executions


@pytest.mark.parametrize(
    ("status", "counts"),
    [("QUEUED", (1, 0)), ("IN_PROGRESS", (0, 1)), ("SUCCEEDED", (0, 0)), ("NEW_ONE", (0, 0))],
)
def test_counts_of_an_execution(
    executions: Executions, status: str, counts: tuple[int, int]
) -> None:
    """An execution that is shown moves to its status; a terminal one is no longer pending."""
    executions.learn(changed(QUEUED=summaries("A")))
    executions.learn(execution("A", status))
    assert executions.counts() == counts


def test_statuses() -> None:
    """The statuses are those of JobExecution in the AWS IoT API reference."""
    assert sorted(STATUSES) == [
        "CANCELED",
        "FAILED",
        "IN_PROGRESS",
        "QUEUED",
        "REJECTED",
        "REMOVED",
        "SUCCEEDED",
        "TIMED_OUT",
    ]


@pytest.mark.parametrize("status", [*STATUSES, "\x1b[31mEVIL"])
def test_one_execution_is_no_count(executions: Executions, status: str) -> None:
    """An execution that is shown tells its status, if that is one of AWS IoT's, and not how many there are."""
    executions.learn(execution("A", status))
    assert executions.counts() is None
    assert executions.job_ids() == {"A": status if status in STATUSES else "not pending"}


def test_counts_of_an_update(executions: Executions) -> None:
    """An accepted update changes the status of its execution."""
    executions.learn(changed(QUEUED=summaries("A", "B")))
    executions.learn(DONE, "A", "IN_PROGRESS")
    assert executions.counts() == (1, 1)
    executions.learn(DONE, "A", "SUCCEEDED")
    assert executions.counts() == (1, 0)


def test_the_view_of_the_control_plane(executions: Executions) -> None:
    """The control plane's DescribeJobExecution tells the status as well."""
    executions.learn(changed(QUEUED=summaries("A")))
    executions.learn(Block("DescribeJobExecutionOutput", {"jobId": "A", "status": "TIMED_OUT"}))
    assert executions.job_ids() == {"A": "TIMED_OUT"}
    executions.learn(Block("Other", {"jobId": "A", "status": "QUEUED"}))
    assert executions.job_ids() == {"A": "TIMED_OUT"}


@pytest.mark.parametrize("title", ["UpdateJobExecutionResult", REJECTED])
def test_execution_state(executions: Executions, title: str) -> None:
    """The ``executionState`` of an update's answer is the truth, also in a rejection."""
    executions.learn(changed(QUEUED=summaries("A")))
    executions.learn(
        Block(title, {"executionState": {"status": "FAILED", "versionNumber": 2}}),
        "A",
        "IN_PROGRESS",
    )
    assert executions.counts() == (0, 0)
    assert executions.job_ids() == {"A": "FAILED"}


def test_rejection_without_a_state(executions: Executions) -> None:
    """A plain rejection teaches nothing; a job id that only a refused request named is not remembered."""
    executions.learn(changed(QUEUED=summaries("A")))
    executions.learn(Block(REJECTED, {"code": "InvalidRequest"}), "A", "FAILED")
    executions.learn(Block(REJECTED, {"code": "ResourceNotFound"}), "Typo")
    assert executions.job_ids() == {"A": "QUEUED"}


def test_an_answer_without_executions(executions: Executions) -> None:
    """A job created says nothing of executions, and one deleted is forgotten."""
    executions.learn(Block("CreateJobOutput", {"jobId": "A"}))
    executions.learn(Block("CreateJobOutput", {"jobId": "B"}))
    assert executions.counts() is None
    executions.learn(Block("DeleteJobOutput", {"jobId": "A"}), "A")
    assert executions.job_ids() == {"B": "not known"}
    executions.learn(pending(summaries("A"), [])._replace(title="CancelJobOutput"))
    assert executions.counts() is None


def test_job_ids_pending_first(executions: Executions) -> None:
    """Job ids come from every place the service names them: pending ones first, then the most recent."""
    executions.learn(Block("CreateJobOutput", {"jobId": "A"}))
    executions.learn(changed(QUEUED=summaries("B", "C")))
    executions.learn(pending(summaries("B"), summaries("D")))
    executions.learn(execution("E", "SUCCEEDED"))
    executions.learn(DONE, "A", "FAILED")
    assert list(executions.job_ids().items()) == [
        ("D", "IN_PROGRESS"),
        ("B", "QUEUED"),
        ("A", "FAILED"),
        ("E", "SUCCEEDED"),
        ("C", "not pending"),
    ]


# What changed while nobody listened


def test_changes(executions: Executions) -> None:
    """What a list of pending executions shows that was not known is told per job, null for not pending."""
    executions.learn(changed(QUEUED=summaries("Same", "Started", "Gone")))
    executions.learn(execution("Again", "FAILED"))
    assert executions.changes(pending(summaries("Same", "New", "Again"), summaries("Started"))) == {
        "Again": {"was": None, "now": "QUEUED"},
        "Gone": {"was": "QUEUED", "now": None},
        "New": {"was": None, "now": "QUEUED"},
        "Started": {"was": "QUEUED", "now": "IN_PROGRESS"},
    }
    assert executions.counts() == (3, 0)


def test_no_changes(executions: Executions) -> None:
    """A list that shows what was known changes nothing."""
    executions.learn(changed(QUEUED=summaries("A")))
    assert executions.changes(pending(summaries("A"), [])) == {}


def test_changes_of_the_unreadable(executions: Executions) -> None:
    """A list that cannot be read shows no change."""
    executions.learn(changed(QUEUED=summaries("A")))
    assert executions.changes(Block("GetPendingJobExecutionsResponse", None)) == {}


def test_changes_in_a_cut_list(executions: Executions) -> None:
    """A list that may be cut shows no departures: what it does not name may be pending still."""
    executions.learn(changed(QUEUED=summaries("A", "J0")))
    assert executions.changes(pending(numbered(10)[1:], numbered(1))) == {
        "J0": {"was": "QUEUED", "now": "IN_PROGRESS"},
        **{f"J{number}": {"was": None, "now": "QUEUED"} for number in range(1, 10)},
    }


def test_changes_since_a_cut_list(executions: Executions) -> None:
    """After a list that may be cut, what was not in it may have been pending: no arrivals are told."""
    executions.learn(changed(QUEUED=summaries("Before")))
    executions.learn(execution("Ended", "SUCCEEDED"))
    executions.learn(changed(QUEUED=numbered(10)))
    assert executions.changes(
        pending(summaries("Before", "Ended", "Further"), summaries("J0"))
    ) == {
        "Ended": {"was": None, "now": "QUEUED"},
        "J0": {"was": "QUEUED", "now": "IN_PROGRESS"},
        **{f"J{number}": {"was": "QUEUED", "now": None} for number in range(1, 10)},
    }


@pytest.mark.parametrize(
    ("attempt", "change"),
    [
        (("New", "QUEUED"), "New"),
        (("Worked", "IN_PROGRESS"), "Worked"),
        (("", "IN_PROGRESS"), "Worked"),
        (("Gone", "SUCCEEDED"), "Gone"),
    ],
)
def test_own_changes(executions: Executions, attempt: tuple[str, str], change: str) -> None:
    """What a command of this program did, whether or not its answer came, is no news; all else is."""
    executions.learn(changed(QUEUED=summaries("Worked", "Gone")))
    now = pending(summaries("New"), summaries("Worked"))
    everything = {"Gone", "New", "Worked"}
    assert executions.changes(now).keys() == everything
    executions.attempt(*attempt)
    assert executions.changes(now).keys() == everything - {change}
    executions.give_up(attempt[0])
    assert executions.changes(now).keys() == everything


def test_not_what_was_attempted(executions: Executions) -> None:
    """A change to another status than the attempted one is news; several ends are one to a list of pending ones."""
    executions.learn(changed(QUEUED=summaries("A", "B")))
    executions.attempt("A", "SUCCEEDED")
    executions.attempt("B", "IN_PROGRESS")
    assert executions.changes(pending([], summaries("A"))).keys() == {"A", "B"}


@pytest.mark.parametrize(
    "answer",
    [
        Block("UpdateJobExecutionResult", {}),
        Block(REJECTED, {"code": "InvalidRequest"}),
        execution("A", "FAILED"),
        changed(),
    ],
)
def test_an_attempt_that_is_over(executions: Executions, answer: Block) -> None:
    """Once it is heard what became of a command, later changes of its execution are not its own."""
    executions.learn(changed(QUEUED=summaries("A")))
    executions.attempt("A", "FAILED")
    executions.learn(answer, "A" if "jobs" not in (answer.body or {}) else "")
    executions.learn(changed(QUEUED=summaries("A")))
    assert executions.changes(pending([], [])) == {"A": {"was": "QUEUED", "now": None}}


def test_an_attempt_to_start_creates_nothing(executions: Executions) -> None:
    """An execution that was not queued before is news, also when the next one was to be started."""
    executions.learn(changed())
    executions.attempt("", "IN_PROGRESS")
    assert executions.changes(pending([], summaries("A"))).keys() == {"A"}


def test_an_attempt_to_start_that_is_over(executions: Executions) -> None:
    """The same with the next execution, whichever that is."""
    executions.learn(changed(QUEUED=summaries("A")))
    executions.attempt("", "IN_PROGRESS")
    executions.learn(Block("StartNextJobExecutionResponse", {"execution": None}))
    assert executions.changes(pending([], summaries("A"))).keys() == {"A"}


def test_a_job_that_was_created_meanwhile(executions: Executions) -> None:
    """The answer to CreateJob does not end its attempt: the execution appears later."""
    executions.learn(changed())
    executions.attempt("A", "QUEUED")
    executions.learn(Block("CreateJobOutput", {"jobId": "A"}), "A", "QUEUED")
    assert executions.job_ids() == {"A": "not known"}
    assert executions.changes(pending(summaries("A"), [])) == {}


def test_an_attempt_under_way(executions: Executions) -> None:
    """Events that show the state before a command was carried out do not end its attempt."""
    executions.learn(changed(QUEUED=summaries("A")))
    executions.attempt("A", "FAILED")
    executions.learn(changed(QUEUED=[*summaries("A"), *numbered(2)]))
    executions.learn(changed(QUEUED=numbered(10)))  # and neither does a list that may be cut
    executions.learn(changed(QUEUED=summaries("A")))
    assert executions.changes(pending([], [])) == {}
