"""Help and completion, as the table has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.commands.arguments import DEVICE_STATUSES, EVENTS
from jobs_sandbox.commands.command import COMMANDS
from jobs_sandbox.commands.completion import complete, help_lines
from jobs_sandbox.commands.documents import UPDATE_FIELDS
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.jobs import STATUSES
from jobs_sandbox.session.executions import Executions


@pytest.fixture
def executions() -> dict[str, str]:
    """Job1 is queued, Job2, seen later, is not known."""
    executions = Executions()
    executions.learn(Block("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [{"jobId": "Job1"}]}}))
    executions.learn(Block("CreateJobOutput", {"jobId": "Job2"}))
    return executions.job_ids()


# Help


def test_help() -> None:
    """The help lists every command under its heading, with usage and summary, and ends with the keys."""
    lines = help_lines()
    headings: dict[str, list[str]] = {
        "Control Plane": [],
        "Data Plane": [],
        "Miscellaneous": [],
        "Keys": [],
    }
    assert [line for line in lines if line and not line.startswith(" ")] == list(headings)
    for command in COMMANDS.values():
        place = lines.index(f"  {command.usage}")
        assert lines[place + 1] == f"      {command.summary}"
        assert [line for line in lines[:place] if line in headings][-1] == command.plane
    keys = lines[lines.index("Keys") :]
    assert keys[1:] == [
        "  Tab, →         complete a word; take the suggestion",
        "  Ctrl-R         search the history",
        "  Ctrl-X Ctrl-E  write the line in $EDITOR",
        "  Ctrl-C         drop the line, or stop waiting for an answer",
        "  Ctrl-D         leave",
    ]
    assert lines[lines.index("Data Plane") - 1] == lines[lines.index("Keys") - 1] == ""


def test_help_of_a_command() -> None:
    """A command is explained: usage, each argument and what it may be, an example, and what it prints."""
    assert help_lines("wait") == [
        "wait <seconds | EventTitle> [timeout]",
        "  wait some seconds, or for an event",
        "",
        "  <seconds | EventTitle>: so long, or until an event that came after the",
        "      last command that causes one",
        "      JobExecutionsChangedEvent     the set of pending executions",
        "                                    changed",
        "      NextJobExecutionChangedEvent  the next execution to run changed",
        "  [timeout]: seconds; without it, as --timeout says",
        "",
        "  example: wait NextJobExecutionChangedEvent 5",
        "  prints: nothing of its own: events are printed as they come",
    ]
    assert help_lines("connection") == [
        "connection",
        "  show what a second client needs to connect",
        "",
        "  example: connection",
        "  prints: Connection; its client_id is this program's own, and another",
        "          client needs another",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("create-job", ["file://", "CreateJobOutput; JobExecutionsChangedEvent"]),
        ("cancel-job", ["without force, executions in progress are left alone"]),
        ("expect", [f"      {status} " for status in STATUSES]),
        (
            "describe-job-execution",
            ["$next", "executionNumber", "includeJobDocument", "TerminalStateReached"],
        ),
        (
            "update-job-execution",
            [*(f"      {status} " for status in DEVICE_STATUSES), *UPDATE_FIELDS, "refuses it"],
        ),
    ],
)
def test_what_the_help_names(name: str, words: list[str]) -> None:
    """Whatever an argument may be is named, and so are the answer and the events that follow."""
    text = "\n".join(help_lines(name))
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_window(name: str) -> None:
    """But for usage and example, which are one line each, an explanation is no wider than a header."""
    usage, *lines = help_lines(name)
    assert usage == COMMANDS[name].usage
    assert [line for line in lines if len(line) > 72 and not line.startswith("  example: ")] == [
        f"  {COMMANDS[name].summary}" for _ in [1] if len(COMMANDS[name].summary) > 70
    ]


# Completion


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("", list(COMMANDS)),
        ("de", ["delete-job", "describe-job-execution", "stop-device", "start-device"]),
        ("  up", ["update-job-execution"]),
        ("JOB-exec", [name for name in COMMANDS if "job-exec" in name]),
        ("nothing", []),
        ("nothing ", []),
        ("help ", list(COMMANDS)),
        ("help up", ["update-job-execution"]),
        ("help up ", []),
        ("delete-job ", ["Job1", "Job2"]),
        ("delete-job job1", ["Job1"]),
        ("delete-job 2", ["Job2"]),
        ("DELETE-job OB", ["Job1", "Job2"]),
        ("delete-job Job1 ", []),
        ("cancel-job Job1 ", ["force"]),
        ("describe-job-execution ", ["Job1", "Job2", "$next"]),
        ("describe-job-execution $", ["$next"]),
        ("create-job ", []),
        ("create-job J ", ["file://"]),
        ("create-job J f", ["file://"]),
        ("create-job J {", []),
        ("expect Job1 ", list(STATUSES)),
        ("expect Job1 in", ["IN_PROGRESS"]),
        ("update-job-execution Job1 ", list(DEVICE_STATUSES)),
        ("update-job-execution Job1 in", ["IN_PROGRESS"]),
        ("update-job-execution Job1 FAILED ", [f'{{"{name}": ' for name in UPDATE_FIELDS]),
        (
            'update-job-execution Job1 FAILED {"statusDetails": {"a": "b"}, "EXPE',
            ['"expectedVersion": '],
        ),
        ('update-job-execution Job1 FAILED {"statusDetails": {"', []),
        ("start-next-pending-job-execution {st", ['"statusDetails": ', '"stepTimeoutInMinutes": ']),
        ("wait ", list(EVENTS)),
        ("wait JobExecutionsChangedEvent ", []),
        ("exit ", []),
        ("quit", ["quit"]),
    ],
)
def test_completion(executions: dict[str, str], text: str, candidates: list[str]) -> None:
    """What can follow is completed, from the table and from what was seen, each with a meaning, the word replaced."""
    found = list(complete(text, executions))
    assert [candidate for candidate, _, _ in found] == candidates
    assert all(meaning for _, meaning, _ in found)
    for candidate, _, replaced in found:
        assert text[len(text) - replaced :].lower() in candidate.lower()
        assert replaced == len(text) - max(
            text.rfind(" ") + 1, text.rfind("{") + 1 if "{st" in text else 0
        )


def test_what_begins_like_the_word_is_first(executions: dict[str, str]) -> None:
    """What begins like the word is offered before what only contains it."""
    assert [candidate for candidate, _, _ in complete("st", executions)] == [
        "start-next-pending-job-execution",
        "stop-device",
        "start-device",
    ]
    assert [candidate for candidate, _, _ in complete("job-execution", executions)] == [
        name for name in COMMANDS if "job-execution" in name
    ]
    assert next(candidate for candidate, _, _ in complete("job", executions)) == "create-job"
    assert [candidate for candidate, _, _ in complete("con", executions)] == ["connection"]
    assert next(candidate for candidate, _, _ in complete("e", executions)) == "expect"


def test_completion_of_job_ids(executions: dict[str, str]) -> None:
    """A job id is completed with what is known of its execution."""
    assert list(complete("delete-job J", executions)) == [
        ("Job1", "QUEUED", 1),
        ("Job2", "not known", 1),
    ]


@given(
    st.lists(
        st.sampled_from(
            [*COMMANDS, "Job1", "$next", "FAILED", "{", '{"', "}", ",", " ", "\u00a0", "é"]
        )
    ).map("".join)
)
def test_any_text(text: str) -> None:
    """Whatever the text, each candidate replaces an end of it, and means something."""
    for candidate, meaning, replaced in complete(text, {}):
        assert candidate
        assert meaning
        assert text[len(text) - replaced :].lower() in candidate.lower()
