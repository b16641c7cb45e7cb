"""What the questions of the README claim, the whole walkthrough as JSON, and the life and death of ``--local``."""

import json
import os
import re
import shlex
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.account import Account
from tests.support.program import Program, run
from tests.support.readme import steps
from tests.support.terminal import Terminal

REJECTED = "Service Request Rejected"
CHANGED, NEXT = "JobExecutionsChangedEvent", "NextJobExecutionChangedEvent"
GONE_WITHIN = 10.0  # seconds; what stays would stay for ever


@contextmanager
def connected(account: Account) -> Iterator[Program]:
    """The program as a device of its own, connected; it must succeed unless it is told to fail."""
    device = account.device()
    with Program(account.arguments(device), account.operator(device.thing)) as program:
        yield program.started()


def ask(program: Program, line: str, *titles: str) -> dict[str, Any]:
    """Run a line, and take the blocks that it brings."""
    program.send(line)
    return program.take(*titles)


def create(program: Program, job_id: str, *events: str) -> None:
    ask(program, f'create-job {job_id} {{"id":"{job_id}"}}', "CreateJobOutput", *events)


@pytest.fixture
def job_ids() -> Iterator[str]:
    """Job ids that nobody else uses: they are one account's, not one thing's."""
    return (f"Walk-{os.urandom(4).hex()}" for _ in range(9))


def test_start_next_with_nothing_queued(account: Account) -> None:
    """With nothing to do the response has no execution."""
    with connected(account) as program:
        body = ask(program, "start-next-pending-job-execution", "StartNextJobExecutionResponse")
        assert set(body["StartNextJobExecutionResponse"]) == {"clientToken", "timestamp"}
        assert program.finish() == 0


def test_start_next_twice(account: Account, job_ids: Iterator[str]) -> None:
    """Starting the next execution again returns the one in progress, though another is queued."""
    first, second = next(job_ids), next(job_ids)
    with connected(account) as program:
        create(program, first, CHANGED, NEXT)
        create(program, second, CHANGED)
        bodies = [
            ask(program, "start-next-pending-job-execution", "StartNextJobExecutionResponse")
            for _ in range(2)
        ]
        one, other = (body["StartNextJobExecutionResponse"]["execution"] for body in bodies)
        assert one == other
        assert one["jobId"] == first
        assert one["jobDocument"] == {"id": first}
        assert program.finish() == 0


def test_two_in_progress(account: Account, job_ids: Iterator[str]) -> None:
    """Two executions are in progress at once after an update of each."""
    ids = [next(job_ids), next(job_ids)]
    with connected(account) as program:
        create(program, ids[0], CHANGED, NEXT)
        create(program, ids[1], CHANGED)
        for job_id in ids:
            ask(program, f"update-job-execution {job_id} in_progress", "UpdateJobExecutionResult")
        body = ask(program, "get-pending-job-executions", "GetPendingJobExecutionsResponse")
        pending = body["GetPendingJobExecutionsResponse"]
        assert [job["jobId"] for job in pending["inProgressJobs"]] == ids
        assert pending["queuedJobs"] == []
        assert program.finish() == 0


def test_delete_of_a_job_that_is_not_terminal(account: Account, job_ids: Iterator[str]) -> None:
    """The service refuses it, its code and message are shown, the job stays, and the prompt goes on."""
    job_id = next(job_ids)
    with connected(account) as program:
        create(program, job_id, CHANGED, NEXT)
        program.send(f"delete-job {job_id}")
        program.wait_stderr("InvalidStateTransitionException: ")
        program.wait_stderr("cannot be deleted without force")
        body = ask(program, f"describe-job-execution {job_id}", "DescribeJobExecutionResponse")
        assert body["DescribeJobExecutionResponse"]["execution"]["status"] == "QUEUED"
        assert program.finish() == 1


def test_rejected_update(account: Account, job_ids: Iterator[str]) -> None:
    """A rejected update prints the service's code and message as a block, and the prompt goes on."""
    job_id = next(job_ids)
    with connected(account) as program:
        rejected = ask(program, f"update-job-execution {job_id} FAILED", REJECTED)[REJECTED]
        assert rejected["code"] == "ResourceNotFound"
        assert job_id in rejected["message"]
        program.wait_stderr("line 1: the service rejected the request: ResourceNotFound: ")
        ask(program, "get-pending-job-executions", "GetPendingJobExecutionsResponse")
        assert program.finish() == 1


