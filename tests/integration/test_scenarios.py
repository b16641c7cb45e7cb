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

LATE = "is not SUCCEEDED after"
ENDED = "the device has ended by itself: exit status 1"
# The scenario, the fault, and the message of the verdict.
CAUGHT = [
    ("acknowledges", "acknowledges nothing", "unacknowledged within 2 s, and at-most 0"),
    ("acknowledges", "waits for each PUBACK", f"Job2 {LATE}"),
    ("backoff", "reconnects at once", "connects within 15 s, and at-most 6"),
    ("burst-of-20", "believes the list", f"Job11 {LATE}"),
    ("canceled-before-start", "trusts events", f"Job3 {LATE}"),
    ("canceled-in-the-middle", "ignores cancellation", f"Job2 {LATE}"),
    ("canceled-in-the-middle", "works beside", "update within 8 s, and at-most 0"),
    ("canceled-late", "dies of a rejection", ENDED),
    ("canceled-late", "ignores one rejection", f"Job2 {LATE}"),
    ("cut-at-work", "dies of a lost connection", ENDED),
    ("cut-at-work", "forgets its reports", f"Job1 {LATE}"),
    ("deleted-at-work", "dies of an empty event", ENDED),
    ("done-once", "begins with each event", "rejected within"),
    ("events-twice", "trusts events", "rejected within"),
    ("expired", "checks no certificate", "connects within 6 s, and at-most 0"),
    ("failing-job", "dies of a failure", ENDED),
    ("failing-job", "succeeds in everything", "Job1 ended as SUCCEEDED, not FAILED"),
    ("internal-error", "dies of a rejection", ENDED),
    ("internal-error", "hammers", "update within 5 s, and at-most 5"),
    ("killed-after-the-work", "repeats itself for ever", LATE),
    ("killed-in-the-middle", "forgets what it was at", f"Job1 {LATE}"),
    ("large-document", "cuts documents", f"Job1 {LATE}"),
    ("least-privilege", "asks for too much", "refused within 2 s, and at-most 0"),
    ("mismatch", "dies of a rejection", ENDED),
    ("mismatch", "hammers", "update within 5 s, and at-most 5"),
    ("order-of-three", "takes several at a time", "Job3 ended as SUCCEEDED, not QUEUED"),
    ("order-of-three", "takes the newest first", f"Job1 {LATE}"),
    ("queue-behind-event", "waits for the next event", f"Job1 {LATE}"),
    ("queued-before-start", "never asks at its start", f"Job1 {LATE}"),
    ("response-lost-start", "waits for each response", f"Job1 {LATE}"),
    ("response-lost-update", "waits for each response", f"Job2 {LATE}"),
    ("restarts-itself", "fails after the restart", "Job1 ended as FAILED, not SUCCEEDED"),
    ("restarts-itself", "restarts for ever", "the device has ended by itself: exit status 0"),
    ("retried", "remembers ids", "Job1 is not FAILED after"),
    ("same-id-again", "remembers ids", "Job1 is not FAILED after"),
    ("same-id-again", "reports twice", "Job1 ended as SUCCEEDED, not FAILED"),
    ("same-job-again", "remembers jobs", f"Job1 {LATE}"),
    ("session-forgotten", "subscribes once", f"Job2 {LATE}"),
    ("silent-line", "never pings", "the device has 0 connects within 100 s, and at-least 1"),
    ("taken-over", "reconnects at once", "connects within 6 s, and at-most 6"),
    ("throttled", "dies of a rejection", ENDED),
    ("throttled", "hammers", "requests within 5 s, and at-most 5"),
    ("timed-out", "repeats itself for ever", f"Job2 {LATE}"),
    ("unknown-document", "fails the unknown", "Job1 ended as FAILED, not REJECTED"),
    ("unknown-document", "hangs on the unknown", f"Job2 {LATE}"),
    ("while-it-runs", "asks once", f"Job1 {LATE}"),
    ("wrong-ca", "checks no certificate", "connects within 6 s, and at-most 0"),
    ("wrong-name", "checks no host name", "connects within 6 s, and at-most 0"),
]
# What AWS recommends, and does not demand, is a warning.
WARNINGS = {"takes several at a time", "fails the unknown"}
# One of each group is tested every time, the others when they are asked for.
ALWAYS = {"succeeds in everything", "reconnects at once: taken-over", "checks no host name"}


def case(scenario: str, device: str, *message: str) -> Any:
    """The parameters of a test."""
    name = f"{device}: {scenario}"
    marks = [] if ALWAYS & {device, name} else [pytest.mark.scenarios, pytest.mark.timeout(300)]
    return pytest.param(scenario, device, *message, id=name, marks=marks)


def check(words: list[Any], scenario: str) -> dict[str, Any]:
    """Judge a device; the verdict."""
    command = shlex.join(map(str, [sys.executable, *words]))
    done = run(["--check", command, scenario, "--output", "json"], timeout=280)
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(verdicts) == 1, done.stderr
    verdict: dict[str, Any] = verdicts[0]["body"]
    assert done.returncode == (verdict["outcome"] == "failed")
    return verdict


@pytest.mark.parametrize(
    ("scenario", "device"), [case(name, device) for device in RIGHT for name in SCENARIOS]
)
def test_right_devices(tmp_path: Path, scenario: str, device: str) -> None:
    """A device that is right by AWS's documents passes, whatever way it chose."""
    state = [*["--state"] * (device == "reference"), tmp_path / "state"]
    verdict = check([*RIGHT[device], *state], scenario)
    expected = "warning" if (device, scenario) in WARNED else "passed"
    assert verdict["outcome"] == expected, verdict


@pytest.mark.parametrize(("scenario", "fault", "message"), [case(*values) for values in CAUGHT])
def test_faulty_devices(tmp_path: Path, scenario: str, fault: str, message: str) -> None:
    """A device with a fault fails the scenario that is there for it, by the line that shows it."""
    script = SCENARIOS[scenario].path.read_text(encoding="utf-8")
    path = tmp_path / f"{scenario}.jobs"
    # What a right device does in ten seconds, this one does not do in ten seconds either.
    path.write_text(re.sub(r"(?m)^(.*expect \S+ \S+) 10$", r"\1 5", script), encoding="utf-8")
    verdict = check([faulty.__file__, fault, tmp_path / "state"], str(path))
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
