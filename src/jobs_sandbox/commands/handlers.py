"""What each command does with the planes. Knows them as Protocols only, and nothing of lines or tables."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import Quit, UsageError
from jobs_sandbox.core.protocols import ControlPlane, DataPlane


class Sandbox(Protocol):
    """What the handler of a command works with."""

    @property
    def data(self) -> DataPlane:
        """The data plane."""

    def show(self, block: Block) -> None:
        """Take the answer to the command; to be called in the very callback in which it arrives."""

    async def operate(self, work: Callable[[ControlPlane], Block]) -> Block:
        """Run ``work`` with the control plane, in a thread, and show the block that it returns."""

    async def wait(self, seconds: float | None, event: str | None) -> None:
        """Wait for an event, or just so long."""

    async def expect(self, job_id: str, status: str, seconds: float | None) -> None:
        """Wait until this thing's execution of a job has that status, and show it."""

    def show_help(self, name: str) -> None:
        """Show what there is to know of one command, or of all."""

    def show_connection(self) -> None:
        """Show what a second client needs to connect."""

    async def start_device(self) -> None:
        """Start the device under test again."""

    async def stop_device(self) -> None:
        """Kill the device under test, as a power cut would."""


async def create_job(sandbox: Sandbox, job_id: str, document: str) -> None:
    """CreateJob."""
    await sandbox.operate(lambda control: control.create_job(job_id, document))


async def delete_job(sandbox: Sandbox, job_id: str) -> None:
    """DeleteJob."""
    await sandbox.operate(lambda control: control.delete_job(job_id))


async def cancel_job(sandbox: Sandbox, job_id: str, force: str = "") -> None:
    """CancelJob."""
    await sandbox.operate(lambda control: control.cancel_job(job_id, force=bool(force)))


async def expect(sandbox: Sandbox, job_id: str, status: str, seconds: float | None = None) -> None:
    """DescribeJobExecution of the control plane, until it shows that status."""
    await sandbox.expect(job_id, status, seconds)


async def get_pending(sandbox: Sandbox) -> None:
    """GetPendingJobExecutions."""
    await sandbox.data.get_pending_job_executions(sandbox.show)


async def start_next(sandbox: Sandbox, fields: Mapping[str, Any] = {}) -> None:
    """StartNextPendingJobExecution."""
    await sandbox.data.start_next_pending_job_execution(sandbox.show, fields)


async def describe(sandbox: Sandbox, job_id: str, fields: Mapping[str, Any] = {}) -> None:
    """DescribeJobExecution."""
    await sandbox.data.describe_job_execution(sandbox.show, job_id, fields)


async def update(
    sandbox: Sandbox, job_id: str, status: str, fields: Mapping[str, Any] = {}
) -> None:
    """UpdateJobExecution."""
    await sandbox.data.update_job_execution(sandbox.show, job_id, status, fields)


async def wait(sandbox: Sandbox, what: float | str, seconds: float | None = None) -> None:
    """Wait for an event, or so many seconds."""
    if isinstance(what, str):
        await sandbox.wait(seconds, what)
    elif seconds is None:
        await sandbox.wait(what, None)
    else:
        raise UsageError("a timeout goes with an event.", next_step="`help wait` explains it.")


async def connection(sandbox: Sandbox) -> None:
    """Show what a second client needs."""
    sandbox.show_connection()


async def stop_device(sandbox: Sandbox) -> None:
    """Kill the device under test."""
    await sandbox.stop_device()


async def start_device(sandbox: Sandbox) -> None:
    """Start the device under test again."""
    await sandbox.start_device()


async def show_help(sandbox: Sandbox, name: str = "") -> None:
    """Show the help."""
    sandbox.show_help(name)


async def leave(_: Sandbox) -> None:
    """Leave the program."""
    raise Quit
