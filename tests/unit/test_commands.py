"""The command table: what a line means, and which never gets anywhere."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs_sandbox.blocks import Block
from jobs_sandbox.commands import COMMANDS, Invocation, complete, help_lines, parse
from jobs_sandbox.errors import UsageError
from jobs_sandbox.executions import Executions
from jobs_sandbox.formatting import error_text, escape
from jobs_sandbox.parameters import DEVICE_STATUSES, EVENTS, UPDATE

STATUSES = "<SUCCEEDED | IN_PROGRESS | FAILED | REJECTED | CANCELED>"
UPDATE_USAGE = f"update-job-execution <jobId> {STATUSES}"


def parsed(line: str) -> Invocation:
    invocation = parse(line)
    assert invocation is not None
    return invocation


def mistake(line: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse(line)
    return caught.value


@pytest.fixture
def executions() -> Executions:
    """Job1 is queued, Job2, seen later, is not pending."""
    executions = Executions()
    executions.learn(Block("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [{"jobId": "Job1"}]}}))
    executions.learn(Block("CreateJobOutput", {"jobId": "Job2"}))
    return executions


# Parsing


@pytest.mark.parametrize(
    ("line", "name", "arguments"),
    [
        ('create-job Job1 {"Todo":"Reboot"}', "create-job", ["Job1", '{"Todo":"Reboot"}']),
        ("create-job Job1 1", "create-job", ["Job1", "1"]),
        ("delete-job Job1", "delete-job", ["Job1"]),
        (f"delete-job {'x' * 64}", "delete-job", ["x" * 64]),
        ("get-pending-job-executions", "get-pending-job-executions", []),
        ("start-next-pending-job-execution", "start-next-pending-job-execution", []),
        ("describe-job-execution a_B-9", "describe-job-execution", ["a_B-9"]),
        ("describe-job-execution $next", "describe-job-execution", ["$next"]),
        ("update-job-execution Job1 SUCCEEDED", "update-job-execution", ["Job1", "SUCCEEDED"]),
        ("update-job-execution Job1 in_progress", "update-job-execution", ["Job1", "IN_PROGRESS"]),
        ("update-job-execution Job1 Failed", "update-job-execution", ["Job1", "FAILED"]),
        ("update-job-execution Job1 canceled", "update-job-execution", ["Job1", "CANCELED"]),
        ("  \t update-job-execution \t Job1\tFAILED \r\n", "update-job-execution", ["Job1", "FAILED"]),
        ("update-job-execution\u00a0Job1\u2003FAILED\u2028", "update-job-execution", ["Job1", "FAILED"]),
        ("UPDATE-job-execution Job1 REJECTED", "update-job-execution", ["Job1", "REJECTED"]),
        ("describe-job-execution\u00a0$next", "describe-job-execution", ["$next"]),
        ("wait 3", "wait", ["3"]),
        ("wait 0.25", "wait", ["0.25"]),
        ("wait JobExecutionsChangedEvent", "wait", ["JobExecutionsChangedEvent"]),
        ("wait nextjobexecutionchanged 10", "wait", ["NextJobExecutionChangedEvent", "10"]),
        ("help", "help", []),
        ("quit", "quit", []),
        ("exit", "quit", []),
    ],
)
def test_parse(line: str, name: str, arguments: list[str]) -> None:
    """A right line is its command and its arguments."""
    assert parsed(line) == (COMMANDS[name], arguments)


@pytest.mark.parametrize("line", ["", "   ", "\t\r\n", "# a comment", "  #comment", "#"])
def test_nothing_to_do(line: str) -> None:
    """Blank lines and comments do nothing."""
    assert parse(line) is None


@pytest.mark.parametrize(
    "document",
    [
        '{"a":1}',
        '{ "a" :\t1 }',
        '{"a":"  b\t"}  '.replace("\t", " "),
        '{"a":1} \t ',
        '{"é":"日本"}',
        '{"a":\n  [1,\n2]}',
        '{"a":"\u00a0b\u2028"}',
    ],
)
def test_document_byte_for_byte(document: str) -> None:
    """The job document is the rest of the line as it was typed, blanks within and after it included."""
    assert parsed(f"create-job Job1  \t{document}").arguments == ["Job1", document]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("frobnicate", "unknown command 'frobnicate'."),
        ("create_job x", "unknown command 'create_job'; did you mean create-job?"),
        (
            "getPendingJobExecutions",
            "unknown command 'getPendingJobExecutions'; did you mean get-pending-job-executions?",
        ),
        ("describe Job1", "unknown command 'describe'; did you mean describe-job-execution?"),
        ("\x1b[2J", "unknown command '\\x1b[2J'."),
        ("a\x00b", "unknown command 'a\\x00b'."),
        ("x" * 5000, f"unknown command '{'x' * 37}…'."),
        ("create-job", "create-job needs <jobId>."),
        ("create-job Job1", "create-job needs <jobDocument-as-JSON>."),
        ("create-job Job1  \t ", "create-job needs <jobDocument-as-JSON>."),
        ("delete-job", "delete-job needs <jobId>."),
        ("delete-job $next", "'$next' is not a job id: 1 to 64 letters, digits, - and _."),
        ("create-job $next {}", "'$next' is not a job id: 1 to 64 letters, digits, - and _."),
        ("update-job-execution $next FAILED", "'$next' is not a job id: 1 to 64 letters, digits, - and _."),
        ("delete-job Job1 Job2", "delete-job takes no further argument: 'Job2'"),
        ("get-pending-job-executions now", "get-pending-job-executions takes no further argument: 'now'"),
        ("update-job-execution Job1", f"update-job-execution needs {STATUSES}."),
        ("wait", "wait needs <seconds | EventTitle>."),
        ("wait JobExecutionsChangedEvent soon", "'soon' is not a number of seconds."),
        ('{"a": 1}', "a job document alone is no command."),
        ("[1,\n2]", "a job document alone is no command."),
    ],
)
def test_mistakes(line: str, what: str) -> None:
    """A wrong line gets one clear message, which names the nearest right word."""
    assert mistake(line).message == what


@pytest.mark.parametrize(
    ("line", "todo"),
    [
        ("frobnicate", "help lists them all."),
        ("create-job", "usage: create-job <jobId> <jobDocument-as-JSON>"),
        ("update-job-execution a/b FAILED", f"usage: {UPDATE_USAGE}"),
        ("delete-job Job1 Job2", "usage: delete-job <jobId>"),
        ("wait x", "usage: wait <seconds | EventTitle> [timeout]"),
        ("help me", "usage: help"),
        ('{"a": 1}', "put `create-job <jobId>` before it."),
        ("create-job J doc.json", "file://doc.json reads it from that file."),
    ],
)
def test_usage_line(line: str, todo: str) -> None:
    """A command with wrong arguments shows its own usage line."""
    assert mistake(line).next_step == todo


# Help and completion


def test_help_of_the_spec() -> None:
    """The help lists every command under its heading, with usage and summary."""
    lines = help_lines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "Control Plane",
        "",
        "Data Plane",
        "",
        "Miscellaneous",
    ]
    for command in COMMANDS.values():
        place = lines.index(f"  {command.usage}")
        assert lines[place + 1] == f"      {command.summary}"


NAMES = [
    "create-job",
    "delete-job",
    "get-pending-job-executions",
    "start-next-pending-job-execution",
    "describe-job-execution",
    "update-job-execution",
]


def test_the_table() -> None:
    """The commands are the spec's, in its order, and ``wait``; those that change something say how to see whether."""
    assert list(COMMANDS) == [*NAMES, "wait", "help", "quit"]
    assert {name for name, command in COMMANDS.items() if command.check_with} == {
        "create-job",
        "delete-job",
        "start-next-pending-job-execution",
        "update-job-execution",
    }


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("", list(COMMANDS)),
        ("de", [name for name in COMMANDS if name.startswith("de")]),
        ("  up", ["update-job-execution"]),
        ("nothing", []),
        ("job-exec", [name for name in COMMANDS if "job-exec" in name]),
        ("JOB", [name for name in COMMANDS if "job" in name]),
        ("job-execution", [name for name in COMMANDS if "job-execution" in name]),
        ("DELETE-job 2", ["Job2"]),
        ("delete-job OB", ["Job1", "Job2"]),
        ("nothing ", []),
        ("help ", []),
        ("delete-job ", ["Job1", "Job2"]),
        ("delete-job job1", ["Job1"]),
        ("delete-job Job1 ", []),
        ("describe-job-execution ", ["Job1", "Job2", "$next"]),
        ("describe-job-execution $", ["$next"]),
        ("create-job ", []),
        ("create-job J ", ["file://"]),
        ("create-job J f", ["file://"]),
        ("create-job J {", []),
        ("update-job-execution Job1 ", list(DEVICE_STATUSES)),
        ("update-job-execution Job1 in", ["IN_PROGRESS"]),
        ("wait ", list(EVENTS)),
        ("wait JobExecutionsChangedEvent ", []),
    ],
)
def test_completion(executions: Executions, text: str, candidates: list[str]) -> None:
    """What can follow is completed, from the table and from what was seen, each with a meaning, the word replaced."""
    found = list(complete(text, executions))
    assert [candidate for candidate, _, _ in found] == candidates
    assert all(meaning for _, meaning, _ in found)
    for candidate, _, replaced in found:
        assert text[len(text) - replaced :].lower() in candidate.lower()


