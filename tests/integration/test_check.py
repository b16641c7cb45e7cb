"""`--check` with the real program and real devices."""

import json
import re
import shlex
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.devices import faulty
from tests.support.drivers.program import run
from tests.support.drivers.terminal import Terminal
from tests.support.readme import ROOT, fences
from tests.support.waiting import until

MINE = """\
# Do the first job before the power fails.
#
# It would be lost.

create-job Job1 {"operation": "sleep", "seconds": 600}
should expect Job1 IN_PROGRESS 10
expect Job1 SUCCEEDED 2
"""


def reference_device(folder: Path) -> str:
    """The command of the reference device; each one has a state of its own."""
    words = [sys.executable, ROOT / "examples/job_executor.py"]
    words += ["--run", ROOT / "examples/handler.py"]
    state = f"{shlex.quote(str(folder))}/$IOT_CLIENT_ID"
    return shlex.join(["sh", "-c", f"exec {shlex.join(map(str, words))} --state {state}"])


def test_check(tmp_path: Path) -> None:
    """A device passes a scenario and fails another one; report, transcript and status say so."""
    (tmp_path / "mine.jobs").write_text(MINE)
    options = ["--junit", f"{tmp_path}/report.xml", "--log", f"{tmp_path}/log"]
    scenarios = ["queued-before-start", f"{tmp_path}/mine.jobs"]
    done = run(["--check", reference_device(tmp_path), *scenarios, *options], timeout=90)
    assert (done.returncode, done.stderr) == (1, "")
    assert "passed   queued-before-start  " in done.stdout
    for shown in (
        "FAILED   mine  ",
        "line 7: the execution of Job1 is not SUCCEEDED after 2 s: it is IN_PROGRESS",
        "  asks: start-next\n",
        " Job1: started\n",
        "1 passed, 1 failed in ",
    ):
        assert shown in done.stdout
    assert 'failures="1"' in (tmp_path / "report.xml").read_text()
    assert "─── CreateJobOutput ─" in (tmp_path / "log" / "mine.log").read_text()


def test_the_run_on_the_page(tmp_path: Path) -> None:
    """The page shows what a run looks like."""
    [shown] = [fence.text for fence in fences("What a verdict means")]
    command, *lines = shown.splitlines()
    device = [sys.executable, faulty.__file__, "dies of a failure"]
    state = f"{shlex.quote(str(tmp_path))}/$IOT_CLIENT_ID"
    words = [shlex.join(["sh", "-c", f"exec {shlex.join(device)} {state}"])]
    words += command.split()[4:]
    printed = run(["--check", *words], timeout=90).stdout.splitlines()
    story = printed.index("    What the device did, as AWS IoT saw it:")
    assert [without_times(line) for line in printed[: story + 3]] == [
        without_times(line) for line in lines[: story + 3]
    ]
    assert [without_times(line) for line in printed[-8:-1]] == [
        without_times(line) for line in lines[-8:-1]
    ]


def without_times(line: str) -> str:
    return re.sub(r"[0-9.]+ s\b", "<time>", line)


def test_a_policy_with_wildcards(tmp_path: Path) -> None:
    """With --policy the device has that policy, and wildcards in it are a failure."""
    statement = {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}
    (tmp_path / "policy.json").write_text(json.dumps({"Statement": statement}))
    words = [reference_device(tmp_path), "least-privilege", "--policy", f"{tmp_path}/policy.json"]
    done = run(["--check", *words], timeout=90)
    assert done.returncode == 1
    assert "the policy of the device has iot:*, *\n" in done.stdout


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("/no/such/device", "the device cannot be started: /no/such/device: No such file"),
        ("sh -c 'echo no disk; exit 3'", "the device has ended by itself: exit status 3"),
    ],
)
def test_a_device_that_cannot_start(device: str, message: str) -> None:
    """It is reported once, with its last words, and no scenario is run."""
    done = run(["--check", device], timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert "passed" not in done.stdout + done.stderr
    assert ("      no disk\n" in done.stdout) is device.startswith("sh")


def test_a_device_that_does_not_trust_the_server() -> None:
    """The cause is the TLS handshake, as AWS IoT saw it."""
    connect = "ssl.create_default_context().wrap_socket(connection, server_hostname='localhost')"
    lines = ["import os, socket, ssl", "address = 'localhost', int(os.environ['IOT_PORT'])"]
    lines += ["connection = socket.create_connection(address)", connect]
    done = run(["--check", shlex.join([sys.executable, "-c", "; ".join(lines)])], timeout=60)
    assert done.returncode == 1
    assert "does it trust IOT_CA_FILE, and does it connect to the name in IOT_" in done.stderr
    assert "does not get through the TLS handshake: TLSV1_ALERT_UNKNOWN_CA\n" in done.stdout


def test_in_a_terminal(tmp_path: Path) -> None:
    """The last line shows what is waited for; Ctrl-C shows what is known, and ends everything."""
    (tmp_path / "mine.jobs").write_text(MINE.replace("SUCCEEDED 2", "SUCCEEDED 600"))
    device = reference_device(tmp_path)
    arguments = ["--check", device, "queued-before-start", f"{tmp_path}/mine.jobs"]
    with Terminal(arguments) as terminal:
        terminal.wait_text("passed   queued-before-start", 60)
        terminal.wait_text("1 of 2 done.  mine: expect Job1 SUCCEEDED 600", 60)
        started = psutil.Process(terminal.child.pid).children(recursive=True)
        assert len(started) >= 2
        terminal.send("\x03")
        assert terminal.finish() == 130
        assert "1 passed, 0 failed, 1 not finished in " in terminal.text()
        assert "of 2 done" not in terminal.text()
        until(lambda: not any(process.is_running() for process in started))
