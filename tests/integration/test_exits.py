"""However the program ends: no traceback, no process and no file is left."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.aws.account import Account
from tests.support.drivers.program import Program, run
from tests.support.waiting import until

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def children(program: Program) -> list[psutil.Process]:
    return psutil.Process(program.process.pid).children(recursive=True)


def all_end(processes: list[psutil.Process]) -> bool:
    """Whether processes end in time."""
    return psutil.wait_procs(processes, timeout=15)[1] == []


def ask_in_vain(program: Program) -> None:
    program.started()
    children(program)[0].suspend()
    program.send("get-pending-job-executions")


PHASES: dict[str, Callable[[Program], object]] = {
    "starting MiniStack": lambda program: until(lambda: children(program)),
    "waiting for an answer": ask_in_vain,
    "leaving": lambda program: program.started().send("quit"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_signals_at_every_phase(phase: str, tmp_path: Path) -> None:
    """A signal ends the program in time at every phase, and nothing is left of it."""

    def end(number: signal.Signals) -> str:
        folder = tmp_path / number.name
        folder.mkdir()
        device = ["--device", "sleep 600"] if phase == "waiting for an answer" else []
        arguments = ["--local", "--timeout", "30", *device]
        with Program(arguments, {"TMPDIR": str(folder)}) as program:
            PHASES[phase](program)
            processes = children(program)
            os.kill(program.process.pid, number)
            status = program.process.wait(10)
            # Before our first line, and after the last, a signal has its default action.
            assert status in (128 + number, -number) or (phase == "leaving" and status == 0)
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()
            assert all_end(processes)
            until(lambda: not list(folder.iterdir()))
            return program.stderr

    with ThreadPoolExecutor(3) as pool:
        outputs = list(pool.map(end, SIGNALS))
    assert not [output for output in outputs if "Traceback" in output]


def test_ten_starts_and_stops(account: Account, tmp_path: Path) -> None:
    """Ten runs, two at a time, each with an answer, leave no file and report no error."""
    device = account.device()
    operator = account.operator(device.thing) | {"TMPDIR": str(tmp_path)}

    def start_and_stop(_: int) -> str:
        arguments = account.arguments(device, timeout="60")
        ended = run(arguments, "get-pending-job-executions\n", operator)
        assert ended.returncode == 0
        assert "GetPendingJobExecutionsResponse" in ended.stdout
        assert "rror" not in ended.stderr
        return ended.stderr

    with ThreadPoolExecutor(2) as pool:
        outputs = list(pool.map(start_and_stop, range(10)))
    assert f"created the thing {device.thing}" in "".join(outputs)
    assert not list(tmp_path.iterdir())


def test_killed_outright(tmp_path: Path) -> None:
    """After SIGKILL the embedded AWS IoT ends by itself and removes its files."""
    with Program(["--local"], {"TMPDIR": str(tmp_path)}) as program:
        program.started()
        processes = children(program)
        assert processes
        program.process.kill()
        program.process.wait(15)
        assert all_end(processes)
    until(lambda: not list(tmp_path.iterdir()))


def test_expired_credentials(account: Account) -> None:
    """When the operator's keys stop working in mid-session, the data plane goes on."""
    device = account.device()
    operator = account.operator(device.thing)
    key = operator["AWS_ACCESS_KEY_ID"]
    with Program(account.arguments(device), operator) as program:
        program.started()
        user = account.iam.get_access_key_last_used(AccessKeyId=key)["UserName"]
        account.iam.delete_access_key(UserName=user, AccessKeyId=key)
        program.send(f"create-job {device.thing} {{}}", "get-pending-job-executions")
        program.take("GetPendingJobExecutionsResponse")
        assert program.finish() == 1
        assert "iot:CreateJob failed: UnrecognizedClientException" in program.stderr


def test_no_secret_is_printed(account: Account) -> None:
    """Neither the private key nor the secret access key is shown, in success and in failure."""
    device = account.device()
    operator = account.operator(device.thing)
    secrets = [operator["AWS_SECRET_ACCESS_KEY"], "token-of-the-session"]
    secrets += Path(device.key).read_text().splitlines()[1:-1]
    wrong = operator | {"AWS_SESSION_TOKEN": secrets[1]}
    swapped = device._replace(cert=device.key, key=device.cert)
    script = "help\nget-pending-job-executions\ncreate-job a/b {}\nnonsense\n"
    for used, keys in ((device, operator), (device, wrong), (swapped, operator)):
        ended = run(account.arguments(used, timeout="60"), script, keys)
        assert not [secret for secret in secrets if secret in ended.stdout + ended.stderr]