def test_completion_of_job_ids(executions: Executions) -> None:
    """A job id is completed with what is known of its execution."""
    assert list(complete("delete-job J", executions)) == [("Job1", "QUEUED", 1), ("Job2", "not known", 1)]


def test_completion_in_json(executions: Executions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of request fields are completed inside their object."""
    row = COMMANDS["update-job-execution"]
    monkeypatch.setitem(COMMANDS, row.name, row._replace(parameters=(*row.parameters, UPDATE)))
    typed = 'update-job-execution Job1 FAILED {"statusDetails": {"a": "b"}, "EXPE'
    [(candidate, meaning, replaced)] = complete(typed, executions)
    assert (candidate, replaced) == ('"expectedVersion": ', len('"EXPE'))
    assert "version" in meaning


# Anything at all

words = st.sampled_from(
    [*COMMANDS, "exit", "Job1", "$next", "a/b", "+", "#", "FAILED", "{}", '{"a":', "file://", "NaN", "[" * 5000]
)
anything = st.text(st.characters(codec=None), max_size=200)
lines = anything | st.lists(words | anything, max_size=5).map(" ".join) | anything.map(lambda text: (text or "x") * 25)


@given(lines)
@example("x" * 5000)
@example("create-job J " + "[" * 20_000)
@example("\x1b]0;title\x07")
@example("describe-job-execution \x00")
@example("create-job J \ud800")
def test_any_line(line: str) -> None:
    """Whatever the line, it is a valid invocation, nothing, or one mistake that is told in a few safe lines."""
    try:
        invocation = parse(line)
    except UsageError as error:
        text = error_text(error)
        assert text.count("\n") <= 4
        assert len(text) < 1000
        assert all(line == escape(line) for line in text.split("\n"))
    else:
        assert invocation is None or invocation.command in COMMANDS.values()
    for candidate, meaning, replaced in complete(line, Executions()):
        assert (candidate != "", meaning != "", 0 <= replaced <= len(line)) == (True, True, True)
