"""The commands and request fields beyond the Swift sample's, against an AWS IoT that enforces the shipped policies."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.account import Account
from tests.support.program import Program

REJECTED = "Service Request Rejected"
CHANGED, NEXT = "JobExecutionsChangedEvent", "NextJobExecutionChangedEvent"
STARTED, UPDATED = "StartNextJobExecutionResponse", "UpdateJobExecutionResult"
DESCRIBED, SEEN = "DescribeJobExecutionResponse", "DescribeJobExecutionOutput"


@pytest.fixture
def program(account: Account) -> Iterator[Program]:
    """The program as a device of its own, connected."""
    device = account.device()
    with Program(account.arguments(device), account.operator(device.thing)) as program:
        yield program.started()


def ask(program: Program, line: str, *titles: str) -> dict[str, Any]:
    """Run a line, and take the blocks that it brings."""
    program.send(line)
    return program.take(*titles)


@pytest.fixture
def job_id(program: Program) -> str:
    """A job of this test's own, whose execution is queued."""
    name = f"Job-{os.urandom(4).hex()}"
    ask(program, f'create-job {name} {{"id":"{name}"}}', "CreateJobOutput", CHANGED, NEXT)
    return name


def test_fields_of_an_update(program: Program, job_id: str) -> None:
    """Status details are set, a version is insisted on, and the answer brings the state and the document if asked."""
    fields = (
        '{"statusDetails":{"step":"1/2"},"includeJobExecutionState":true,"includeJobDocument":true}'
    )
    updated = ask(program, f"update-job-execution {job_id} IN_PROGRESS {fields}", UPDATED)[UPDATED]
    assert updated["executionState"]["status"] == "IN_PROGRESS"
    assert updated["executionState"]["statusDetails"] == {"step": "1/2"}
    assert updated["jobDocument"] == {"id": job_id}
    version = updated["executionState"]["versionNumber"]
    rejected = ask(
        program,
        f'update-job-execution {job_id} FAILED {{"expectedVersion":{version + 1}}}',
        REJECTED,
    )
    assert rejected[REJECTED]["code"] == "VersionMismatch"
    ask(program, f'update-job-execution {job_id} FAILED {{"expectedVersion":{version}}}', UPDATED)
    assert program.finish() == 1


def test_fields_of_start_next_and_describe(program: Program, job_id: str) -> None:
    """An execution starts with status details and a timer, and is described without its document."""
    fields = '{"statusDetails":{"by":"hand"},"stepTimeoutInMinutes":5}'
    started = ask(program, f"start-next-pending-job-execution {fields}", STARTED)[STARTED]
    assert started["execution"]["statusDetails"] == {"by": "hand"}
    shown = ask(
        program, f'describe-job-execution {job_id} {{"includeJobDocument":false}}', DESCRIBED
    )[DESCRIBED]
    assert "jobDocument" not in shown["execution"]
    assert shown["execution"]["statusDetails"] == {"by": "hand"}
    assert program.finish() == 0


def test_fields_that_are_refused(program: Program, job_id: str) -> None:
    """What AWS IoT would not take is told before anything is sent."""
    program.send(f'update-job-execution {job_id} FAILED {{"expectedVersoin":1}}')
    program.wait_stderr("did you mean expectedVersion?")
    shown = ask(program, f"describe-job-execution {job_id}", DESCRIBED)[DESCRIBED]
    assert shown["execution"]["status"] == "QUEUED"
    assert program.finish() == 1


def test_cancel(program: Program, job_id: str) -> None:
    """Without force an execution in progress is left alone."""
    ask(program, f"update-job-execution {job_id} IN_PROGRESS", UPDATED)
    ask(program, f"cancel-job {job_id}", "CancelJobOutput")
    assert ask(program, f"expect {job_id} IN_PROGRESS", SEEN)[SEEN]["status"] == "IN_PROGRESS"
    assert program.finish() == 0


def test_cancel_by_force(program: Program, job_id: str) -> None:
    """With force it is cancelled, and its device hears of it."""
    ask(program, f"update-job-execution {job_id} IN_PROGRESS", UPDATED)
    ask(program, f"cancel-job {job_id} force", "CancelJobOutput", CHANGED, NEXT)
    assert ask(program, f"expect {job_id} CANCELED", SEEN)[SEEN]["status"] == "CANCELED"
    assert program.finish() == 0


def test_after_the_end(program: Program, job_id: str) -> None:
    """An execution that has ended is not described to its device; the same update again tells its status."""
    ask(program, f"update-job-execution {job_id} REJECTED", UPDATED, CHANGED, NEXT)
    assert (
        ask(program, f"describe-job-execution {job_id}", REJECTED)[REJECTED]["code"]
        == "TerminalStateReached"
    )
    again = ask(program, f"update-job-execution {job_id} REJECTED", REJECTED)[REJECTED]
    assert (again["code"], again["executionState"]["status"]) == (
        "InvalidStateTransition",
        "REJECTED",
    )
    program.send(f"expect {job_id} SUCCEEDED")
    program.wait_stderr(f"the execution of {job_id} ended as REJECTED, not SUCCEEDED")
    assert program.finish() == 1
