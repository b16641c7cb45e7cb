"""The README's way to test a device of one's own: what it fails, and what it passes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.executor import until
from tests.support.program import COMMAND, environment
from tests.support.readme import ROOT, fences, shell

EXECUTOR = shlex.join([sys.executable, str(ROOT / "examples" / "job_executor.py"), "--run"])


def handler(folder: Path, text: str) -> str:
    """The command of the reference device with this handler, a shell script."""
    path = folder / "handler"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return f"{EXECUTOR} {path} --state {folder / 'state'}"


def verdict(device: str, patience: int = 20) -> "subprocess.CompletedProcess[str]":
    """Run the README's script with this device; each `expect` waits for so many seconds."""
    [script] = [text for text in shell("Testing your own device") if "--device" in text][:1]
    script = script.replace(".venv/bin/jobs-sandbox", shlex.join(COMMAND)).replace(
        "'DEVICE'", shlex.quote(device)
    )
    script = script.replace("SUCCEEDED 20", f"SUCCEEDED {patience}")
    return subprocess.run(
        ["/bin/sh", "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_device_that_does_the_job(tmp_path: Path) -> None:
    """A device that does its jobs passes, and what it prints is told as its own."""
    ended = verdict(handler(tmp_path, "cat"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("DescribeJobExecutionOutput") == 2


def test_no_device() -> None:
    """Without a device that takes the job, it stays queued, and that is a failure."""
    ended = verdict("true", 2)
    assert ended.returncode == 1
    assert "the execution of Job1 is not SUCCEEDED after 2 s: it is QUEUED" in ended.stderr
    assert "the device has ended: exit status 0" in ended.stderr


def test_a_device_that_reports_failure(tmp_path: Path) -> None:
    """A device that reports FAILED fails at once, with the reason that it gave."""
    ended = verdict(handler(tmp_path, "echo no such disk >&2; exit 3"))
    assert ended.returncode == 1
    assert "the execution of Job1 ended as FAILED, not SUCCEEDED" in ended.stderr
    assert "no such disk" in ended.stderr


def test_a_device_that_hangs(tmp_path: Path) -> None:
    """A device that starts a job and never ends it fails when the time is over, and does not outlive the program."""
    ended = verdict(handler(tmp_path, "exec sleep 600"), 4)
    assert ended.returncode == 1
    assert "the execution of Job1 is not SUCCEEDED after 4 s: it is IN_PROGRESS" in ended.stderr


@pytest.mark.parametrize(("does", "outcome"), [("cat", "1 passed"), ("exit 1", "1 failed")])
def test_from_pytest(does: str, outcome: str, tmp_path: Path) -> None:
    """The same as a fixture of pytest passes and fails likewise, and the device ends, whose shell is between."""
    [text] = [fence.text for fence in fences("From pytest") if fence.language == "python"]
    (tmp_path / "test_device.py").write_text(text)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_device.py"],
        cwd=tmp_path,
        env=environment({"DEVICE": handler(tmp_path, does)}) | {"PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert outcome in ended.stdout, ended.stdout + ended.stderr
    assert "AWS_ACCESS_KEY_ID" not in os.environ
    until(
        lambda: (
            str(tmp_path)
            not in subprocess.check_output(["/bin/ps", "-Aww", "-o", "args"], text=True)
        )
    )


@pytest.mark.parametrize(("does", "status"), [("cat", 0), ("exit 1", 1)])
def test_in_github_actions(does: str, status: int, tmp_path: Path) -> None:
    """The step of the job of GitHub Actions passes and fails likewise, with the program that is tested here."""
    [job] = [fence.text for fence in fences("In GitHub Actions") if fence.language == "yaml"]
    [step] = re.findall(r"- run: (.+)", job)
    step, replaced = re.subn(r"pipx run --spec '\S+ @ \S+' jobs-sandbox", shlex.join(COMMAND), step)
    assert replaced == 1
    (tmp_path / "device").write_text(f"#!/bin/sh\nexec {handler(tmp_path, does)}\n")
    (tmp_path / "device").chmod(0o700)
    (tmp_path / "device.jobs").write_text("create-job Job1 {}\nexpect Job1 SUCCEEDED 20\n")
    ended = subprocess.run(
        ["/bin/bash", "-e", "-c", step],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == status, ended.stderr