def test_cancel_from_a_device(account: Account, job_ids: Iterator[str]) -> None:
    """CANCELED is sent, and refused by the service in its own words."""
    job_id = next(job_ids)
    with connected(account) as program:
        create(program, job_id, CHANGED, NEXT)
        rejected = ask(program, f"update-job-execution {job_id} CANCELED", REJECTED)[REJECTED]
        assert rejected["code"] == "InvalidStateTransition"
        assert "CANCELED" in rejected["message"]
        assert program.finish() == 1


def test_describe_next(account: Account, job_ids: Iterator[str]) -> None:
    """``describe-job-execution $next`` shows the head of the queue, with its document."""
    job_id = next(job_ids)
    with connected(account) as program:
        create(program, job_id, CHANGED, NEXT)
        body = ask(program, "describe-job-execution $next", "DescribeJobExecutionResponse")
        execution = body["DescribeJobExecutionResponse"]["execution"]
        assert (execution["jobId"], execution["jobDocument"]) == (job_id, {"id": job_id})
        assert program.finish() == 0


def test_walkthrough_as_json() -> None:
    """With ``--output json`` each line of stdout is an object with type and body, the same as the README's blocks."""
    walkthrough = steps("Walkthrough")
    script = [line for step in walkthrough for line in step.lines]
    creates = [number for number, line in enumerate(script, 1) if line.startswith("create-job")]
    for number in reversed(creates):  # the executions are there a moment after the answer
        script.insert(number, "wait JobExecutionsChangedEvent")
    script += ["wait 0.3", "nonsense", "update-job-execution Nope FAILED"]
    done = run(["--local", "--output", "json"], "".join(f"{line}\n" for line in script))
    assert done.returncode == 1  # nonsense

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(line) == {"type", "body"} and isinstance(line["body"], dict) for line in lines)
    shown = [(title, body) for step in walkthrough for title, body in step.blocks or ()]
    assert sorted(line["type"] for line in lines) == sorted(
        [*(title for title, _ in shown), REJECTED]
    )
    readme_fields = sorted(_fields(title, body) for title, body in shown)
    assert (
        sorted(_fields(line["type"], json.dumps(line["body"])) for line in lines[:-1])
        == readme_fields
    )

    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["type"] for line in told} == {"Notice", "Error"}
    errors = [line for line in told if line["type"] == "Error"]
    assert [error["line"] for error in errors] == [len(script) - 1, len(script)]
    assert errors[0]["command"] == "nonsense"


def _fields(title: str, body: str) -> list[str]:
    """The title of a block and the names in it, whichever way it is laid out."""
    return [title, *sorted(re.findall(r'"(\w+)" ?:', body) or re.findall(r"(?m)^(\w+):", body))]


# The life and death of --local


def quit_typed(terminal: Terminal) -> None:
    terminal.send("quit\r")


def control_d(terminal: Terminal) -> None:
    terminal.send("\x04")


def killed(number: signal.Signals) -> Callable[[Terminal], None]:
    def kill(terminal: Terminal) -> None:
        os.kill(terminal.child.pid, number)

    return kill


