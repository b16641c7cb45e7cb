"""The README's ways to test a device of one's own: a device that passes, and devices that fail."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.devices import faulty
from tests.support.drivers.program import COMMAND, environment
from tests.support.readme import ROOT, fences, shell
from tests.support.waiting import until

EXECUTOR = shlex.join([sys.executable, str(ROOT / "examples" / "job_executor.py"), "--run"])


def device(folder: Path, handler: str) -> str:
    """The command of the reference device with this handler, a shell script."""
    path = folder / "handler"
    path.write_text(f"#!/bin/sh\n{handler}\n")
    path.chmod(0o700)
    return f"{EXECUTOR} {path} --state {folder / 'state'}"


def run(command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
        **{"env": environment()} | options,
    )


@pytest.mark.parametrize(
    ("handler", "patience", "verdict"),
    [
        ("cat", 20, "DescribeJobExecutionOutput"),
        ("echo no such disk >&2; exit 3", 20, "no such disk"),
        (
            "exec sleep 600",
            5,
            "the execution of Job1 is not SUCCEEDED after 5 s: it is IN_PROGRESS",
        ),
    ],
)
def test_the_script(tmp_path: Path, handler: str, patience: int, verdict: str) -> None:
    """The README's script passes a device that does its jobs, and explains why others fail."""
    [script] = [text for text in shell("Testing your own device") if "--device" in text][:1]
    script = script.replace(".venv/bin/jobs-sandbox", shlex.join(COMMAND))
    script = script.replace("'DEVICE'", shlex.quote(device(tmp_path, handler)))
    ended = run(["/bin/sh", "-c", script.replace("SUCCEEDED 20", f"SUCCEEDED {patience}")])
    assert ended.returncode == (handler != "cat"), ended.stdout
    assert verdict in ended.stdout


def pytest_with_fixtures(
    folder: Path, *arguments: str, replaced: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run pytest with the files of the page; parts of the test may be replaced."""
    conftest, test = [fence.text for fence in fences("From pytest") if fence.language == "python"]
    (folder / "conftest.py").write_text(conftest)
    for text, other in (replaced or {}).items():
        assert text in test
        test = test.replace(text, other)
    (folder / "test_device.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return run(command, cwd=folder, env=environment({"PYTEST_ADDOPTS": ""}))


def test_from_pytest(tmp_path: Path) -> None:
    """The page's test passes a device that does its job, and the device is ended."""
    ended = pytest_with_fixtures(tmp_path, "--device", device(tmp_path, "cat"))
    assert "1 passed" in ended.stdout, ended.stdout
    until(lambda: str(tmp_path) not in run(["/bin/ps", "-Aww", "-o", "args"]).stdout)


@pytest.mark.parametrize(
    ("handler", "shown"),
    [
        (
            "exit 1",
            (
                "the execution of Job1 ended as FAILED, not SUCCEEDED",
                "asks: update Job1 FAILED",
                "Captured stdout teardown",
            ),
        ),
        ("", ("the device cannot be started: ./nothing: No such file or directory",)),
    ],
)
def test_a_failure_in_pytest(tmp_path: Path, handler: str, shown: tuple[str, ...]) -> None:
    """A failure has the verdict, what the device did, and everything that happened."""
    (tmp_path / "pytest.ini").write_text("[pytest]\ndevice_command = ./nothing\n")
    arguments = ["--device", device(tmp_path, handler)] if handler else []
    ended = pytest_with_fixtures(tmp_path, *arguments)
    assert ended.returncode == 1
    for text in shown:
        assert text in ended.stdout


def test_devices_that_fail_in_pytest(tmp_path: Path) -> None:
    """The page's test fails a device that never sends again, and at once one that ends."""
    command = [sys.executable, faulty.__file__, "waits for each response", str(tmp_path / "state")]
    ended = pytest_with_fixtures(
        tmp_path,
        *("--device", shlex.join(command)),
        replaced={'{"Todo": "Reboot"}': '{"operation": "sleep"}', "20)": "5)"},
    )
    assert "Job2 is not SUCCEEDED after 5 s: it is QUEUED" in ended.stdout, ended.stdout
    assert "the response to its last update was lost" in ended.stdout
    ended = pytest_with_fixtures(
        tmp_path,
        *("--device", "sh -c 'echo no disk; exit 3'"),
        replaced={'"Job1", "SUCCEEDED", 20': '"Job1", "SUCCEEDED", 600'},
    )
    assert "the device has ended by itself: exit status 3" in ended.stdout, ended.stdout
    assert "device: no disk" in ended.stdout


def test_in_github_actions(tmp_path: Path) -> None:
    """The README's step for GitHub Actions passes a device that does its job."""
    [job] = [fence.text for fence in fences("In GitHub Actions") if fence.language == "yaml"]
    [step] = re.findall(r"- run: (.+)", job)
    step, replaced = re.subn(r"pipx run --spec '\S+ @ \S+' jobs-sandbox", shlex.join(COMMAND), step)
    assert replaced == 1
    (tmp_path / "device").write_text(f"#!/bin/sh\nexec {device(tmp_path, 'cat')}\n")
    (tmp_path / "device").chmod(0o700)
    (tmp_path / "device.jobs").write_text("create-job Job1 {}\nexpect Job1 SUCCEEDED 20\n")
    ended = run(["/bin/bash", "-e", "-c", step], cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout
