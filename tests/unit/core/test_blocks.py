"""What is shown."""

from jobs_sandbox.core.blocks import CHANGED, NEXT_CHANGED, STREAM_TOPICS, Block


def test_block() -> None:
    """A block of our own making has neither bytes nor a note."""
    assert Block("T", {"a": 1}) == ("T", {"a": 1}, b"", "")


def test_streams() -> None:
    """Each stream has the topic that AWS documents for it (developer guide: jobs-comm-notifications)."""
    assert STREAM_TOPICS == {CHANGED: "notify", NEXT_CHANGED: "notify-next"}
    assert (CHANGED, NEXT_CHANGED) == ("JobExecutionsChangedEvent", "NextJobExecutionChangedEvent")
