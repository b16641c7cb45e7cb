"""However and whenever the program ends: no traceback, no orphan, no file left, and the terminal sane."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.account import Account, Device
from tests.support.program import Program, environment, run
from tests.support.terminal import Terminal

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def gone(process: psutil.Process, patience: float = 15) -> bool:
    """Whether the process ends in time."""
    with suppress(psutil.NoSuchProcess):
        process.wait(patience)
    return not process.is_running()


def children(program: Program) -> list[psutil.Process]:
    return psutil.Process(program.process.pid).children(recursive=True)


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def _ask_in_vain(program: Program) -> None:
    program.started()
    children(program)[0].suspend()
    program.send("get-pending-job-executions")


PHASES: dict[str, Callable[[Program], object]] = {
    "starting MiniStack": lambda program: _until(lambda: children(program)),
    "connecting": lambda program: program.wait_stderr("join it from another terminal"),
    "waiting for a line": lambda program: program.started(),
    "waiting for an event": lambda program: program.started().send(
        "wait NextJobExecutionChangedEvent 60"
    ),
    "waiting for an answer": _ask_in_vain,
    "shutting down": lambda program: program.started().send("quit"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_signals_at_every_phase(phase: str, tmp_path: Path) -> None:
    """SIGINT, SIGTERM and SIGHUP end the program in time at every phase, and nothing is left of it."""

    def end(number: signal.Signals) -> str:
        folder = tmp_path / number.name
        folder.mkdir()
        with Program(["--local", "--timeout", "30"], {"TMPDIR": str(folder)}) as program:
            PHASES[phase](program)
            service = children(program)
            os.kill(program.process.pid, number)
            status = program.process.wait(10)
            # Before Python runs our first line, and after the last, a signal has its default action.
            assert status in (128 + number, -number) or (phase == "shutting down" and status == 0)
            for process in service:
                with suppress(psutil.NoSuchProcess):
                    process.resume()
            assert all(gone(process) for process in service)
            _until(lambda: not list(folder.iterdir()))
            return program.stderr

    with ThreadPoolExecutor(3) as pool:
        said = list(pool.map(end, SIGNALS))
    assert not [text for text in said if "Traceback" in text]


def test_fifty_starts_and_stops(account: Account, tmp_path: Path) -> None:
    """Fifty runs, two at a time, each with an answer, leave no process, no file and no word of an error."""
    device = account.device()
    operator = account.operator(device.thing) | {"TMPDIR": str(tmp_path)}

    def start_and_stop(_: int) -> None:
        ended = run(account.arguments(device), "get-pending-job-executions\n", operator)
        assert ended.returncode == 0
        assert "GetPendingJobExecutionsResponse" in ended.stdout
        assert "rror" not in ended.stderr

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(start_and_stop, range(50)))
    assert not list(tmp_path.iterdir())


def test_killed_outright(tmp_path: Path) -> None:
    """After SIGKILL the embedded AWS IoT ends by itself and removes its files."""
    with Program(["--local"], {"TMPDIR": str(tmp_path)}) as program:
        program.started()
        service = children(program)
        assert service
        program.process.kill()
        program.process.wait(15)
        assert all(gone(process) for process in service)
    _until(lambda: not list(tmp_path.iterdir()))


def test_a_terminal_that_closes(tmp_path: Path) -> None:
    """When the terminal window is closed, the program and its AWS IoT end."""
    with Terminal(
        ["--local"], {"TMPDIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    ) as terminal:
        terminal.wait_prompt()
        service = psutil.Process(terminal.child.pid).children()
        assert service
        terminal.hang_up()
        _until(lambda: not terminal.child.isalive())
        assert all(gone(process) for process in service)
    _until(lambda: [path.name for path in tmp_path.iterdir()] == ["state"])


def test_expired_credentials_stop_the_control_plane_only(
    account: Account, device_with_operator: tuple[Device, dict[str, str], str]
) -> None:
    """When the operator's keys stop working in mid-session, the data plane goes on."""
    device, operator, user = device_with_operator
    with Program(account.arguments(device), operator) as program:
        program.started()
        account.iam.delete_access_key(UserName=user, AccessKeyId=operator["AWS_ACCESS_KEY_ID"])
        program.send(f"create-job {device.thing} {{}}", "get-pending-job-executions")
        program.take("GetPendingJobExecutionsResponse")
        assert program.finish() == 1
        assert "iot:CreateJob failed: UnrecognizedClientException" in program.stderr
        assert "`aws sts get-caller-identity`" in program.stderr


@pytest.fixture
def device_with_operator(account: Account) -> tuple[Device, dict[str, str], str]:
    """A device, the environment of its operator, and that user's name."""
    device = account.device()
    operator = account.operator(device.thing)
    users = account.iam.list_users()["Users"]
    key = operator["AWS_ACCESS_KEY_ID"]
    names = [user["UserName"] for user in users]
    owner = next(
        name
        for name in names
        for pair in account.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
        if pair["AccessKeyId"] == key
    )
    return device, operator, owner


def test_no_secret_is_printed(
    account: Account, device_with_operator: tuple[Device, dict[str, str], str]
) -> None:
    """Neither the private key nor the secret access key is ever shown, in success and in failure."""
    device, operator, _ = device_with_operator
    secret = operator["AWS_SECRET_ACCESS_KEY"]
    key_lines = Path(device.key).read_text().splitlines()[1:-1]
    wrong = operator | {
        "AWS_SECRET_ACCESS_KEY": secret[::-1],
        "AWS_SESSION_TOKEN": "token-of-the-session",
    }
    script = "help\nget-pending-job-executions\ncreate-job a/b {}\nnonsense\n"
    outcomes = [
        run(account.arguments(device), script, operator),
        run(account.arguments(device), script, wrong),
        run(account.arguments(device._replace(cert=device.key, key=device.cert)), script, operator),
    ]
    said = "".join(outcome.stdout + outcome.stderr for outcome in outcomes)
    assert not [
        line for line in [secret, secret[::-1], "token-of-the-session", *key_lines] if line in said
    ]


def test_a_careless_key_is_warned_of(account: Account) -> None:
    """A private key that others can read is told, and used."""
    device = account.device()
    Path(device.key).chmod(0o644)
    ended = run(account.arguments(device), "", account.operator(device.thing))
    assert ended.returncode == 0
    assert f"the private key {device.key} can be read by other users" in ended.stderr


def test_modules_in_the_working_folder_do_no_harm(tmp_path: Path) -> None:
    """Python files that happen to lie where the program is started are not imported."""
    for name in ("queue", "ministack", "random", "jobs_sandbox"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported by accident')")
    script = Path(sys.executable).with_name("jobs-sandbox")
    ended = subprocess.run(
        [str(script), "--local"],
        cwd=tmp_path,
        env=environment(),
        input="help\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
