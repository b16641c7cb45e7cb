"""Each scenario passes right devices, and fails devices that are right but for one fault.

Most of this takes long, and is left out unless it is asked for::

    pytest -m scenarios -n 6 --maxprocesses 6 --dist load
"""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs_sandbox.check.scenarios import choose
from tests.support.devices import faulty, sdk_device
from tests.support.drivers.program import run
from tests.support.readme import ROOT

SCENARIOS = {scenario.name: scenario for scenario in choose([], everything=True)}
RIGHT: dict[str, list[Any]] = {
    "reference": [ROOT / "examples/job_executor.py", "--run", ROOT / "examples/handler.py"],
    "paho": [faulty.__file__, "none"],
    "sdk": [sdk_device.__file__],
}
# The device on paho reports an execution only when it has ended: so its timers do not run.
WARNED = {("paho", "timed-out")}

# The scenarios are split, so that these tests do not go on when all others have ended.
PARTS = 3

LATE = "is not SUCCEEDED after"
ENDED = "the device has ended by itself: exit status 1"
# The scenario, the fault, and the message of the verdict.
CAUGHT = [
    ("acknowledges", "acknowledges nothing", "unacknowledged of the device within 2 s: "),
    ("acknowledges", "waits for each PUBACK", f"Job2 {LATE}"),
    ("backoff", "reconnects at once", "connects of the device within 15 s: "),
    ("burst-of-20", "believes the list", f"Job11 {LATE}"),
    ("canceled-before-start", "trusts events", f"Job3 {LATE}"),
    ("canceled-in-the-middle", "ignores cancellation", f"Job2 {LATE}"),
    ("canceled-in-the-middle", "works beside", "update of the device within 8 s: 1"),
    ("canceled-late", "dies of a rejection", ENDED),
    ("canceled-late", "ignores one rejection", f"Job2 {LATE}"),
    ("cut-at-work", "dies of a lost connection", ENDED),
    ("cut-at-work", "forgets its reports", f"Job1 {LATE}"),
    ("deleted-at-work", "dies of an empty event", ENDED),
    ("done-once", "begins with each event", "reports of the device within 4 s: "),
    ("events-twice", "trusts events", "reports of the device within 3 s: "),
    ("expired", "checks no certificate", "connects of the device within 6 s: 1"),
    ("failing-job", "dies of a failure", ENDED),
    ("failing-job", "succeeds in everything", "Job1 ended as SUCCEEDED, not FAILED"),
    ("internal-error", "dies of a rejection", ENDED),
    ("internal-error", "hammers", "update of the device within 5 s: "),
    ("killed-after-the-work", "repeats itself for ever", LATE),
    ("killed-in-the-middle", "ignores seconds", "reports of the device within 2 s: 1"),
    ("killed-in-the-middle", "forgets what it was at", f"Job1 {LATE}"),
    ("large-document", "cuts documents", f"Job1 {LATE}"),
    ("least-privilege", "asks for too much", "refused of the device within 2 s: "),
    ("mismatch", "dies of a rejection", ENDED),
    ("mismatch", "hammers", "update of the device within 5 s: "),
    ("order-of-three", "takes several at a time", "Job3 ended as SUCCEEDED, not QUEUED"),
    ("order-of-three", "takes the newest first", f"Job1 {LATE}"),
    ("queue-behind-event", "waits for the next event", f"Job1 {LATE}"),
    ("queued-before-start", "never asks at its start", f"Job1 {LATE}"),
    ("response-lost-start", "waits for each response", f"Job1 {LATE}"),
    ("response-lost-update", "waits for each response", f"Job2 {LATE}"),
    ("restarts-itself", "fails after the restart", "Job1 ended as FAILED, not SUCCEEDED"),
    ("restarts-itself", "restarts for ever", "the device has ended by itself: exit status 0"),
    ("retried", "remembers ids", "reports of the device within 15 s: 1"),
    ("retried", "remembers outcomes", "reports of the device within 3 s: 2"),
    ("same-id-after-power-cut", "reports for another", "Job1 ended as SUCCEEDED, not FAILED"),
    ("same-id-again", "remembers ids", "Job1 is not FAILED after"),
    ("same-id-again", "reports twice", "Job1 ended as SUCCEEDED, not FAILED"),
    ("same-job-again", "remembers jobs", f"Job1 {LATE}"),
    ("same-job-again", "remembers outcomes", "reports of the device within 1 s: 1"),
    ("session-forgotten", "subscribes once", "subscribes of the device within 10 s: 0"),
    ("silent-line", "never pings", "connects of the device within 100 s: 0"),
    ("taken-over", "reconnects at once", "connects of the device within 6 s: "),
    ("throttled", "dies of a rejection", ENDED),
    ("throttled", "hammers", "requests of the device within 5 s: "),
    ("timed-out", "repeats itself for ever", f"Job2 {LATE}"),
    ("unknown-document", "fails the unknown", "Job1 ended as FAILED, not REJECTED"),
    ("unknown-document", "hangs on the unknown", f"Job2 {LATE}"),
    ("while-it-runs", "asks once", f"Job1 {LATE}"),
    ("wrong-ca", "checks no certificate", "connects of the device within 6 s: 1"),
    ("wrong-name", "checks no host name", "connects of the device within 6 s: 1"),
]
# What AWS recommends, and does not demand, is a warning.
WARNINGS = {"takes several at a time", "fails the unknown"}
# One of each group is tested every time, the others when they are asked for.
ALWAYS = {"succeeds in everything", "reconnects at once: taken-over", "checks no host name"}


