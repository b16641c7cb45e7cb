"""Errors say what happened, the likely cause, and what to do next."""

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
    """A rejection has the service's code and message."""
    assert Rejected(body, b"x").message == f"the service rejected the request: {message}"


@pytest.mark.parametrize(
    "code", ["ResourceNotFound", "InvalidStateTransition", "VersionMismatch", "RequestThrottled"]
)
def test_next_step_after_a_rejection(code: str) -> None:
    """A rejection that devices often meet comes with a next step."""
    assert Rejected({"code": code}, b"").next_step


def test_replace() -> None:
    """A changed copy keeps everything else, and the original stays as it is."""
    error = RequestFailed("what", uncertain=True)
    changed = error.replace(message="other")
    assert (str(changed), changed.message, changed.uncertain) == ("other", "other", True)
    assert str(error) == "what"
