"""The command table: what a line means, and which never gets anywhere."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs_sandbox.commands.command import COMMANDS, MISC, Command, Invocation, parse
from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.text import escape
from jobs_sandbox.ui.formatting import error_text

STATUSES = "<SUCCEEDED | IN_PROGRESS | FAILED | REJECTED | CANCELED>"
UPDATE_USAGE = f"update-job-execution <jobId> {STATUSES} [fields-as-JSON]"


def parsed(line: str) -> Invocation:
    invocation = parse(line)
    assert invocation is not None
    return invocation


def mistake(line: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse(line)
    return caught.value


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
        (
            "  \t update-job-execution \t Job1\tFAILED \r\n",
            "update-job-execution",
            ["Job1", "FAILED"],
        ),
        (
            "update-job-execution\u00a0Job1\u2003FAILED\u2028",
            "update-job-execution",
            ["Job1", "FAILED"],
        ),
        ("UPDATE-job-execution Job1 REJECTED", "update-job-execution", ["Job1", "REJECTED"]),
        ("describe-job-execution\u00a0$next", "describe-job-execution", ["$next"]),
        ("wait 3", "wait", [3.0]),
        ("wait 0.25", "wait", [0.25]),
        ("wait JobExecutionsChangedEvent", "wait", ["JobExecutionsChangedEvent"]),
        ("wait nextjobexecutionchanged 10", "wait", ["NextJobExecutionChangedEvent", 10.0]),
        ("cancel-job Job1", "cancel-job", ["Job1"]),
        ("cancel-job Job1 Force ", "cancel-job", ["Job1", "force"]),
        ("expect Job1 timed_out", "expect", ["Job1", "TIMED_OUT"]),
        ("expect Job1 QUEUED 0.5", "expect", ["Job1", "QUEUED", 0.5]),
        (
            'update-job-execution Job1 FAILED {"statusDetails": {"a": "b  c"}}',
            "update-job-execution",
            ["Job1", "FAILED", {"statusDetails": {"a": "b  c"}}],
        ),
        (
            'start-next-pending-job-execution {\n"stepTimeoutInMinutes": 5}',
            "start-next-pending-job-execution",
            [{"stepTimeoutInMinutes": 5}],
        ),
        (
            'describe-job-execution $next {"includeJobDocument": false}',
            "describe-job-execution",
            ["$next", {"includeJobDocument": False}],
        ),
        ("connection", "connection", []),
        ("stop-device", "stop-device", []),
        ("start-device", "start-device", []),
        ("help", "help", []),
        ("help EXIT", "help", ["quit"]),
        ("help wait", "help", ["wait"]),
        ("quit", "quit", []),
        ("exit", "quit", []),
    ],
)
def test_parse(line: str, name: str, arguments: list[object]) -> None:
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
        (
            "update-job-execution $next FAILED",
            "'$next' is not a job id: 1 to 64 letters, digits, - and _.",
        ),
        ("delete-job Job1 Job2", "delete-job takes no further argument: 'Job2'"),
        (
            "get-pending-job-executions now",
            "get-pending-job-executions takes no further argument: 'now'",
        ),
        ("update-job-execution Job1", f"update-job-execution needs {STATUSES}."),
        (
            "update-job-execution Job1 FAILED now",
            "the optional fields are not JSON: Expecting value\n  now\n  ^",
        ),
        (
            "describe-job-execution Job1 []",
            "the optional fields are one JSON object: executionNumber, includeJobDocument",
        ),
        ("cancel-job Job1 now", "'now' is not force, and nothing else may follow."),
        ("expect Job1", "expect needs <STATUS>."),
        ("help updat", "there is no command 'updat'; did you mean update-job-execution?"),
        ("help zzz", "there is no command 'zzz'."),
        ("wait", "wait needs <seconds | EventTitle>."),
        (
            "wait JobExecutionsChangedEvent soon",
            "'soon' is not a number of seconds from 0 to 99999.999.",
        ),
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
        ("help me", "help lists them all."),
        ("cancel-job Job1 now", "usage: cancel-job <jobId> [force]"),
        ('{"a": 1}', "put `create-job <jobId>` before it."),
        ("create-job J doc.json", "file://doc.json reads it from that file."),
    ],
)
def test_usage_line(line: str, todo: str) -> None:
    """A command with wrong arguments shows its own usage line."""
    assert mistake(line).next_step == todo


# The table


def test_the_table() -> None:
    """The commands under the planes are the Swift sample's, in its order, and ours between them."""
    ours = {"cancel-job", "expect"}
    assert [
        name for name, command in COMMANDS.items() if command.plane != MISC and name not in ours
    ] == [
        "create-job",
        "delete-job",
        "get-pending-job-executions",
        "start-next-pending-job-execution",
        "describe-job-execution",
        "update-job-execution",
    ]
    assert [name for name, command in COMMANDS.items() if command.plane == MISC] == [
        "wait",
        "connection",
        "stop-device",
        "start-device",
        "help",
        "quit",
    ]


