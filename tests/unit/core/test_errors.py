"""Errors say what happened, why, and what to do."""

import pytest

from jobs_sandbox.core.errors import Rejected, RequestFailed


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"code": "InvalidTopic", "message": "no"}, "InvalidTopic: no"),
        (None, "the answer cannot be parsed"),
    ],
)
def test_rejected(body: dict[str, object] | None, message: str) -> None:
    """A rejection is told with the service's code and message."""
    assert Rejected(body, b"x").message == f"the service rejected the request: {message}"


def test_replace() -> None:
    """A changed copy keeps everything else, and leaves the original as it is."""
    error = RequestFailed("what", uncertain=True)
    error.__cause__ = ValueError("why")
    changed = error.replace(message="other")
    assert (str(changed), changed.uncertain, changed.__cause__) == ("other", True, error.__cause__)
    assert str(error) == "what"


@pytest.mark.parametrize(
    ("code", "step"),
    [
        ("ResourceNotFound", "get-pending-job-executions"),
        ("TerminalStateReached", "`expect <jobId> SUCCEEDED`"),
        ("InvalidStateTransition", "cannot change"),
        ("VersionMismatch", "without expectedVersion"),
        ("RequestThrottled", "try again"),
    ],
)
def test_after_a_rejection(code: str, step: str) -> None:
    """A rejection that devices often meet comes with a next step."""
    assert step in Rejected({"code": code}, b"").next_step
