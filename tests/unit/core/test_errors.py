"""Errors keep what they are made of."""

import pytest

from jobs_sandbox.core.errors import (
    AlreadyExists,
    NotFound,
    Rejected,
    RequestFailed,
    SandboxError,
    StartError,
    UsageError,
)


@pytest.mark.parametrize("kind", [SandboxError, StartError, UsageError, RequestFailed, NotFound, AlreadyExists])
def test_parts(kind: type[SandboxError]) -> None:
    """An error says what happened, why, and what to do; as text it is what happened."""
    error = kind("what", cause="cause", next_step="todo")
    assert (str(error), error.message, error.cause, error.next_step) == ("what", "what", "cause", "todo")
    assert isinstance(error, SandboxError)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"code": "InvalidTopic", "message": "no"}, "InvalidTopic: no"),
        ({}, "None: None"),
        (None, "it cannot be read"),
    ],
)
def test_rejected(body: dict[str, object] | None, what: str) -> None:
    """A rejection is the service's code and message."""
    error = Rejected(body, b"x")
    assert error.message == f"the service rejected the request: {what}"
    assert (error.body, error.payload) == (body, b"x")
    assert error.next_step == ""


def test_replace() -> None:
    """A changed copy says what is new, keeps the rest with what caused it, and leaves the error as it is."""
    error = RequestFailed("what", uncertain=True)
    error.__cause__ = ValueError("why")
    changed = error.replace(message="other")
    assert (str(changed), changed.uncertain, changed.__cause__) == ("other", True, error.__cause__)
    assert (str(error), error.message) == ("what", "what")


@pytest.mark.parametrize(
    ("code", "step"),
    [
        ("ResourceNotFound", "get-pending-job-executions"),
        ("TerminalStateReached", "`expect <jobId> SUCCEEDED`"),
        ("InvalidStateTransition", "stays so"),
        ("VersionMismatch", "without expectedVersion"),
        ("RequestThrottled", "try again"),
    ],
)
def test_after_a_rejection(code: str, step: str) -> None:
    """What a device meets often comes with what to do next."""
    assert step in Rejected({"code": code, "message": "no"}, b"x").next_step
