"""What is shown: blocks, and the titles that the program itself gives. Pure."""

from typing import Any, NamedTuple

CHANGED = "JobExecutionsChangedEvent"
NEXT_CHANGED = "NextJobExecutionChangedEvent"
REJECTED = "Service Request Rejected"
MISSED = "MissedChanges"
STREAM_TOPICS = {CHANGED: "notify", NEXT_CHANGED: "notify-next"}
"""The streams' events, and where below ``$aws/things/<thing>/jobs/`` they are published."""


class Block(NamedTuple):
    """What a service said: an answer or an event.

    Attributes:
        title: the name of its shape, as its header shows it.
        body: its JSON, in the service's own field names; None when it cannot be understood.
        payload: its bytes as they came over MQTT, shown when the body is None or cannot be laid out.
        note: a line about it for the user, or ``""``.

    """

    title: str
    body: dict[str, Any] | None
    payload: bytes = b""
    note: str = ""
