"""The program with a profile whose credential_process behaves badly."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.drivers.program import Program, run
from tests.support.servers.broker import Broker

KEYS = {"Version": 1, "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "example"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker, and a control plane beside it."""
    with Broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def profile(broker: Broker, tmp_path: Path) -> dict[str, str]:
    """An environment with a profile; its credential_process runs a script, yet to be written."""
    (tmp_path / "config").write_text(
        f"[profile dev]\ncredential_process = sh {tmp_path}/credentials.sh\n"
    )
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    rest = {name: value for name, value in broker.environment.items() if name not in keys}
    return rest | {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_PROFILE": "dev"}


def test_a_process_that_reads(broker: Broker, profile: dict[str, str], tmp_path: Path) -> None:
    """A script on standard input is the program's alone: each of its lines runs."""
    (tmp_path / "credentials.sh").write_text(f"cat > {tmp_path}/eaten\necho '{json.dumps(KEYS)}'\n")
    script = "create-job Job1 {}\nget-pending-job-executions\ndelete-job Job2\n"
    broker.control.jobs["Job2"] = {"Thing": "SUCCEEDED"}
    done = run(broker.arguments(), script, profile)
    assert done.returncode == 0, done.stderr
    for title in ("CreateJobOutput", "GetPendingJobExecutionsResponse", "DeleteJobOutput"):
        assert title in done.stdout


def test_a_process_that_hangs(broker: Broker, profile: dict[str, str], tmp_path: Path) -> None:
    """A process without an end is reported while it runs, blamed when the time is up, and ended."""
    (tmp_path / "credentials.sh").write_text(
        f"echo $$ > {tmp_path}/id\necho 'Touch your key' >&2\nsleep 1000\n"
    )
    with Program(broker.arguments(timeout="3"), profile) as program:
        program.wait_stderr(
            "waiting for AWS credentials from the credential_process of the profile"
        )
        process = psutil.Process(int((tmp_path / "id").read_text()))
        family = [process, *process.children()]
        assert program.finish() == 1
        assert "profile dev gave no AWS credentials within" in program.stderr
        assert "Touch your key" in program.stderr
        assert "--timeout" in program.stderr
    assert psutil.wait_procs(family, 10)[1] == []
