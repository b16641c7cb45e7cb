"""The command table: what a line means, and which never gets anywhere."""

import json
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs_sandbox.blocks import Block
from jobs_sandbox.commands import (
    COMMANDS,
    Invocation,
    Quit,
    complete,
    help_lines,
    is_open_document,
    logical_lines,
    parse,
)
from jobs_sandbox.errors import AlreadyExists, Rejected, RequestFailed, UsageError
from jobs_sandbox.executions import Executions
from jobs_sandbox.formatting import error_text, escape
from jobs_sandbox.parameters import EVENTS, STATUSES
from tests.unit.fakes import FakeSession

PATIENCE = 10
NEXT = "NextJobExecutionChangedEvent"
UPDATE_USAGE = "update-job-execution <jobId> <SUCCEEDED | IN_PROGRESS | FAILED | CANCELED>"


def parsed(line: str) -> Invocation:
    invocation = parse(line)
    assert invocation is not None
    return invocation


def mistake(line: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse(line)
    return caught.value


@pytest.fixture
def sandbox() -> FakeSession:
    return FakeSession()


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
        ("update-job-execution Job1", "update-job-execution needs <SUCCEEDED | IN_PROGRESS | FAILED | CANCELED>."),
        (
            "update-job-execution Job1 SUCCESS",
            "'SUCCESS' is not a status: one of SUCCEEDED, IN_PROGRESS, FAILED, CANCELED; did you mean SUCCEEDED?",
        ),
        ("update-job-execution Job1 9", "'9' is not a status: one of SUCCEEDED, IN_PROGRESS, FAILED, CANCELED"),
        ("wait", "wait needs <seconds | EventTitle>."),
        ("wait -1", f"'-1' is neither seconds nor an event: {', '.join(EVENTS)}"),
        ("wait inf", f"'inf' is neither seconds nor an event: {', '.join(EVENTS)}"),
        (
            "wait NextJobExecutionsChanged",
            f"'NextJobExecutionsChanged' is neither seconds nor an event: {', '.join(EVENTS)}; did you mean {NEXT}?",
        ),
        ("wait JobExecutionsChangedEvent soon", "'soon' is not a number of seconds."),
    ],
)
def test_mistakes(line: str, what: str) -> None:
    """A wrong line gets one clear message, which names the nearest right word."""
    assert mistake(line).message == what


@pytest.mark.parametrize(
    "job_id", ["a/b", "+", "#", "a.b", "é", "x" * 65, "a\x00", "\x1b[31m", "$NEXT", "$next/", "../x"]
)
@pytest.mark.parametrize(
    "line", ["create-job {} {{}}", "delete-job {}", "describe-job-execution {}", "update-job-execution {} FAILED"]
)
def test_illegal_job_ids(line: str, job_id: str) -> None:
    """What is not a job id never gets past the parser."""
    assert "is not a job id: 1 to 64 letters, digits, - and _." in mistake(line.format(job_id)).message


@pytest.mark.parametrize(
    ("line", "todo"),
    [
        ("frobnicate", "help lists them all."),
        ("create-job", "usage: create-job <jobId> <jobDocument-as-JSON>"),
        ("update-job-execution a/b FAILED", f"usage: {UPDATE_USAGE}"),
        ("delete-job Job1 Job2", "usage: delete-job <jobId>"),
        ("wait x", "usage: wait <seconds | EventTitle> [timeout]"),
        ("help me", "usage: help"),
    ],
)
def test_usage_line(line: str, todo: str) -> None:
    """A command with wrong arguments shows its own usage line."""
    assert mistake(line).next_step == todo


# Documents


def caret(document: str) -> tuple[str, str]:
    """The line shown, up to the caret's column, and what it begins with at the caret."""
    _, line, mark = mistake(f"create-job Job1 {document}").message.split("\n")
    assert mark.strip() == "^"
    columns, before = 0, ""
    for character in line:
        if columns == len(mark) - 1:
            break
        columns += 2 if east_asian_width(character) in "FW" else 1
        before += character
    return before, line[len(before) :]


