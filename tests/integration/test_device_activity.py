"""Faults on the wire and judgements of the device, with the real program and a real device."""

import json
import shlex
import sys
from pathlib import Path

from tests.support.drivers.program import run
from tests.support.readme import ROOT

SCRIPT = """\
expect-device subscribes at-least 1 20
fault reject start-next InternalError
create-job Job1 {}
expect Job1 SUCCEEDED 20
expect-device rejected at-least 1 5
device-activity
fault disconnect
expect-device connects at-least 1 20
should expect-device get at-least 99 0
expect-device connects at-most 0 1
stop-device
create-job Job2 {}
expect Job2 SUCCEEDED 1
diagnose-job Job2
fault disconnect
"""


def test_faults_and_judgements(tmp_path: Path) -> None:
    """A script causes faults, sees what the device does about them, and shows why it failed."""
    command = [sys.executable, ROOT / "examples/job_executor.py", "--run", "cat"]
    command += ["--state", tmp_path / "state"]
    device = shlex.join(map(str, command))
    done = run(["--local", "--device", device, "--output", "json"], SCRIPT)
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    [activity] = [block["body"] for block in shown if block["type"] == "DeviceActivity"]
    assert activity["rejected"] == {"InternalError": 1}
    assert activity["connected"]
    errors = [json.loads(line) for line in done.stderr.splitlines() if '"line"' in line]
    assert [(error["type"], error["line"]) for error in errors] == [
        ("Warning", 9),
        ("Error", 10),
        ("Error", 13),
        ("Error", 15),
    ]
    assert "the device is not connected" in errors[2]["cause"]
    assert "the device is not connected" in errors[3]["message"]
    [diagnosis] = [block["body"] for block in shown if block["type"] == "Diagnosis"]
    [first, second] = diagnosis["findings"]
    assert (first["reason"], first["fact"]) == ("device-ended", "it was stopped")
    assert second["reason"] == "not-connected"
    assert done.returncode == 1
