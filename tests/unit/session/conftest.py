"""An output that keeps what it is given, and a session that uses it."""

import pytest

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import SandboxError
from tests.unit.fakes import FakeRun


class FakeOutput:
    """Keeps the blocks that were shown and the messages that were reported, with their kinds."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, Block]] = []
        self.reported: list[tuple[str, str]] = []

    def response(self, block: Block) -> None:
        self.shown.append(("response", block))

    def rejected(self, block: Block) -> None:
        self.shown.append(("rejected", block))

    def event(self, block: Block) -> None:
        self.shown.append(("event", block))

    def error(self, error: SandboxError) -> None:
        self.reported.append(("error", f"{error.message}; {error.next_step}"))

    def warning(self, message: str) -> None:
        self.reported.append(("warning", message))

    def notice(self, message: str) -> None:
        self.reported.append(("notice", message))


@pytest.fixture
def output() -> FakeOutput:
    """Where the session shows."""
    return FakeOutput()


@pytest.fixture
async def run(output: FakeOutput) -> FakeRun:
    """A session that waits longer than any test."""
    return FakeRun(output, timeout=600)
