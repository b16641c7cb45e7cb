"""What the planes give back: an answer, or the promise of one. Knows no SDK."""

from concurrent.futures import Future
from typing import Any, NamedTuple

from jobs_sandbox.errors import RequestFailed

CHANGED = "JobExecutionsChangedEvent"
NEXT_CHANGED = "NextJobExecutionChangedEvent"
REJECTED = "Service Request Rejected"
STREAM_TOPICS = {CHANGED: "notify", NEXT_CHANGED: "notify-next"}
"""The streams' events, and where below ``$aws/things/<thing>/jobs/`` they are published."""


class Block(NamedTuple):
    """What a service said.

    Attributes:
        title: the name of its shape, as the header shows it.
        body: its JSON, in the service's own field names; None when it cannot be understood.
        payload: its bytes as they came over MQTT, shown when the body is None or cannot be laid out.
        note: a line about it for the user, or ``""``.

    """

    title: str
    body: dict[str, Any] | None
    payload: bytes = b""
    note: str = ""


class Pending(Future[Block]):
    """A request on its way: a future that ends in an `Block` or a `SandboxError`.

    Attributes:
        label: the command that made it, to name its answer when that comes late; ``""`` for one nobody typed.
        look: how to see whether it was carried out, for a command that changes something.
        update: job id and status, for an update.

    """

    label = ""
    check_with = ""
    update: tuple[str, ...] = ()

    def unanswered(self, seconds: float) -> RequestFailed:
        """The failure of a request that had no answer within ``seconds``."""
        return RequestFailed(f"no answer within {seconds:g} s", uncertain=True)
