"""What the commands and the session need of everything else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import RequestFailed, SandboxError

Show = Callable[[Block], None]
"""Shows the answer to a request; called on the loop, in the callback in which it arrived.

So blocks are shown in the order of arrival: a task that awaits the request wakes later.
"""


class ControlPlane(Protocol):
    """What a fleet operator does. Each call blocks and may raise `RequestFailed`."""

    def ensure_thing(self) -> bool:
        """DescribeThing, and CreateThing if there is no such thing; True if it was created."""

    def create_job(self, job_id: str, document: str, **fields: Any) -> Block:
        """CreateJob."""

    def delete_job(self, job_id: str) -> Block:
        """DeleteJob."""

    def cancel_job(self, job_id: str, *, force: bool) -> Block:
        """CancelJob."""

    def describe_job_execution(self, job_id: str) -> Block:
        """DescribeJobExecution: the ``execution`` of the answer.

        Raises `NotFound` while there is no such job, or no execution of it for this thing.
        """

    def describe_job(self, job_id: str) -> dict[str, Any]:
        """DescribeJob: the ``job`` of the answer; raises `NotFound` if there is no such job."""

    def list_job_executions(self, status: str) -> list[dict[str, Any]]:
        """ListJobExecutionsForThing: ``jobId`` and the ``jobExecutionSummary`` of each as one."""

    def thing_connectivity(self) -> dict[str, Any]:
        """GetThingConnectivityData: ``connected``, ``timestamp`` in seconds, and the reason."""

    def no_answer(self, seconds: float) -> RequestFailed:
        """The error of a call that has not returned after so many seconds."""


class DataPlane(Protocol):
    """What a device does, over MQTT.

    Each call sends one request and waits for its answer; the caller bounds the wait. ``show`` is
    called once with the block of the answer, a response or a rejection, before the call returns or
    raises `Rejected`. ``fields`` are optional request fields, in AWS's names. A call may raise
    `RequestFailed`.
    """

    async def get_pending_job_executions(self, show: Show) -> Block:
        """GetPendingJobExecutions."""

    async def start_next_pending_job_execution(
        self, show: Show, fields: Mapping[str, Any]
    ) -> Block:
        """StartNextPendingJobExecution."""

    async def describe_job_execution(
        self, show: Show, job_id: str, fields: Mapping[str, Any]
    ) -> Block:
        """DescribeJobExecution."""

    async def update_job_execution(
        self, show: Show, job_id: str, status: str, fields: Mapping[str, Any]
    ) -> Block:
        """UpdateJobExecution."""

    def no_answer(self, title: str, seconds: float) -> RequestFailed:
        """The error of a request, by the title of its response, without an answer."""


class End(NamedTuple):
    """The end of the device, when it was not stopped: ``how`` is for example ``exit status 3``.

    ``time`` is in seconds since 1970.
    """

    time: float
    how: str


class Switch(NamedTuple):
    """A ``start`` of the device, or a ``stop`` that killed it; ``time`` as of `End`."""

    time: float
    what: str


class Device(Protocol):
    """The process of the device under test."""

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself, and has not been started again."""

    @property
    def ends(self) -> Sequence[End]:
        """Each time it has ended by itself, in order of time."""

    @property
    def absence(self) -> str:
        """How it has ended, or that it was stopped; ``""`` while it runs."""

    @property
    def switches(self) -> Sequence[Switch]:
        """Each time it was started or stopped, in order of time."""

    async def start(self) -> None:
        """Start it; raises `SandboxError` if it cannot be started or is running."""

    async def stop(self) -> None:
        """Kill it, as a power cut would; raises `SandboxError` if it is not running."""


class Service(Protocol):
    """The embedded AWS IoT of ``--local``, as far as it concerns the device under test.

    The device is whoever connects with the certificate ``Settings.device_cert``. Each call blocks
    for up to some seconds, and raises `SandboxError` if the service does not answer.
    """

    def fault(
        self,
        kind: str,
        *,
        detail: str = "",
        seconds: float = 0,
        times: int | None = 1,
        code: str = "",
        reason: int | None = None,
    ) -> None:
        """Cause a fault on the wire of the device; see `jobs_sandbox.local.service.LocalIoT`."""

    def activity(self) -> dict[str, Any]:
        """What the service has seen of the device.

        Returns:
            ``clients``: a list with an object for each client id that the device has used:
            ``client_id``, ``connected``, ``since`` (seconds since 1970; None if it never
            connected), ``subscriptions`` and the number of ``unacknowledged`` messages. ``log``:
            what happened, in order of time; `jobs_sandbox.local.child.activity` lists its entries.
            ``wildcards``: those in the policy of the device that stand for everything.

        """


class Listener(Protocol):
    """Receives what the data plane sees, on the event loop; no method blocks or raises."""

    def event(self, block: Block) -> None:
        """An event of a stream."""

    def caught_up(self, pending: Block) -> None:
        """After a reconnect without the old session: the GetPendingJobExecutionsResponse."""

    def connection(self, state: str, message: str) -> None:
        """The connection is now ``connected``, ``reconnecting`` or ``stopped``, and why."""

    def warning(self, message: str) -> None:
        """Something else that the user should know."""


class Output(Protocol):
    """Where blocks and messages go; no method blocks."""

    def response(self, block: Block) -> None:
        """Show the answer to a request."""

    def rejected(self, block: Block) -> None:
        """Show that the service rejected a request."""

    def event(self, block: Block) -> None:
        """Show an event."""

    def error(self, error: SandboxError) -> None:
        """Report a failure."""

    def warning(self, message: str) -> None:
        """Report something that the user should know."""

    def notice(self, message: str) -> None:
        """Report what the program does."""
