"""What a typed line means, and which lines are refused before anything is sent."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs_sandbox.commands.command import COMMANDS, parse
from jobs_sandbox.core.errors import UsageError
from tests.unit.commands.fakes import FakeSession

SESSION = FakeSession()


def mistake(line: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse(line, SESSION)
    return caught.value


@pytest.mark.parametrize(
    ("line", "name", "arguments"),
    [
        ("get-pending-job-executions", "get-pending-job-executions", []),
        (" \t DELETE-job \t Job1\r\n", "delete-job", ["Job1"]),
        ("delete-job\u00a0Job1\u2003\u2028", "delete-job", ["Job1"]),
        ("cancel-job Job1", "cancel-job", ["Job1"]),
        ("cancel-job Job1 Force ", "cancel-job", ["Job1", "force"]),
        ("expect Job1 QUEUED 0.5", "expect", ["Job1", "QUEUED", 0.5]),
        ("describe-job-execution $next", "describe-job-execution", ["$next"]),
        ("update-job-execution J Failed", "update-job-execution", ["J", "FAILED"]),
        (
            'update-job-execution J FAILED {"statusDetails": {"a": "b  c"}}',
            "update-job-execution",
            ["J", "FAILED", {"statusDetails": {"a": "b  c"}}],
        ),
        (
            'start-next-pending-job-execution {\n"stepTimeoutInMinutes": 5}',
            "start-next-pending-job-execution",
            [{"stepTimeoutInMinutes": 5}],
        ),
        ("wait 99999.999", "wait", [99999.999]),
        ("wait nextjobexecutionchangedevent 10", "wait", ["NextJobExecutionChangedEvent", 10]),
        ("help EXIT", "help", ["quit"]),
        ("exit", "quit", []),
    ],
)
def test_parse(line: str, name: str, arguments: list[object]) -> None:
    """A line is its command and the checked arguments, whatever the blanks and the case."""
    call = parse(line, SESSION)
    assert call is not None
    assert (call.command.name, call.arguments) == (name, arguments)


@pytest.mark.parametrize(("begin", "optional"), [("", False), ("Should ", True)])
def test_should(begin: str, *, optional: bool) -> None:
    """A line that begins with ``should`` is the same command, whose failure is a warning."""
    call = parse(f"{begin}expect J FAILED 1", SESSION)
    assert call is not None
    assert (call.optional, call.command.name) == (optional, "expect")
    assert call.arguments == ["J", "FAILED", 1]


@pytest.mark.parametrize("line", ["", " \t\r\n", "# a comment", "  #comment"])
def test_nothing_to_do(line: str) -> None:
    """Blank lines and comments do nothing."""
    assert parse(line, SESSION) is None


@pytest.mark.parametrize(
    "document",
    ["1", '{ "a" :  1 } \u00a0 ', '{"é":"日本"}', '{"a":\n  [1,\n2]}', '{"a":"\u00a0b\u2028"}'],
)
def test_document_byte_for_byte(document: str) -> None:
    """The job document is the rest of the line as typed, with the blanks in it and after it."""
    call = parse(f"create-job Job1  \t{document.rstrip()}  ", SESSION)
    assert call is not None
    assert call.arguments == ["Job1", document.rstrip() + "  "]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("frobnicate", "unknown command 'frobnicate'."),
        ("create_job x", "unknown command 'create_job'; did you mean create-job?"),
        ("\x1b[2J", "'\\x1b[2J'"),
        ("delete-job", "delete-job needs <jobId>"),
        ("create-job Job1  \t ", "create-job needs <jobDocument-as-JSON>"),
        ("delete-job Job1 Job2", "'Job2'"),
        ("cancel-job Job1 now", "'now' is not an option of this command: force"),
        ("create-job $next {}", "'$next' is not a job id"),
        ("describe-job-execution a/b", "'a/b' is not a job id"),
        ("update-job-execution J fail", "'fail' is not a status to set: SUCCEEDED, IN_PROGRESS, "),
        ("update-job-execution J fail", "; did you mean FAILED?"),
        ("wait 1e3", "'1e3' is not a number of seconds"),
        ("wait 5 soon", "'soon' is not a number of seconds"),
        ("wait JobExecutionsChanged", "; did you mean JobExecutionsChangedEvent?"),
        ("fault loose update", "'loose update' is not a fault; did you mean lose?"),
        ("fault events often", "did you mean events"),
        ("fault lose", "fault lose needs <operation>"),
        ("fault lose all", "'all' is not one of the words: get, start-next, describe, update"),
        ("fault silence", "fault silence needs <seconds>"),
        ("fault lose get 2 3", "fault lose takes no further argument: '3'"),
        ("fault lose get twice", "'twice' is not a whole number"),
        ("fault disconnect busy", "'busy' is not a reason code of MQTT 5"),
        ("fault disconnect 256", "256 is not a reason code of MQTT 5: 0 to 255"),
        ("fault lose get 0", "0 times does nothing"),
        ("expect-device conects at-most 1", "'conects' is not a fact: "),
        ("expect-device connects at-most", "expect-device needs <n>"),
        ("should", "should needs a command"),
        ("should frob", "unknown command 'frob'"),
    ],
)
def test_mistakes(line: str, message: str) -> None:
    """A wrong line gets one message, which names the nearest right word."""
    assert message in mistake(line).message


@pytest.mark.parametrize(
    ("line", "next_step"),
    [
        ("frobnicate", "help lists all commands."),
        ("help me", "help lists all commands."),
        ("delete-job Job1 Job2", "usage: delete-job <jobId>"),
        ("wait x", "usage: wait <seconds | EventTitle> [timeout]"),
        ("fault reject get", "usage: fault reject <operation> <code> [times]"),
        ("fault events late", "usage: fault events late <seconds> [times]"),
        ("create-job J doc.json", "file://doc.json reads it from that file."),
        ('{"a": 1}', "put `create-job <jobId>` before it."),
        ("[1,\n2]", "put `create-job <jobId>` before it."),
    ],
)
def test_next_step(line: str, next_step: str) -> None:
    """A command with wrong arguments shows its own usage line, unless there is a better hint."""
    assert mistake(line).next_step == next_step


words = st.sampled_from([*COMMANDS, "exit", "Job1", "$next", "#", "FAILED", "{}", "file://", "NaN"])
anything = st.text(st.characters(codec=None), max_size=70)


@given(st.lists(words | anything, max_size=5).map(" ".join))
@example("create-job J " + "[" * 20_000)
@example("create-job J file://\ud800\0")
def test_any_line(line: str) -> None:
    """Each line is a call, nothing, or a mistake that is explained in a few words."""
    explanation = ""
    try:
        parse(line, SESSION)
    except UsageError as error:
        explanation = error.message + error.next_step
    assert len(explanation) < 1000
