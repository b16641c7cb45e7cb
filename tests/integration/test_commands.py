"""The commands that the walkthrough does not show, and the fields of requests, on --local."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.aws.account import Account
from tests.support.drivers.program import Program

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
    """Status details and the expected version count; the response has what was asked for."""
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
    """An execution starts with status details and a timer; its document can be left out."""
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
    """What AWS IoT would refuse is refused before anything is sent."""
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
    """With force it is canceled, and its device gets the events."""
    ask(program, f"update-job-execution {job_id} IN_PROGRESS", UPDATED)
    ask(program, f"cancel-job {job_id} force", "CancelJobOutput", CHANGED, NEXT)
    assert ask(program, f"expect {job_id} CANCELED", SEEN)[SEEN]["status"] == "CANCELED"
    assert program.finish() == 0


def test_refusals(program: Program, job_id: str) -> None:
    """The service's reasons are printed, and the next command runs."""
    program.send(f"delete-job {job_id}")
    program.wait_stderr("InvalidStateTransitionException: ")
    rejected = ask(program, f"update-job-execution {job_id} CANCELED", REJECTED)[REJECTED]
    assert rejected["code"] == "InvalidStateTransition"
    rejected = ask(program, f"update-job-execution {job_id}x FAILED", REJECTED)[REJECTED]
    assert rejected["code"] == "ResourceNotFound"
    program.wait_stderr("line 4: the service rejected the request: ResourceNotFound: ")
    shown = ask(program, "describe-job-execution $next", DESCRIBED)[DESCRIBED]
    assert shown["execution"]["jobDocument"] == {"id": job_id}
    assert program.finish() == 1


def test_after_the_end(program: Program, job_id: str) -> None:
    """A device cannot describe an execution that has ended; a second update shows its status."""
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
