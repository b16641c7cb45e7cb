"""What each argument may be, and what is offered for it."""

import pytest

from jobs_sandbox.commands.arguments import (
    ANY_STATUS,
    DESCRIBE,
    DEVICE_STATUSES,
    DOCUMENT,
    EVENTS,
    FORCE,
    JOB,
    JOB_OR_NEXT,
    NEW_JOB,
    SECONDS_OR_EVENT,
    START,
    STATUS,
    TIMEOUT,
    UPDATE,
    Parameter,
)
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.jobs import STATUSES
from jobs_sandbox.session.executions import Executions

SECONDS = "a number of seconds from 0 to 99999.999"
NEXT = "NextJobExecutionChangedEvent"
NOT_AN_ID = " is not a job id: 1 to 64 letters, digits, - and _."
ONE_OF = "one of SUCCEEDED, IN_PROGRESS, FAILED, REJECTED, CANCELED"


@pytest.mark.parametrize(
    ("parameter", "typed", "value"),
    [
        (JOB, "a_B-9", "a_B-9"),
        (NEW_JOB, "x" * 64, "x" * 64),
        (JOB_OR_NEXT, "$next", "$next"),
        (JOB_OR_NEXT, "next", "next"),
        *(
            (STATUS, typed, typed.upper())
            for typed in ("SUCCEEDED", "in_progress", "Failed", "rejected", "canceled")
        ),
        *((ANY_STATUS, status.lower(), status) for status in STATUSES),
        (DOCUMENT, '{ "a": 1 } ', '{ "a": 1 } '),
        (UPDATE, '{"expectedVersion": 1}', {"expectedVersion": 1}),
        (START, '{"stepTimeoutInMinutes": 1}', {"stepTimeoutInMinutes": 1}),
        (DESCRIBE, '{"includeJobDocument": false}', {"includeJobDocument": False}),
        (FORCE, "FORCE", "force"),
        (SECONDS_OR_EVENT, "3", 3.0),
        (SECONDS_OR_EVENT, "0.25", 0.25),
        (SECONDS_OR_EVENT, "99999.999", 99999.999),
        (SECONDS_OR_EVENT, "JobExecutionsChangedEvent", "JobExecutionsChangedEvent"),
        (SECONDS_OR_EVENT, "nextjobexecutionchanged", NEXT),
        (TIMEOUT, "10", 10.0),
    ],
)
def test_values(parameter: Parameter, typed: str, value: object) -> None:
    """A right argument becomes what the handler wants."""
    assert parameter.check(typed) == value


@pytest.mark.parametrize(
    ("parameter", "typed", "what"),
    [
        (JOB, "$next", "'$next'" + NOT_AN_ID),
        (NEW_JOB, "$next", "'$next'" + NOT_AN_ID),
        (JOB_OR_NEXT, "$NEXT", "'$NEXT'" + NOT_AN_ID),
        (JOB, "Job1\u200b", "'Job1\\u200b'" + NOT_AN_ID),
        (STATUS, "SUCCESS", f"'SUCCESS' is not a status to set: {ONE_OF}; did you mean SUCCEEDED?"),
        (STATUS, "fail", f"'fail' is not a status to set: {ONE_OF}; did you mean FAILED?"),
        (STATUS, "QUEUED", f"'QUEUED' is not a status to set: {ONE_OF}"),
        (
            STATUS,
            "FAILED\u200b",
            f"'FAILED\\u200b' is not a status to set: {ONE_OF}; did you mean FAILED?",
        ),
        (STATUS, "9", f"'9' is not a status to set: {ONE_OF}"),
        (ANY_STATUS, "DONE", f"'DONE' is not a status: one of {', '.join(STATUSES)}"),
        (FORCE, "now", "'now' is not force, and nothing else may follow."),
        (SECONDS_OR_EVENT, "-1", f"'-1' is neither {SECONDS} nor an event: {', '.join(EVENTS)}"),
        (SECONDS_OR_EVENT, "inf", f"'inf' is neither {SECONDS} nor an event: {', '.join(EVENTS)}"),
        (SECONDS_OR_EVENT, "1e3", f"'1e3' is neither {SECONDS} nor an event: {', '.join(EVENTS)}"),
        (
            SECONDS_OR_EVENT,
            "100000",
            f"'100000' is neither {SECONDS} nor an event: {', '.join(EVENTS)}",
        ),
        (
            SECONDS_OR_EVENT,
            "NextJobExecutionsChanged",
            f"'NextJobExecutionsChanged' is neither {SECONDS} nor an event: {', '.join(EVENTS)}; did you mean {NEXT}?",
        ),
        (TIMEOUT, "soon", "'soon' is not a number of seconds from 0 to 99999.999."),
        (TIMEOUT, "1.2345", "'1.2345' is not a number of seconds from 0 to 99999.999."),
        (TIMEOUT, "٣", "'٣' is not a number of seconds from 0 to 99999.999."),
        (DESCRIBE, "{}{}", "the optional fields are not JSON: Extra data\n  {}{}\n    ^"),
    ],
)
def test_mistakes(parameter: Parameter, typed: str, what: str) -> None:
    """A wrong argument gets one clear message, which names the nearest right word and shows what cannot be seen."""
    with pytest.raises(UsageError) as caught:
        parameter.check(typed)
    assert caught.value.message == what


@pytest.mark.parametrize("parameter", [JOB, NEW_JOB, JOB_OR_NEXT])
@pytest.mark.parametrize(
    "job_id",
    ["a/b", "+", "#", "a.b", "é", "x" * 65, "a\x00", "\x1b[31m", "$NEXT", "$next/", "../x", ""],
)
def test_illegal_job_ids(parameter: Parameter, job_id: str) -> None:
    """What is not a job id never gets to a topic."""
    with pytest.raises(UsageError, match="is not a job id: 1 to 64 letters, digits, - and _"):
        parameter.check(job_id)


def test_candidates() -> None:
    """What can be known beforehand is offered, each with its meaning."""
    executions = Executions()
    executions.learn(Block("CreateJobOutput", {"jobId": "Job1"}))
    parameters = (
        NEW_JOB,
        JOB,
        JOB_OR_NEXT,
        STATUS,
        ANY_STATUS,
        DOCUMENT,
        FORCE,
        SECONDS_OR_EVENT,
        TIMEOUT,
    )
    offered = [dict(parameter.candidates(executions.job_ids())) for parameter in parameters]
    assert [list(found) for found in offered] == [
        [],
        ["Job1"],
        ["Job1", "$next"],
        list(DEVICE_STATUSES),
        list(STATUSES),
        ["file://"],
        ["force"],
        list(EVENTS),
        [],
    ]
    assert all(all(found.values()) for found in offered)
    assert offered[1] == {"Job1": "not known"}
    assert "refuses it from a device" in offered[3]["CANCELED"]
    assert "refuses" not in offered[4]["CANCELED"]