@pytest.mark.parametrize(
    ("end", "status"),
    [
        pytest.param(quit_typed, 0, id="quit"),
        pytest.param(control_d, 0, id="ctrl-d"),
        pytest.param(killed(signal.SIGTERM), 143, id="sigterm"),
        pytest.param(killed(signal.SIGKILL), -9, id="sigkill"),
    ],
)
def test_nothing_is_left_of_a_prompt(
    end: Callable[[Terminal], None], status: int, tmp_path: Path
) -> None:
    """However a prompt ends, its AWS IoT goes with it: no process, no open port, no file."""
    env = {"TMPDIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    with Terminal(["--local"], env, columns=200) as terminal:
        terminal.wait_prompt()
        child = embedded(terminal.child.pid)
        ports = listening(child)
        assert len(list(tmp_path.glob("jobs-sandbox-*"))) == 1
        end(terminal)
        assert terminal.finish() == status
        assert_gone(child, ports, tmp_path)


def end_of_input(program: Program) -> None:
    assert program.process.stdin is not None
    program.process.stdin.close()


@pytest.mark.parametrize(
    ("end", "status"),
    [
        pytest.param(end_of_input, 0, id="end-of-input"),
        pytest.param(lambda program: program.send("quit"), 0, id="quit"),
        pytest.param(lambda program: program.process.terminate(), 143, id="sigterm"),
        pytest.param(lambda program: program.process.kill(), -9, id="sigkill"),
    ],
)
def test_nothing_is_left_of_a_script(
    end: Callable[[Program], None], status: int, tmp_path: Path
) -> None:
    """However a script ends, its AWS IoT goes with it: no process, no open port, no file."""
    with Program(["--local"], {"TMPDIR": str(tmp_path)}) as program:
        program.started()
        child = embedded(program.process.pid)
        ports = listening(child)
        end(program)
        assert program.process.wait(15) == status
        assert_gone(child, ports, tmp_path)


def embedded(pid: int) -> psutil.Process:
    """The MiniStack child of the program."""
    (child,) = psutil.Process(pid).children(recursive=True)
    return child


def listening(child: psutil.Process) -> list[int]:
    """The ports on which the child listens, every one of them on loopback."""
    listeners = [
        item.laddr
        for item in child.net_connections(kind="inet")
        if item.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listeners} <= {"127.0.0.1", "::1"}
    ports = sorted({address.port for address in listeners})
    assert len(ports) == 2  # the control plane and MQTT
    return ports


def assert_gone(child: psutil.Process, ports: list[int], folder: Path) -> None:
    """The child ends in time, and with it go its ports and its folder."""

    def left() -> list[object]:
        # A child whose parent was killed is a zombie until init takes note of it.
        runs = [child] if child.is_running() and child.status() != psutil.STATUS_ZOMBIE else []
        return [*runs, *filter(_is_open, ports), *folder.glob("jobs-sandbox-*")]

    end = time.monotonic() + GONE_WITHIN
    while left():
        assert time.monotonic() < end, left()
        time.sleep(0.01)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_two_at_once() -> None:
    """Two ``--local`` at once have the same job each, and hear nothing of one another."""
    with ExitStack() as stack:
        programs = [stack.enter_context(Program(["--local"])) for _ in range(2)]
        for program in programs:
            program.started()
        ports = [listening(embedded(program.process.pid)) for program in programs]
        assert not set(ports[0]) & set(ports[1])
        for program in programs:
            program.send("create-job Job1 {}")
            program.take("CreateJobOutput", CHANGED, NEXT)
        programs[0].send("update-job-execution Job1 FAILED")
        programs[0].take("UpdateJobExecutionResult", CHANGED, NEXT)
        body = ask(programs[1], "get-pending-job-executions", "GetPendingJobExecutionsResponse")
        assert len(body["GetPendingJobExecutionsResponse"]["queuedJobs"]) == 1
        assert programs[0].finish() == 0
        ask(programs[1], "describe-job-execution Job1", "DescribeJobExecutionResponse")
        assert programs[1].finish() == 0


def test_the_invitation() -> None:
    """A second client, started with exactly what the first one prints, gets the same events."""
    with Program(["--local", "Shared-Thing"]) as first:
        first.started().send("connection")
        told = first.take("Connection")["Connection"]
        exports = re.search(r"^export (.+)$", told, re.MULTILINE)
        command = re.search(r"^\S+/jobs-sandbox (.+)$", told, re.MULTILINE)
        assert exports
        assert command
        env = dict(word.split("=", 1) for word in shlex.split(exports[1]))
        assert set(env) == {
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL",
        }
        with Program(shlex.split(command[1]), env) as second:
            second.started()
            assert "created the thing" not in second.stderr
            second.send('create-job Job1 {"made":"by the second"}')
            events = {**second.take("CreateJobOutput", CHANGED, NEXT)}
            del events["CreateJobOutput"]
            assert first.take(CHANGED, NEXT) == events
            assert second.finish() == 0
        assert first.finish() == 0


def test_the_invitation_as_json() -> None:
    """As JSON, the first line of stderr is one notice that holds all that a second client needs."""
    done = run(["--local", "--output", "json"])
    told = json.loads(done.stderr.splitlines()[0])
    assert told["type"] == "Notice"
    needed = {
        "endpoint",
        "port",
        "ca_file",
        "cert",
        "key",
        "region",
        "thing",
        "endpoint_url",
        "environment",
    }
    assert set(told) == needed | {"type", "client_id", "command"}
    assert told["thing"] == "SandboxThing"
