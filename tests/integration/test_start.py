"""The program starts: against an endpoint, and with one of its own."""

from tests.support.account import Account
from tests.support.program import Program
from tests.support.terminal import Terminal


def test_against_an_endpoint(account: Account) -> None:
    """It creates the thing, connects, and answers the first command."""
    device = account.device()
    with Program(account.arguments(device), account.operator(device.thing)) as program:
        program.started().send("get-pending-job-executions")
        body = program.take("GetPendingJobExecutionsResponse")["GetPendingJobExecutionsResponse"]
        assert body["queuedJobs"] == body["inProgressJobs"] == []
        assert f"created the thing {device.thing}" in program.stderr
        assert program.finish() == 0


def test_at_a_terminal() -> None:
    """``--local`` brings a prompt that answers."""
    with Terminal(["--local"]) as terminal:
        terminal.wait_prompt()
        terminal.send("get-pending-job-executions\r")
        terminal.wait_text('"queuedJobs" : []')
        terminal.wait_prompt()
        terminal.send("\x04")
        assert terminal.finish() == 0
