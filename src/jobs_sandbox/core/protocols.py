"""What the commands and the session need of the outside: both planes, as Protocols. Knows no SDK."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from jobs_sandbox.core.blocks import Block

Deliver = Callable[[Block], None]
"""Takes the block of an answer, on the event loop, in the very callback in which the answer arrived.

So blocks are shown in the order of their arrival: whoever awaits the request wakes up later.
"""


class ControlPlane(Protocol):
    """What a fleet operator does; each call blocks, and may raise `RequestFailed`."""

    def ensure_thing(self) -> bool:
        """DescribeThing, and CreateThing if there is none; True if it had to be created."""

    def create_job(self, job_id: str, document: str) -> Block:
        """CreateJob."""

    def delete_job(self, job_id: str) -> Block:
        """DeleteJob."""

    def cancel_job(self, job_id: str, *, force: bool) -> Block:
        """CancelJob."""

    def describe_job_execution(self, job_id: str) -> Block:
        """DescribeJobExecution: the ``execution`` of the answer, as the control plane sees this thing's execution.

        Raises `NotFound` while there is no such job, or no execution of it for this thing.
        """


class DataPlane(Protocol):
    """What a device does, over MQTT.

    Each call sends one request and waits for its answer. ``deliver`` is called once with the answer's block, be it the
    response or the rejection, in the callback that matched it: before the call returns or raises `Rejected`, or, when
    the call has failed with an ``uncertain`` `RequestFailed` for want of an answer, whenever the answer comes after
    all. ``fields`` are optional request fields, in AWS's own names.
    """

    async def get_pending_job_executions(self, deliver: Deliver) -> Block:
        """GetPendingJobExecutions."""

    async def start_next_pending_job_execution(self, deliver: Deliver, fields: Mapping[str, Any]) -> Block:
        """StartNextPendingJobExecution."""

    async def describe_job_execution(self, deliver: Deliver, job_id: str, fields: Mapping[str, Any]) -> Block:
        """DescribeJobExecution."""

    async def update_job_execution(
        self, deliver: Deliver, job_id: str, status: str, fields: Mapping[str, Any]
    ) -> Block:
        """UpdateJobExecution."""


class Device(Protocol):
    """The process of the device under test."""

    async def start(self) -> None:
        """Start it; raises `RequestFailed` if it cannot be started or runs already."""

    async def stop(self) -> None:
        """Kill it, as a power cut would."""


class Listener(Protocol):
    """Receives what the data plane sees, on the event loop; no method blocks or raises."""

    def event(self, block: Block) -> None:
        """A stream's event, or a message that could not be matched to a request, with a note."""

    def caught_up(self, pending: Block) -> None:
        """What is pending now that the connection is back: a GetPendingJobExecutionsResponse."""

    def connection(self, state: str, message: str) -> None:
        """The connection is now ``connected``, ``reconnecting`` or ``stopped``; the message, if any, says why."""

    def warning(self, message: str) -> None:
        """Something else that the user should know."""
