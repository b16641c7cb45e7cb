"""Help and completion."""

import pytest

from jobs_sandbox.commands.command import COMMANDS, PLANES
from jobs_sandbox.commands.completion import WIDTH, complete, help_lines
from jobs_sandbox.commands.documents import UPDATE_FIELDS
from jobs_sandbox.core.blocks import EVENTS
from jobs_sandbox.core.jobs import STATUSES

JOBS = {"Job1": "QUEUED", "Job2": "not known"}


def test_help() -> None:
    """The help lists every command, those that need an option by that, on a small terminal."""
    lines = help_lines()
    listed = [line.split(maxsplit=1) for line in lines if line.startswith("  ")]
    needing = [line for line in lines if line.startswith("  with ")]
    assert listed[: -len(needing)] == [
        [name, command.summary] for name, command in COMMANDS.items() if not command.requires
    ]
    assert needing == [
        "  with --device: stop-device, start-device",
        "  with --local: fault, device-activity, expect-device",
    ]
    assert set(PLANES) < set(lines)
    assert len(lines) < 24
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name: str) -> None:
    """It has the usage, each value and field, an example and the block, within a window's width."""
    command = COMMANDS[name]
    lines = help_lines(name)
    text = " ".join(" ".join(lines).split())
    assert text.startswith(f"{command.usage} {command.summary} {command.details}".strip())
    for parameter in command.parameters:
        assert f"{parameter.name}: {parameter.meaning}" in text
        for field, about in parameter.fields.items():
            assert f" {field} {about.meaning}" in text
        for value, meaning in parameter.candidates({}):
            assert f" {value} {meaning}" in text
    assert f"  example: {command.example}" in lines
    assert command.title in text
    assert [line for line in lines if len(line) > WIDTH and command.example not in line] == []


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("", list(COMMANDS)),
        ("  up", ["update-job-execution"]),
        ("JOB-exec", [name for name in COMMANDS if "job-exec" in name]),
        ("con", ["connection"]),
        ("nothing ", []),
        ("exit ", []),
        ("help up", ["update-job-execution"]),
        ("help up ", []),
        ("DELETE-job OB", ["Job1", "Job2"]),
        ("delete-job 2", ["Job2"]),
        ("delete-job Job1 ", []),
        ("cancel-job Job1 ", ["force"]),
        ("describe-job-execution ", ["Job1", "Job2", "$next"]),
        ("create-job J", []),
        ("create-job J f", ["file://"]),
        ("create-job J {", []),
        ("wait ", list(EVENTS)),
        ("should wait ", list(EVENTS)),
        ("should exp", ["expect", "expect-device"]),
        ("fault ev", ["events twice", "events never", "events late", "events early"]),
        ("expect-device requests at-", ["at-least", "at-most"]),
        ("update-job-execution Job1 in", ["IN_PROGRESS"]),
        ("update-job-execution Job1 FAILED ", [f'{{"{name}": ' for name in UPDATE_FIELDS]),
        ("update-job-execution Job1 FAILED {step", ['"stepTimeoutInMinutes": ']),
        (
            'update-job-execution J FAILED {"statusDetails": {"a": "b"}, "S',
            ['"stepTimeoutInMinutes": '],
        ),
        ('update-job-execution J FAILED {"statusDetails": {"s', []),
        ('update-job-execution J FAILED {"statusDetails": ', []),
    ],
)
def test_completion(text: str, candidates: list[str]) -> None:
    """Words that contain the typed one are offered with a short hint."""
    found = complete(text, JOBS)
    assert [candidate for candidate, _, _ in found] == candidates
    for candidate, hint, replaced in found:
        assert 0 < len(hint) <= 40
        assert text[len(text) - replaced :].lower() in candidate.lower()
        assert not text[: len(text) - replaced].endswith('"')


def test_the_best_comes_first() -> None:
    """Commands that begin with the word come before those that contain it."""
    found = [name for name, _, _ in complete("d", {})]
    assert sorted(found) == sorted(name for name in COMMANDS if "d" in name)
    begins = [name.startswith("d") for name in found]
    assert begins == sorted(begins, reverse=True)


def test_statuses_are_completed() -> None:
    """`expect` completes every status, `update-job-execution` those that a device sends."""
    assert {status for status, _, _ in complete("expect J ", {})} == set(STATUSES)
    assert "QUEUED" not in {status for status, _, _ in complete("update-job-execution J ", {})}


def test_job_ids_are_completed() -> None:
    """The hint of a job id is the status of its execution."""
    assert complete("delete-job J", JOBS) == [("Job1", "QUEUED", 1), ("Job2", "not known", 1)]
