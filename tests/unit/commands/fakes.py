"""A session for commands, typed against their Protocol."""

from collections.abc import Sequence
from typing import Any

from jobs_sandbox.commands.command import Call
from jobs_sandbox.core.blocks import DIAGNOSIS, JOB_EXECUTION, Block
from jobs_sandbox.core.protocols import End, Service, Switch
from tests.unit.fakes import SETTINGS, Calls, FakeControl, FakeData


class FakeDevice:
    """A device under test; ``calls`` keeps what was done to it."""

    has_ended = False
    absence = ""
    ends: Sequence[End] = ()
    switches: Sequence[Switch] = ()

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def start(self) -> None:
        self.calls.append("start")

    async def stop(self) -> None:
        self.calls.append("stop")


class FakeSession:
    """What a command works with.

    Attributes:
        shown: the answers to commands.
        faults: what commands did to the device.
        waits: what commands waited for.

    """

    def __init__(self) -> None:
        self.settings = SETTINGS
        self.control = FakeControl()
        self.data = FakeData()
        self.device = FakeDevice()
        self.service: Service | None = None
        self.shown: list[Block] = []
        self.waits: Calls = []
        self.faults: list[tuple[str, dict[str, Any]]] = []

    def show(self, block: Block, call: Call) -> None:
        self.shown.append(block)

    async def wait_for_event(self, title: str, seconds: float | None) -> None:
        self.waits.append((title, seconds))

    async def expect(self, job_id: str, status: str, seconds: float | None) -> Block:
        self.waits.append((job_id, status, seconds))
        return Block(JOB_EXECUTION, {"jobId": job_id})

    async def diagnose(self, job_id: str) -> Block:
        self.waits.append((job_id,))
        return Block(DIAGNOSIS, {"jobId": job_id})

    async def fault(self, kind: str, **details: Any) -> None:
        self.faults.append((kind, details))

    async def device_activity(self) -> dict[str, Any]:
        return {"connects": 1}

    async def expect_device(
        self, fact: str, bound: str, number: int, seconds: float | None
    ) -> None:
        self.waits.append((fact, bound, number, seconds))