CHANGING = [
    "create-job",
    "delete-job",
    "cancel-job",
    "start-next-pending-job-execution",
    "update-job-execution",
]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_rows(command: Command) -> None:
    """Each row's example is a line of that command; those that change something say how to see whether."""
    assert parsed(command.example).command is command
    assert bool(command.check_with) is (command.name in CHANGING)
    assert command.raises_events is (
        command.name in ("create-job", "cancel-job", "update-job-execution")
    )
    assert not command.raises_events or "Event" in command.prints
    assert command.waits is (command.name in ("expect", "wait"))
    optional = [not parameter.required for parameter in command.parameters]
    assert optional == sorted(optional)
    assert not any(parameter.rest for parameter in command.parameters[:-1])


@pytest.mark.parametrize(
    ("line", "label", "attempt"),
    [
        ("create-job Job1 {}", "create-job Job1", ("Job1", "QUEUED")),
        ("delete-job Job1", "delete-job Job1", None),
        ("cancel-job Job1 force", "cancel-job Job1", ("Job1", "CANCELED")),
        ("get-pending-job-executions", "get-pending-job-executions", None),
        ("describe-job-execution $next", "describe-job-execution $next", None),
        (
            "start-next-pending-job-execution",
            "start-next-pending-job-execution",
            ("", "IN_PROGRESS"),
        ),
        (
            'start-next-pending-job-execution {"stepTimeoutInMinutes": 1}',
            "start-next-pending-job-execution",
            ("", "IN_PROGRESS"),
        ),
        (
            'update-job-execution Job1 failed {"expectedVersion": 1}',
            "update-job-execution Job1",
            ("Job1", "FAILED"),
        ),
    ],
)
def test_label_and_attempt(line: str, label: str, attempt: tuple[str, str] | None) -> None:
    """A command under way is named with its job id, and tells which status it may give an execution."""
    invocation = parsed(line)
    assert (invocation.label, invocation.attempt) == (label, attempt)
    assert invocation.is_answered


@pytest.mark.parametrize(
    "line", ["expect Job1 FAILED", "wait 1", "connection", "stop-device", "help", "quit"]
)
def test_not_answered(line: str) -> None:
    """What waits, or concerns the program itself, has no answer of a service that could come late."""
    assert not parsed(line).is_answered


@pytest.mark.parametrize(
    ("line", "check_with"),
    [
        (
            'create-job Job1 {"a": "{0}"}',
            "`describe-job-execution Job1` shows whether the job is there (TerminalStateReached: it is, and has ended)",
        ),
        (
            "delete-job Job1",
            "`delete-job Job1` again shows: ResourceNotFoundException means that it is gone",
        ),
        (
            "cancel-job Job1",
            "`get-pending-job-executions` shows whether its execution is still pending",
        ),
        (
            "start-next-pending-job-execution",
            "`get-pending-job-executions` shows whether an execution was started",
        ),
        (
            'update-job-execution Job1 failed {"expectedVersion": 1}',
            "`update-job-execution Job1 FAILED` again tells: ",
        ),
        ("get-pending-job-executions", ""),
    ],
)
def test_check_with(line: str, check_with: str) -> None:
    """A command that changes something names the one that shows whether it did, if its own answer is lost."""
    found = parsed(line).check_with
    assert found.startswith(check_with)
    assert bool(found) is bool(check_with)


# Anything at all

words = st.sampled_from(
    [
        *COMMANDS,
        "exit",
        "Job1",
        "$next",
        "a/b",
        "+",
        "#",
        "FAILED",
        "{}",
        '{"a":',
        "file://",
        "NaN",
        "[" * 5000,
    ]
)
anything = st.text(st.characters(codec=None), max_size=200)
lines = (
    anything
    | st.lists(words | anything, max_size=5).map(" ".join)
    | anything.map(lambda text: (text or "x") * 25)
)


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