@pytest.mark.parametrize(
    ("document", "before", "place"),
    [
        ('{"a":x}', '  {"a":', "x}"),
        ("{'a':1}", "  {", "'a':1}"),
        ('{"a":1,}', '  {"a":1', ",}"),
        ('{"a":1', '  {"a":1', ""),
        ('{"a":1} extra', '  {"a":1} ', "extra"),
        ("Reboot", "  ", "Reboot"),
        ('{"日本":x}', '  {"日本":', "x}"),
        ('{"a":\tx}', '  {"a":\\u0009', "x}"),
        ('{"\u202ea":x}', '  {"\\u202ea":', "x}"),
        ('{"a":1,\n "b":x,\n "c":1}', '  line 2:  "b":', "x,"),
    ],
)
def test_caret(document: str, before: str, place: str) -> None:
    """A document that is no JSON is shown with a caret under the place, also in wide or escaped text and in lines."""
    shown, rest = caret(document)
    if document == '{"a":1,}':  # Python 3.13 points at the comma, earlier ones at the brace
        assert (shown + rest, rest[:1] in (",", "}")) == (before + place, True)
    else:
        assert (shown, rest) == (before, place)


def test_caret_in_combined_text() -> None:
    """Combining marks take no column of their own."""
    _, line, mark = mistake('create-job J {"e\u0301":x}').message.split("\n")
    assert line == '  {"e\u0301":x}'
    assert mark == " " * 7 + "^"


def test_caret_in_a_long_line() -> None:
    """Of a long line, what is around the mistake is shown."""
    before, place = caret('{"a":"' + "y" * 3000 + '", x' + "z" * 3000)
    assert before == "  " + "y" * 37 + '", '
    assert place == "x" + "z" * 19


def test_no_json() -> None:
    """The reason is the parser's own."""
    assert mistake("create-job J {").message.startswith("the job document is not JSON: Expecting property name")


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_constants_are_no_json(name: str) -> None:
    """What Python takes for JSON and the service does not is refused by name."""
    assert (
        mistake(f'create-job J {{"a":{name}}}').message == f"the job document is not JSON: {name} is not a JSON value"
    )


@pytest.mark.parametrize("document", ["[" * 20_000, '{"a":' * 20_000, "[" * 20_000 + "]" * 20_000])
def test_deep_document(document: str) -> None:
    """A document nested 20,000 deep gets one clear message."""
    assert mistake(f"create-job J {document}").message == "the job document is nested too deeply."


@pytest.mark.parametrize("content", [b'{"a" :  1}\r\n', b"[1,\n2]\n\n", '{"é":"日本"}'.encode()])
def test_document_from_a_file(tmp_path: Path, content: bytes) -> None:
    """``file://`` reads the document from a file, byte for byte."""
    path = tmp_path / "a document.json"
    path.write_bytes(content)
    assert parsed(f"create-job Job1 file://{path}").arguments == ["Job1", content.decode()]


def test_byte_order_mark(tmp_path: Path) -> None:
    """A byte order mark, which is no part of JSON, is left out."""
    path = tmp_path / "document.json"
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert parsed(f"create-job Job1 file://{path}").arguments == ["Job1", "{}"]


def test_document_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "d.json").write_text("{}")
    assert parsed("create-job Job1 file://~/d.json").arguments == ["Job1", "{}"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nowhere/x.json", "No such file or directory"),
        ("/", "it is a folder, a pipe or a device"),
        ("", "No such file or directory"),
        ("/dev/zero", "it is a folder, a pipe or a device"),
        ("~nobody-of-this-name/x.json", "No such file or directory"),
        ("/a\x00b", "embedded null byte"),
        ("/" + "x" * 5000, "File name too long"),
    ],
)
def test_unreadable_files(path: str, reason: str) -> None:
    """A file that cannot be read is named, with the reason."""
    what = mistake(f"create-job Job1 file://{path}").message
    assert what.startswith("the job document '")
    assert what.endswith(f"cannot be read: {reason}")


def test_file_that_is_no_text(tmp_path: Path) -> None:
    """A file that is not UTF-8 is told so."""
    path = tmp_path / "x"
    path.write_bytes(b'{"a":"\xff"}')
    assert "cannot be read: 'utf-8' codec can't decode byte 0xff" in mistake(f"create-job Job1 file://{path}").message


