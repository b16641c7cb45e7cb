"""The scenarios of examples/ pass the reference device, and fail devices with one fault each; their page is true."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support.devices import faulty
from tests.support.drivers.program import environment, run
from tests.support.readme import ROOT, fences

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.stem for path in (EXAMPLES / "scenarios").glob("*.jobs"))
PAGE = (ROOT / "docs" / "testing-a-device.md").read_text(encoding="utf-8")
COMMAND, ANSWER = (fence.text for fence in fences("Ten situations")[:2])
SIDE_BY_SIDE = 3
# Which scenario each fault fails, and what it says.
CAUGHT = [
    ("queued-before-start", "waits for news", "Job1 is not SUCCEEDED after 10 s: it is QUEUED"),
    ("queued-before-start", "trusts notify-next", "Job1 is not SUCCEEDED after 10 s: it is QUEUED"),
    ("while-it-runs", "asks once", "Job3 is not SUCCEEDED after 10 s: it is QUEUED"),
    ("order-of-three", "all at once", "Job3 ended as SUCCEEDED, not QUEUED"),
    ("order-of-three", "the newest first", "Job3 ended as SUCCEEDED, not QUEUED"),
    ("burst-of-20", "believes the list", "Job11 is not SUCCEEDED after 10 s: it is QUEUED"),
    ("failing-job", "succeeds in everything", "Job1 ended as SUCCEEDED, not FAILED"),
    ("failing-job", "dies of a failure", "Job2 is not SUCCEEDED after 10 s: it is QUEUED"),
    (
        "unknown-document",
        "hangs on the unknown",
        "Job1 is not REJECTED after 10 s: it is IN_PROGRESS",
    ),
    ("unknown-document", "fails the unknown", "Job1 ended as FAILED, not REJECTED"),
    (
        "killed-in-the-middle",
        "forgets what it was at",
        "Job1 is not SUCCEEDED after 10 s: it is IN_PROGRESS",
    ),
    (
        "killed-after-the-work",
        "repeats itself for ever",
        "Job4 is not SUCCEEDED after 10 s: it is QUEUED",
    ),
    (
        "canceled-in-the-middle",
        "ignores cancellation",
        "Job2 is not SUCCEEDED after 10 s: it is QUEUED",
    ),
    ("same-id-again", "remembers ids", "Job1 ended as SUCCEEDED, not FAILED"),
    ("same-id-again", "reports twice", "Job1 ended as SUCCEEDED, not FAILED"),
]
Run = Future["CompletedProcess[str]"]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Run]]:
    """The runs of all scenarios with all devices that the chosen tests want, some side by side: they mostly wait."""
    chosen = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = [
        call.params for call in chosen if call and {"scenario", "device"} <= call.params.keys()
    ]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {
            (params["scenario"], params["device"]): pool.submit(
                run_scenario, params["scenario"], params["device"], tmp_path_factory.mktemp("state")
            )
            for params in wanted
        }


def run_scenario(scenario: str, device: str, folder: Path) -> "CompletedProcess[str]":
    command = shlex.join([sys.executable, faulty.__file__, device, str(folder / "state")])
    script = (EXAMPLES / "scenarios" / f"{scenario}.jobs").read_text(encoding="utf-8")
    return run(["--local", "--device", command], script, timeout=120)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a clone in which the README's first command was run."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    return tmp_path


def shell(command: str, folder: Path) -> "CompletedProcess[str]":
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=environment({"PATH": "/usr/bin:/bin"}),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


@pytest.mark.usefixtures("runs")  # which go on meanwhile
def test_the_reference_passes(clone: Path) -> None:
    """The command of the page holds the reference device against all scenarios, and prints what the page shows."""
    done = shell(COMMAND, clone)
    assert done.stdout.splitlines() == ANSWER.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in ANSWER.splitlines()] == [["passed", name] for name in NAMES]


@pytest.mark.parametrize("device", ["none"])
@pytest.mark.parametrize("scenario", NAMES)
def test_passes(runs: dict[tuple[str, str], Run], scenario: str, device: str) -> None:
    """The device of the faults passes every scenario while it has none: so it is the fault that fails."""
    done = runs[scenario, device].result()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("scenario", "device", "verdict"), CAUGHT, ids=[f"{name}: {fault}" for name, fault, _ in CAUGHT]
)
def test_fails(runs: dict[tuple[str, str], Run], scenario: str, device: str, verdict: str) -> None:
    """A device with a fault fails the scenario that is there for it, and is told what went wrong."""
    done = runs[scenario, device].result()
    assert done.returncode == 1
    assert f"the execution of {verdict}" in done.stderr


def test_what_a_failure_looks_like(runs: dict[tuple[str, str], Run]) -> None:
    """The page shows a failure as it is printed."""
    shown = fences("What a verdict means")[-1].text
    assert shown in runs["killed-in-the-middle", "forgets what it was at"].result().stderr


def test_the_runner_tells_failures(clone: Path) -> None:
    """One failure is shown with what was said, and fails all; wrong words are wrong usage."""
    done = shell(f"{EXAMPLES}/scenarios/run '/no/such/device' failing-job", clone)
    assert done.returncode == 1
    assert done.stdout.startswith("FAILED  failing-job\n")
    assert "        the device cannot be started: /no/such/device" in done.stdout
    for arguments in ("", "'true' no-such-scenario"):
        assert shell(f"{EXAMPLES}/scenarios/run {arguments}", clone).returncode == 2


def test_every_scenario_catches_a_fault() -> None:
    """There are ten scenarios; each catches a fault, and each fault is caught."""
    assert len(NAMES) == 10
    assert {scenario for scenario, _, _ in CAUGHT} == set(NAMES)
    assert {fault for _, fault, _ in CAUGHT} == set(faulty.FAULTS) - {"none"}


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_says_what_it_asks_for(name: str) -> None:
    """It opens with a comment: the situation, what a device must do and why, and the document of AWS."""
    comment, _, commands = (
        (EXAMPLES / "scenarios" / f"{name}.jobs").read_text(encoding="utf-8").partition("\n\n")
    )
    assert all(line.startswith("#") for line in comment.splitlines())
    assert " must " in comment
    assert re.search(r"https://docs\.aws\.amazon\.com/iot/\S+\.html$", comment)
    assert "expect " in commands


def test_the_page_knows_all_scenarios() -> None:
    """The table of the page has a row for each, with its faults, and what it links to is there."""
    rows = re.findall(
        r"(?m)^\| \[([\w-]+)\]\(\.\./examples/scenarios/([\w-]+)\.jobs\) .*\| ([^|]+) \|$", PAGE
    )
    assert sorted(name for name, _, _ in rows) == NAMES
    assert all(name == link for name, link, _ in rows)
    named = {(name, fault) for name, _, faults in rows for fault in faults.split("; ")}
    assert named == {(name, fault) for name, fault, _ in CAUGHT}
    for link in re.findall(r"\]\((?!https:)([^)#]+)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