def case(scenario: str, device: str, message: str) -> Any:
    """The parameters of a test."""
    name = f"{device}: {scenario}"
    marks = [] if ALWAYS & {device, name} else [pytest.mark.scenarios, pytest.mark.timeout(300)]
    return pytest.param(scenario, device, message, id=name, marks=marks)


def check(command: list[Any], *arguments: str) -> list[dict[str, Any]]:
    """Judge a device; the verdicts."""
    device = shlex.join(map(str, command))
    done = run(["--check", device, *arguments, "--output", "json"], timeout=580)
    blocks = [json.loads(line) for line in done.stdout.splitlines()]
    verdicts: list[dict[str, Any]] = [
        block["body"] for block in blocks if block["type"] == "Scenario"
    ]
    failed = [verdict for verdict in verdicts if verdict["outcome"] == "failed"]
    assert done.returncode == bool(failed), done.stderr
    return verdicts


@pytest.mark.scenarios
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("device", RIGHT)
def test_right_devices(tmp_path: Path, device: str, part: int) -> None:
    """A device that is right by AWS's documents passes, whatever way it chose."""
    words = shlex.join(map(str, [sys.executable, *RIGHT[device]]))
    names = list(SCENARIOS)[part::PARTS]
    option = "--state" if device == "reference" else ""
    # Scenarios run side by side.
    state = f"{shlex.quote(str(tmp_path))}/$IOT_CLIENT_ID"
    verdicts = check(["/bin/sh", "-c", f"exec {words} {option} {state}"], *names)
    expected = {name: "warning" if (device, name) in WARNED else "passed" for name in names}
    assert {verdict["name"]: verdict["outcome"] for verdict in verdicts} == expected, verdicts


@pytest.mark.parametrize(("scenario", "fault", "message"), [case(*values) for values in CAUGHT])
def test_faulty_devices(tmp_path: Path, scenario: str, fault: str, message: str) -> None:
    """A device with a fault fails the scenario that is there for it, by the line that shows it."""
    script = SCENARIOS[scenario].path.read_text(encoding="utf-8")
    path = tmp_path / f"{scenario}.jobs"
    # What a right device does in ten seconds, this one does not do in ten seconds either.
    path.write_text(re.sub(r"(?m)^(.*expect \S+ \S+) 10$", r"\1 5", script), encoding="utf-8")
    [verdict] = check([sys.executable, faulty.__file__, fault, tmp_path / "state"], str(path))
    assert verdict["outcome"] == ("warning" if fault in WARNINGS else "failed"), verdict
    assert message in verdict["problems"][-1]["message"]


def test_all_are_caught() -> None:
    """Each scenario fails a device, and each fault fails a scenario."""
    assert {scenario for scenario, _, _ in CAUGHT} == set(SCENARIOS)
    assert {fault for _, fault, _ in CAUGHT} == set(faulty.FAULTS) - {"none"}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_heads(scenario: Any) -> None:
    """The head of a scenario says what a device must do, and why, with the page of AWS."""
    assert re.fullmatch(r"A device must .*\.", scenario.must)
    assert scenario.group in {"jobs", "connection", "security"}
    assert re.fullmatch(r"https://docs\.aws\.amazon\.com/\S+\.html(#\S+)?", scenario.why[-1])
    assert len(scenario.why) > 1