def test_file_that_is_no_json(tmp_path: Path) -> None:
    """A file whose content is no JSON shows where it stops being JSON."""
    path = tmp_path / "x"
    path.write_text('{\n  "a": x\n}')
    assert mistake(f"create-job Job1 file://{path}").message.split("\n")[1:] == ['  line 2:   "a": x', " " * 17 + "^"]


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ('create-job J {"a":1', True),
        ("create-job J {", True),
        ("  create-job  J  [1,", True),
        ('create-job J {"a":', True),
        ('create-job J {"a"', True),
        ('create-job J {"a":{"b":[1]}', True),
        ('create-job J {"a":"}', True),
        ('create-job J {"a":"\\"}', True),
        ('create-job J {"a":"\\\\"', True),
        ('create-job J {"a":\n [1,\n 2]', True),
        ('create-job J {"a":1}', False),
        ('create-job J {"a":"{"}', False),
        ('create-job J {"a":"\\"{["}', False),
        ("create-job J []", False),
        ("create-job J {x", False),
        ('create-job J {"a":1}}', False),
        ('create-job J {"a":1]', False),
        ("create-job J {}{", False),
        ('create-job J "text', False),
        ("create-job J file://{", False),
        ("create-job J", False),
        ("create-job {", False),
        ("delete-job J {", False),
        ("", False),
        ("create-job J " + "[" * 20_000, False),
        (f"create-job J [{'1' * 5000}", False),
    ],
)
def test_open_documents(text: str, is_open: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A document goes on while its braces are open; those in strings do not count, nor does what is wrong anyway."""
    assert is_open_document(text) is is_open


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("help", ["help"]),
        ("help\nquit", ["help", "quit"]),
        ('create-job J {"a":\n1}\nhelp', ['create-job J {"a":\n1}', "help"]),
        ("create-job J {x\nhelp", ["create-job J {x", "help"]),
    ],
)
def test_logical_lines(text: str, lines: list[str]) -> None:
    """Pasted text is a command a line, but for an open document, which goes on."""
    assert logical_lines(text) == lines


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
        ("de", ["delete-job", "describe-job-execution"]),
        ("  up", ["update-job-execution"]),
        ("nothing", []),
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
        ("update-job-execution Job1 ", list(STATUSES)),
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
        assert f"{text[: len(text) - replaced]}{candidate}".lower().startswith(text.lower())


def test_completion_of_job_ids(executions: Executions) -> None:
    """A job id is completed with what is known of its execution."""
    assert list(complete("delete-job J", executions)) == [("Job1", "QUEUED", 1), ("Job2", "not known", 1)]


# Handlers


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("get-pending-job-executions", ("get_pending_job_executions",)),
        ("start-next-pending-job-execution", ("start_next_pending_job_execution",)),
        ("describe-job-execution Job1", ("describe_job_execution", "Job1")),
        ("describe-job-execution $next", ("describe_job_execution", "$next")),
        ("update-job-execution Job1 failed", ("update_job_execution", "Job1", "FAILED")),
    ],
)
def test_data_plane_handlers(sandbox: FakeSession, line: str, call: tuple[str, ...]) -> None:
    """A data plane command makes its one request and gives back the promise of its answer."""
    command, arguments = parsed(line)
    assert command.handler(sandbox, *arguments) is sandbox.fake_data.given[0]
    assert sandbox.fake_data.calls == [call]
    assert sandbox.fake_control.calls == []


@pytest.mark.parametrize(
    ("line", "call"),
    [("create-job Job1 {} ", ("create_job", "Job1", "{} ")), ("delete-job Job1", ("delete_job", "Job1"))],
)
def test_control_plane_handlers(sandbox: FakeSession, line: str, call: tuple[str, ...]) -> None:
    """A control plane command makes its one call, off the caller's thread."""
    command, arguments = parsed(line)
    pending = command.handler(sandbox, *arguments)
    assert pending is not None
    assert pending.result(PATIENCE) == Block("DeleteJobOutput", {"jobId": "Job1"})
    assert sandbox.fake_control.calls == [call]
    assert sandbox.fake_data.calls == []


@pytest.mark.parametrize(
    ("line", "waited"),
    [
        ("wait 2.5", (2.5, None)),
        ("wait JobExecutionsChanged", (None, "JobExecutionsChangedEvent")),
        ("wait JobExecutionsChangedEvent 7", (7.0, "JobExecutionsChangedEvent")),
    ],
)
def test_wait_handler(sandbox: FakeSession, line: str, waited: tuple[float | None, str | None]) -> None:
    """``wait`` waits some seconds, or for an event, or for it within some seconds."""
    command, arguments = parsed(line)
    assert command.handler(sandbox, *arguments) is None
    assert sandbox.waited == [waited]


def test_wait_for_seconds_within_seconds(sandbox: FakeSession) -> None:
    """A timeout without an event makes no sense, and the usage line says what does."""
    command, arguments = parsed("wait 5 3")
    with pytest.raises(UsageError) as caught:
        command.handler(sandbox, *arguments)
    assert error_text(caught.value) == (
        "a timeout goes with an event.\n  next: usage: wait <seconds | EventTitle> [timeout]\n"
    )
    assert sandbox.waited == []


def test_help_handler(sandbox: FakeSession) -> None:
    """``help`` shows the help."""
    assert parsed("help").command.handler(sandbox) is None
    assert sandbox.helped == 1


def test_quit_handler(sandbox: FakeSession) -> None:
    """``quit`` leaves."""
    with pytest.raises(Quit):
        parsed("quit").command.handler(sandbox)


# A create-job whose first answer was lost


def exists(*, retried: bool) -> AlreadyExists:
    error = AlreadyExists("exists", next_step="choose another job id")
    error.retried = retried
    error.job_arn = "arn:job"
    return error


def create(sandbox: FakeSession, error: Exception) -> Any:
    """What becomes of creating Job1 when the control plane raises ``error``."""

    def fail() -> Block:
        raise error

    sandbox.fake_control.outcome = fail
    pending = COMMANDS["create-job"].handler(sandbox, "Job1", '{"a": [1]}')
    assert pending is not None
    return pending.exception(PATIENCE) or pending.result()


def described(document: object) -> Block:
    return Block("DescribeJobExecutionResponse", {"execution": {"jobId": "Job1", "jobDocument": document}})


def test_retry_finds_its_own_job(sandbox: FakeSession) -> None:
    """A job that a retry finds there, with the very document, was made by the first attempt: no failure."""
    sandbox.fake_data.outcome = described({"a": [1]})
    answer = create(sandbox, exists(retried=True))
    assert answer.title == "CreateJobOutput"
    assert answer.body == {"description": None, "jobArn": "arn:job", "jobId": "Job1"}
    assert "the retry found the job there" in answer.note
    assert sandbox.fake_data.calls == [("describe_job_execution", "Job1")]


@pytest.mark.parametrize("document", [{"a": [2]}, {}, None, "x"])
def test_retry_finds_another_job(sandbox: FakeSession, document: object) -> None:
    """A job that a retry finds there with another document is someone else's: a certain failure."""
    sandbox.fake_data.outcome = described(document)
    error = exists(retried=True)
    assert create(sandbox, error) is error
    assert not error.uncertain


@pytest.mark.parametrize(
    "outcome",
    [
        Rejected({"code": "ResourceNotFound", "message": "no"}, b""),
        RequestFailed("no answer"),
        Block("DescribeJobExecutionResponse", None, b"?"),
        Block("DescribeJobExecutionResponse", {"execution": "?"}),
        Block("DescribeJobExecutionResponse", {"timestamp": 1}),
    ],
)
def test_retry_cannot_see_the_job(sandbox: FakeSession, outcome: Block | Exception) -> None:
    """When a job that a retry finds there cannot be looked at, the outcome is unknown."""
    sandbox.fake_data.outcome = outcome
    error = exists(retried=True)
    assert create(sandbox, error) is error
    assert error.uncertain


def test_no_retry_finds_a_job(sandbox: FakeSession) -> None:
    """Without a retry, a job that exists is a failure, and nothing is looked at."""
    error = exists(retried=False)
    assert create(sandbox, error) is error
    assert not error.uncertain
    assert sandbox.fake_data.calls == []


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
    assert is_open_document(line) in (True, False)
    assert "\n".join(logical_lines(line)) == line
    for candidate, meaning, replaced in complete(line, Executions()):
        assert (candidate != "", meaning != "", 0 <= replaced <= len(line)) == (True, True, True)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text('aé{}[]"\\ \n'),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
        max_leaves=6,
    )
)
def test_any_document(value: object) -> None:
    """Whatever the JSON document, it goes through unchanged, and is open at no place but before its end."""
    document = json.dumps({"v": value}, ensure_ascii=False)
    assert parsed(f"create-job J {document}").arguments == ["J", document]
    assert not is_open_document(f"create-job J {document}")
    assert is_open_document(f"create-job J {document[:-1]}")


def test_a_document_in_quotes() -> None:
    """Quotes around a document, which a shell would need, are named as the mistake."""
    assert "not JSON (there are no quotes around it" in mistake("create-job Job1 '{\"a\": 1}'").message
    assert "quotes" not in mistake("create-job Job1 {a}").message.split("\n")[0].split(":")[0]
